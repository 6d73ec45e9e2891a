"""The views of facts on their way, notices and handled messages."""

from typing import Any

from admin.records import RecordView
from admin.translating import gettext
from domain.messaging.models import (
    FailedDelivery,
    Notification,
    OutboxMessage,
    ProcessedMessage,
    ScheduledJob,
)


class OutboxView(RecordView, model=OutboxMessage):
    """The outbox."""

    name, name_plural, path = "Outbox message", "Outbox", "outbox"
    holds_everything = True
    category = "Messaging"
    about = "Facts that were written with the transaction that made them true."
    columns = ("id", "topic", "key", "created_at", "published_at")
    order = (OutboxMessage.id,)
    hint_about = "The worker delivers what the ledger, alerts and research announce."

    def heading(self, record: Any) -> str:
        """Return ``trade.booked, number 12``."""
        return gettext("%(topic)s, number %(number)s", topic=record.topic, number=record.id)


class FailedDeliveryView(RecordView, model=FailedDelivery):
    """Messages that consumers could not handle."""

    name, name_plural, path = "Failed delivery", "Failed deliveries", "failed-deliveries"
    powers = ("answer",)
    panel = "panels/failed_delivery.html"
    category = "Messaging"
    about = "Messages that a consumer could not handle: tried again, or dead."
    columns = (
        "consumer",
        "topic",
        "message_id",
        "attempts",
        "failed_at",
        "next_attempt_at",
        "dead_at",
        "last_error",
    )
    order = (FailedDelivery.consumer, FailedDelivery.message_id)
    prose = ("last_error",)
    hint_about = "Nothing failed."

    def heading(self, record: Any) -> str:
        """Return ``alert-notices: alert_triggered, number 12``."""
        said = gettext("%(topic)s, number %(number)s", topic=record.topic, number=record.message_id)
        return f"{record.consumer}: {said}"


class ScheduledJobView(RecordView, model=ScheduledJob):
    """Jobs of the worker."""

    name, name_plural, path = "Job", "Jobs", "jobs"
    category = "Messaging"
    about = "What the worker does again and again, when it comes next and how the last run went."
    columns = ("name", "schedule", "next_run_at", "last_finished_at", "last_result", "last_error")
    order = (ScheduledJob.name,)
    is_newest_first = False
    hint_about = "A worker stores its jobs when it starts."
    hint = "tradekeep worker"


class NotificationView(RecordView, model=Notification):
    """Notices for users."""

    name, name_plural, path = "Notification", "Notifications", "notifications"
    category = "Messaging"
    about = "Notices for users, one a channel."
    columns = (
        "created_at",
        "kind",
        "severity",
        "title",
        "channel",
        "status",
        "sent_at",
        "last_error",
        "user_id",
    )
    order = (Notification.id,)
    filters = ("status",)
    keys = ("user_id",)
    pickers = ("user_id",)
    hint_about = "Users are told on the channels that their alerts and screeners name."

    def heading(self, record: Any) -> str:
        """Return the notice's title."""
        return str(record.title or gettext(self.name))


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


VIEWS = (
    OutboxView,
    FailedDeliveryView,
    NotificationView,
    ScheduledJobView,
    ProcessedMessageView,
)
