"""What is asked about messages."""

from domain.db.repository import Repository
from domain.messaging.models import Notification, OutboxMessage, ProcessedMessage


class OutboxRepository(Repository[OutboxMessage]):
    """Facts on their way to others."""


class NotificationRepository(Repository[Notification]):
    """Notices for users."""


class ProcessedMessageRepository(Repository[ProcessedMessage]):
    """What consumers have handled."""
