"""What may be done to many records at once: declared by views, done to one record at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from admin.translating import marked
from domain.alerts import events, rules
from domain.clock import now
from domain.database import Worker
from domain.identity.api_keys import revoke_api_key
from domain.identity.models import User

Work = Callable[[Worker, Any, User], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class BulkAction:
    """Something that is done to records.

    Args:
        name: How it stands in forms and runs.
        label: What its button says.
        question: What is asked before it is done, without the number of records.
        work: Does it to one record, for a member of staff; what it raises skips the record.
        power: The permission that it needs.
    """

    name: str
    label: str
    question: str
    work: Work
    power: str = "edit"


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
    BulkAction(
        "pause", marked("Pause"), marked("Stop watching these rules for now?"), _pause, "answer"
    ),
    BulkAction(
        "resume", marked("Resume"), marked("Watch these rules again, afresh?"), _resume, "answer"
    ),
    BulkAction(
        "cancel",
        marked("Cancel"),
        marked("End these rules? Their history stays."),
        _cancel,
        "answer",
    ),
)
ALERT_EVENTS: Final = (
    BulkAction(
        "acknowledge",
        marked("Acknowledge"),
        marked("Have you seen these events?"),
        _acknowledge,
        "answer",
    ),
    BulkAction(
        "resolve",
        marked("Resolve"),
        marked("Is the cause of these events gone?"),
        _resolve,
        "answer",
    ),
)
SESSIONS: Final = (
    BulkAction("revoke", marked("Revoke"), marked("End these logins?"), _end, "revoke"),
)
API_KEYS: Final = (
    BulkAction("revoke", marked("Revoke"), marked("End these keys?"), _revoke, "revoke"),
)
