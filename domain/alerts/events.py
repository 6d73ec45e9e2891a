"""What happens to events after they fired, and events that no rule made: programs report too."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import any_, case, func, literal, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from domain.alerts.models import AlertEvent
from domain.alerts.repositories import AlertEventRepository
from domain.alerts.terms import SYSTEM, Channel, Severity
from domain.clock import new_id, now
from domain.db.bulk import any_of
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData, NotFound
from domain.messaging.messages import AlertReported
from domain.messaging.publishing import publish

_LONGEST: Final = {"title": 200, "source": 100, "dedupe_key": 200}


async def report(unit: UnitOfWork, title: str, message: str, **details: Any) -> AlertEvent:
    """Store what a program reports and tell the outbox; the same thing said twice is stored once.

    A tenant's unit reports to its tenant. A system unit reports to ``user_id``, else to staff only.

    Args:
        unit: A transaction.
        title: One line, at most 200 characters.
        message: What happened, in full.
        **details: ``source`` (the program, required), ``severity``, ``tags``, ``details``,
            ``user_id``, ``alert_id``, ``instrument_id``, ``alert_type``, ``channels_notified``,
            ``triggered_at`` and ``dedupe_key``: by it a repetition is known.

    Returns:
        The new event, or the stored one.

    Raises:
        InvalidData: A text is empty or too long.
    """
    values = _values(unit, {"title": title, "message": message, **details})
    fresh = pg_insert(AlertEvent).values(**values).on_conflict_do_nothing()
    stored = (await unit.session.scalars(fresh.returning(AlertEvent))).first()
    if stored is not None:
        await publish(unit, _announcement(stored))
        return stored
    events = unit.repository(AlertEventRepository)
    return await events.one(
        events.query(
            AlertEvent.user_id.is_not_distinct_from(values["user_id"]),
            AlertEvent.dedupe_key == values["dedupe_key"],
        )
    )


def _values(unit: UnitOfWork, given: dict[str, Any]) -> dict[str, Any]:
    defaults = {
        "user_id": unit.user_id,
        "alert_type": SYSTEM,
        "severity": Severity.INFO,
        "triggered_at": now(),
        "dedupe_key": str(new_id()),
        "source": "",
    }
    values = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    unknown = values.keys() - AlertEvent.__mapper__.column_attrs.keys()
    if unknown:
        raise InvalidData("details", sorted(unknown), "be columns of AlertEvent")
    for name, longest in _LONGEST.items():
        if not 1 <= len(values[name]) <= longest:
            raise InvalidData(name, values[name], f"be 1 to {longest} characters")
    return values


def _announcement(event: AlertEvent) -> AlertReported:
    return AlertReported(
        event_id=event.id,
        user_id=event.user_id,
        title=event.title,
        message=event.message,
        severity=str(event.severity),
        source=event.source,
        tags=tuple(event.tags),
    )


async def acknowledge(
    unit: UnitOfWork, event_id: UUID, *, by: UUID | None = None, at: datetime | None = None
) -> AlertEvent:
    """Say that somebody saw an event; the first one to say so stays.

    Args:
        unit: A transaction.
        event_id: The event.
        by: Who; default: the unit's tenant.
        at: When; default: now.

    Raises:
        NotFound: No such event of this tenant.
    """
    event = AlertEvent
    return await _changed(
        unit,
        event_id,
        acknowledged_at=func.coalesce(event.acknowledged_at, at or now()),
        acknowledged_by=case(
            (event.acknowledged_at.is_(None), by or unit.user_id), else_=event.acknowledged_by
        ),
    )


async def acknowledge_many(
    unit: UnitOfWork,
    event_ids: Sequence[UUID],
    *,
    by: UUID | None = None,
    at: datetime | None = None,
) -> int:
    """Say that somebody saw these events; return how many nobody had seen before."""
    waiting = (
        update(AlertEvent)
        .where(AlertEvent.id == any_of(event_ids), AlertEvent.acknowledged_at.is_(None))
        .values(acknowledged_at=at or now(), acknowledged_by=by or unit.user_id)
    )
    return await _written(unit, waiting)


async def acknowledge_all(unit: UnitOfWork, *, until: datetime | None = None) -> int:
    """Say that the tenant saw all its events up to `until`; return how many were new to it.

    Raises:
        InvalidData: The unit has no tenant: nobody has seen everybody's events.
    """
    if unit.user_id is None:
        raise InvalidData("unit", unit.scope.actor, "be a tenant's")
    waiting = (
        update(AlertEvent)
        .where(
            AlertEvent.user_id == unit.user_id,
            AlertEvent.acknowledged_at.is_(None),
            AlertEvent.triggered_at <= (until or now()),
        )
        .values(acknowledged_at=now(), acknowledged_by=unit.user_id)
    )
    return await _written(unit, waiting)


async def resolve(unit: UnitOfWork, event_id: UUID, *, at: datetime | None = None) -> AlertEvent:
    """Say that the cause of an event is gone; the first instant stays.

    Raises:
        NotFound: No such event of this tenant.
    """
    return await _changed(
        unit, event_id, resolved_at=func.coalesce(AlertEvent.resolved_at, at or now())
    )


async def notified(unit: UnitOfWork, event_id: UUID, channel: Channel | str) -> AlertEvent:
    """Note that an event was told on a channel; once is enough.

    Raises:
        NotFound: No such event of this tenant.
        InvalidData: No such channel.
    """
    if channel not in set(Channel):
        raise InvalidData("channel", channel, f"be among {', '.join(Channel)}")
    told = AlertEvent.channels_notified
    grown = case(
        (literal(str(channel)) == any_(told), told), else_=func.array_append(told, str(channel))
    )
    return await _changed(unit, event_id, channels_notified=grown)


async def _changed(unit: UnitOfWork, event_id: UUID, **values: Any) -> AlertEvent:
    statement = update(AlertEvent).where(AlertEvent.id == event_id).values(**values)
    if unit.user_id is not None:
        statement = statement.where(AlertEvent.user_id == unit.user_id)
    found = await unit.session.scalars(
        statement.returning(AlertEvent),
        execution_options={"populate_existing": True, "synchronize_session": False},
    )
    event = found.first()
    if event is None:
        raise NotFound(f"AlertEvent {event_id} was not found")
    return event


async def _written(unit: UnitOfWork, statement: Any) -> int:
    if unit.user_id is not None:
        statement = statement.where(AlertEvent.user_id == unit.user_id)
    result = await unit.session.execute(statement, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE's cursor result
