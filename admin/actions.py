"""What may be done to many records at once: declared by views, done to one record at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from domain.alerts import events, rules
from domain.clock import now
from domain.database import Worker
from domain.identity.api_keys import revoke_api_key
from domain.identity.models import User

Work = Callable[[Worker, Any, User], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Action:
    """Something that is done to records.

    Args:
        name: How it stands in forms and runs.
        label: What its button says.
        question: What is asked before it is done, without the number of records.
        work: Does it to one record, for a member of staff; what it raises skips the record.
        is_for_administrators: Whether only administrators may do it.
    """

    name: str
    label: str
    question: str
    work: Work
    is_for_administrators: bool = False


async def _pause(unit: Worker, record: Any, _: User) -> object:
    return await rules.pause(unit, record.id)


async def _resume(unit: Worker, record: Any, _: User) -> object:
    return await rules.resume(unit, record.id)


async def _cancel(unit: Worker, record: Any, _: User) -> object:
    return await rules.cancel(unit, record.id)


async def _acknowledge(unit: Worker, record: Any, by: User) -> object:
    return await events.acknowledge(unit, record.id, by=by.id)


async def _resolve(unit: Worker, record: Any, _: User) -> object:
    return await events.resolve(unit, record.id)


async def _end(unit: Worker, record: Any, by: User) -> None:
    if record.revoked_at is None:
        record.revoked_at, record.revoked_reason = now(), f"revoked by {by.username}"
    await unit.flush()


async def _revoke(unit: Worker, record: Any, _: User) -> None:
    await revoke_api_key(unit, record)
    await unit.flush()


ALERTS: Final = (
    Action("pause", "Pause", "Stop watching these rules until they are resumed?", _pause),
    Action("resume", "Resume", "Watch these rules again, afresh?", _resume),
    Action("cancel", "Cancel", "End these rules? Their history stays.", _cancel),
)
ALERT_EVENTS: Final = (
    Action("acknowledge", "Acknowledge", "Say that you saw these events?", _acknowledge),
    Action("resolve", "Resolve", "Say that the cause of these events is gone?", _resolve),
)
SESSIONS: Final = (
    Action("revoke", "Revoke", "End these logins?", _end, is_for_administrators=True),
)
API_KEYS: Final = (
    Action("revoke", "Revoke", "End these keys?", _revoke, is_for_administrators=True),
)
