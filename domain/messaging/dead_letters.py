"""Messages that were given up: looked at, tried again, thrown away."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, insert, update

from domain.db.unit import Unit, UnitOfWork
from domain.errors import NotFound
from domain.messaging.models import FailedDelivery, OutboxMessage, ProcessedMessage
from domain.messaging.repositories import FailedDeliveryRepository

_IS_DEAD: Final = FailedDelivery.dead_at.is_not(None)


async def dead_letters(
    unit: Unit, *, consumer: str | None = None, limit: int = 100
) -> Sequence[FailedDelivery]:
    """Return what was given up, the newest first.

    Args:
        unit: A trusted or staff unit.
        consumer: One consumer's only.
        limit: At most this many.
    """
    deliveries = unit.repository(FailedDeliveryRepository)
    chosen = deliveries.query(_IS_DEAD, *_of(consumer))
    newest = FailedDelivery.dead_at.desc(), FailedDelivery.message_id.desc()
    return await deliveries.all(chosen.order_by(*newest).limit(limit))


async def retry(unit: UnitOfWork, consumer: str, message_id: int) -> FailedDelivery:
    """Let a consumer try a message again at once, with all attempts before it.

    Other consumers get nothing a second time. A message that waits for its next attempt is
    brought forward.

    Raises:
        NotFound: That consumer did not fail on that message.
    """
    found = await _changed(unit, FailedDelivery.message_id == message_id, consumer=consumer)
    if not found:
        raise NotFound(f"{consumer} has not failed on message {message_id}")
    return found[0]


async def retry_all(unit: UnitOfWork, *, consumer: str | None = None) -> int:
    """Let everything that was given up be tried again; return how many."""
    return len(await _changed(unit, _IS_DEAD, consumer=consumer))


async def discard(unit: UnitOfWork, consumer: str, message_id: int) -> None:
    """Throw a failed message away for a consumer: noted as handled, and by whom it was dropped.

    Raises:
        NotFound: That consumer did not fail on that message.
    """
    failed = await unit.repository(FailedDeliveryRepository).lock((consumer, message_id))
    if failed is None:
        raise NotFound(f"{consumer} has not failed on message {message_id}")
    message = await unit[OutboxMessage].find(message_id)
    if message is not None:
        note = {"discarded_by": unit.scope.actor, "error": failed.last_error}
        known = {"consumer": consumer, "message_id": str(message.event_id)}
        await unit.session.execute(insert(ProcessedMessage).values(**known, result=note))
    await unit.session.execute(
        delete(FailedDelivery).where(
            FailedDelivery.consumer == consumer, FailedDelivery.message_id == message_id
        )
    )


async def _changed(
    unit: UnitOfWork, which: ColumnElement[bool], *, consumer: str | None
) -> Sequence[FailedDelivery]:
    again: dict[str, Any] = {"dead_at": None, "attempts": 0, "next_attempt_at": func.now()}
    statement = update(FailedDelivery).where(which, *_of(consumer)).values(**again)
    found = await unit.session.scalars(
        statement.returning(FailedDelivery),
        execution_options={"populate_existing": True, "synchronize_session": False},
    )
    return found.all()


def _of(consumer: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if consumer is None else (FailedDelivery.consumer == consumer,)
