"""Writes messages into the outbox, in the transaction of the fact that they tell."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as pg_insert

from domain.db import bulk
from domain.db.unit import UnitOfWork
from domain.messaging.messages import Fact, encoded
from domain.messaging.models import OutboxMessage


async def publish(unit: UnitOfWork, message: Fact) -> None:
    """Write one message: it is delivered when the unit commits, and never was when it does not.

    Args:
        unit: The transaction in which the fact became true; a tenant's or a trusted one.
        message: One of `domain.messaging.messages`.

    Raises:
        InvalidData: A value is not of its field's type.
        AccessDenied: A tenant's message names another user.
    """
    # Tenants may insert here and read nothing: inline does not ask for the key.
    await unit.session.execute(insert(OutboxMessage).values(row_of(message)).inline())


async def publish_many(unit: UnitOfWork, messages: Sequence[Fact]) -> int:
    """Write many messages in one statement, in this order; return how many.

    Raises:
        InvalidData: As `publish`.
        AccessDenied: As `publish`.
    """
    rows = [row_of(message) for message in messages]
    return await bulk.insert_many(unit.session, OutboxMessage, rows)


def statement_for(message: Fact) -> Insert:
    """Return the statement of `publish`, for those who send it along with another one."""
    return pg_insert(OutboxMessage).values(row_of(message))


def row_of(message: Fact) -> dict[str, Any]:
    """Return the outbox row of a message.

    Raises:
        InvalidData: A value is not of its field's type.
    """
    return {
        "topic": message.topic,
        "key": message.key,
        "user_id": getattr(message, "user_id", None),
        "payload": encoded(message),
    }
