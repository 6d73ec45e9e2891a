"""The views of facts on their way, notices and handled messages."""

from typing import Any

from admin.records import RecordView
from domain.messaging.models import Notification, OutboxMessage, ProcessedMessage


class OutboxView(RecordView, model=OutboxMessage):
    """The outbox."""

    name, name_plural, path = "Outbox message", "Outbox", "outbox"
    category = "Messaging"
    about = "Facts that were written with the transaction that made them true."
    columns = ("id", "topic", "key", "created_at", "published_at", "attempts", "last_error")
    order = (OutboxMessage.id,)
    hint_about = "A relay publishes what the ledger, alerts and research announce."

    def heading(self, record: Any) -> str:
        """Return ``trade.booked, number 12``."""
        return f"{record.topic}, number {record.id}"


class NotificationView(RecordView, model=Notification):
    """Notices for users."""

    name, name_plural, path = "Notification", "Notifications", "notifications"
    category = "Messaging"
    about = "Notices for users, one a channel."
    columns = ("created_at", "title", "channel", "status", "sent_at", "read_at", "user_id")
    order = (Notification.id,)
    filters = ("status",)
    keys = ("user_id",)
    pickers = ("user_id",)
    hint_about = "Users are told on the channels that their alerts and screeners name."

    def heading(self, record: Any) -> str:
        """Return the notice's title."""
        return str(record.title or self.name)


class ProcessedMessageView(RecordView, model=ProcessedMessage):
    """What consumers have handled."""

    name, name_plural, path = "Processed message", "Processed messages", "processed-messages"
    category = "Messaging"
    about = "Messages that were handled: a second delivery changes nothing."
    columns = ("consumer", "message_id", "processed_at")
    order = (ProcessedMessage.consumer, ProcessedMessage.message_id)
    is_newest_first = False
    hint_about = "Consumers note here what they have handled."

    def heading(self, record: Any) -> str:
        """Return ``alerts: 01J…``."""
        return f"{record.consumer}: {record.message_id}"


VIEWS = (OutboxView, NotificationView, ProcessedMessageView)
