"""Tells others what research has found: outbox rows in the transaction that made it true."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert

from domain.db.unit import UnitOfWork
from domain.messaging.models import OutboxMessage

ANALYSIS_COMPLETE: Final = "analysis_complete"
SCREENER_COMPLETE: Final = "screener_complete"


async def announce(unit: UnitOfWork, topic: str, user_id: UUID, payload: Mapping[str, Any]) -> None:
    """Write one outbox message; messages of one user are delivered in order."""
    message = insert(OutboxMessage).values(
        topic=topic,
        key=str(user_id),
        user_id=user_id,
        payload={"type": topic, "user_id": str(user_id), **payload},
    )
    # Tenants may insert here and read nothing: inline does not ask for the key.
    await unit.session.execute(message.inline())
