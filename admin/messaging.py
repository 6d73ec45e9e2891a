"""The view of facts on their way to others."""

from admin.records import RecordView
from domain.messaging.models import OutboxMessage


class OutboxView(RecordView, model=OutboxMessage):
    """The outbox."""

    name, name_plural, path = "Outbox message", "Outbox", "outbox"
    category = "Messaging"
    about = "Facts that were written with the transaction that made them true."
    columns = ("id", "topic", "key", "created_at", "published_at", "attempts", "last_error")
    order = (OutboxMessage.id,)


VIEWS = (OutboxView,)
