"""What is asked about messages."""

from domain.db.repository import Repository
from domain.messaging.models import (
    FailedDelivery,
    Notification,
    OutboxMessage,
    ProcessedMessage,
    ScheduledJob,
)


class OutboxRepository(Repository[OutboxMessage]):
    """Facts on their way to others."""


class NotificationRepository(Repository[Notification]):
    """Notices for users."""


class ProcessedMessageRepository(Repository[ProcessedMessage]):
    """What consumers have handled."""


class FailedDeliveryRepository(Repository[FailedDelivery]):
    """Messages that consumers could not handle: to be tried again, or dead."""


class ScheduledJobRepository(Repository[ScheduledJob]):
    """Jobs of the worker."""
