"""Carries facts from the relay to live listeners: the seam between messages and live data."""

from typing import Final
from uuid import UUID

from domain.messaging.messages import Fact, encoded
from domain.realtime import Broadcaster

NOBODY: Final = UUID(int=0)
"""Whom a fact of no tenant concerns: staff alone hear of it."""


class LiveTeller:
    """Tells live listeners each fact of the relay.

    Args:
        broadcaster: Reaches them.
    """

    def __init__(self, broadcaster: Broadcaster) -> None:
        self._broadcaster = broadcaster

    async def broadcast(self, message: Fact, event_id: UUID) -> None:
        """Tell one fact to its tenant and to staff; one that is no tenant's to staff alone.

        Raises:
            Unavailable: Listeners cannot be reached now.
        """
        user_id = getattr(message, "user_id", None) or NOBODY
        await self._broadcaster.broadcast(message.topic, user_id, encoded(message), event_id)
