"""The views of facts on their way, notices and handled messages."""

from admin.records import RecordView
from domain.messaging.models import Notification, OutboxMessage, ProcessedMessage


class OutboxView(RecordView, model=OutboxMessage):
    """The outbox."""

    name, name_plural, path = "Outbox message", "Outbox", "outbox"
    category = "Messaging"
    about = "Facts that were written with the transaction that made them true."
    columns = ("id", "topic", "key", "created_at", "published_at", "attempts", "last_error")
    order = (OutboxMessage.id,)


class NotificationView(RecordView, model=Notification):
    """Notices for users."""

    name, name_plural, path = "Notification", "Notifications", "notifications"
    category = "Messaging"
    about = "Notices for users, one a channel."
    columns = ("title", "channel", "status", "created_at", "sent_at", "read_at")
    order = (Notification.id,)
    filters = ("status",)
    keys = ("user_id",)


class ProcessedMessageView(RecordView, model=ProcessedMessage):
    """What consumers have handled."""

    name, name_plural, path = "Processed message", "Processed messages", "processed-messages"
    category = "Messaging"
    about = "Messages that were handled: a second delivery changes nothing."
    columns = ("consumer", "message_id", "processed_at")
    order = (ProcessedMessage.consumer, ProcessedMessage.message_id)
    is_newest_first = False


VIEWS = (OutboxView, NotificationView, ProcessedMessageView)
