"""Screeners: saved by name, due by cron, their runs recorded and announced.

What a screener looks for is its criteria; running them against a market is the caller's.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from sqlalchemy.dialects.postgresql import insert
from typing_extensions import Unpack

from domain.clock import as_utc, now
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.messaging.messages import ScreenerComplete
from domain.messaging.publishing import publish
from domain.research.models import Screener, ScreenerRun
from domain.research.naming import checked_title, owner_of
from domain.research.plain_json import plain_json
from domain.research.repositories import ScreenerRepository

_CRON_FIELDS: Final = 5
_LONGEST_SCHEDULE: Final = 100
_CHANGEABLE: Final = (
    "screener_type",
    "criteria",
    "description",
    "auto_run",
    "schedule",
    "timezone",
    "notify_channels",
    "next_run_at",
)


class ScreenerDetails(TypedDict, total=False):
    """What may be said about a screener beyond name, type and criteria."""

    description: str | None
    auto_run: bool
    schedule: str | None
    timezone: str
    notify_channels: Sequence[str]
    user_id: UUID | None


def next_run(schedule: str, after: datetime, timezone: str = "UTC") -> datetime:
    """Return when a schedule comes next after an instant, UTC.

    In the night when clocks go forward, a time that does not exist comes right after the gap; in
    the night when they go back it comes once.

    Args:
        schedule: Cron expression of five fields, as Debian's cron reads it.
        after: An aware instant.
        timezone: IANA zone in which the schedule is read.

    Raises:
        InvalidData: The expression is none or never comes, or the zone is unknown.

    Example:
        >>> friday = datetime(2024, 3, 8, 15, tzinfo=UTC)
        >>> next_run("30 9 * * MON-FRI", friday, "America/New_York").isoformat()
        '2024-03-11T13:30:00+00:00'
    """
    local = as_utc(after, "after").astimezone(_zone(timezone))
    if len(schedule) > _LONGEST_SCHEDULE or len(schedule.split()) != _CRON_FIELDS:
        raise InvalidData("schedule", schedule, "be a cron expression of five fields")
    try:
        return next(CronSim(schedule.upper(), local)).astimezone(UTC)
    except (CronSimError, StopIteration):
        raise InvalidData("schedule", schedule, "be a cron expression that comes") from None


async def save_screener(
    unit: UnitOfWork,
    name: str,
    screener_type: str,
    criteria: dict[str, Any],
    **details: Unpack[ScreenerDetails],
) -> Screener:
    """Save a screener under its name; one that has it is replaced.

    Args:
        unit: A tenant's unit, or a trusted one that names `user_id`.
        name: Name, unique for the user.
        screener_type: A lower-case word: stock, csp, …
        criteria: What to look for; Decimals become text.
        **details: See `ScreenerDetails`; what is left out gets its default.

    Raises:
        InvalidData: The schedule is no cron expression, or is missing although `auto_run`.
    """
    row = {
        "user_id": owner_of(unit, details.pop("user_id", None)),
        "name": checked_title(name),
        "screener_type": screener_type,
        "criteria": plain_json(criteria, "criteria"),
        "description": details.get("description"),
        **_timing(details),
        "notify_channels": list(details.get("notify_channels", ())),
    }
    changes: dict[str, Any] = {column: row[column] for column in _CHANGEABLE}
    changes |= {"version": Screener.version + 1, "updated_at": now()}
    upsert = (
        insert(Screener)
        .values(**row)
        .on_conflict_do_update(index_elements=["user_id", "name"], set_=changes)
    )
    found = await unit.session.scalars(
        upsert.returning(Screener), execution_options={"populate_existing": True}
    )
    return found.one()


async def claim_due_screeners(
    unit: UnitOfWork, *, at: datetime | None = None, limit: int = 10
) -> Sequence[Screener]:
    """Return screeners that are due and set when they come next; every one is claimed once.

    Several workers may ask at the same time. Times missed while nobody asked are not made up for.

    Args:
        unit: A trusted unit for all tenants; a tenant's for its own.
        at: The instant; default now.
        limit: At most this many.
    """
    instant = now() if at is None else as_utc(at, "at")
    screeners = unit.repository(ScreenerRepository)
    due = (
        screeners.query(Screener.auto_run.is_(True), Screener.next_run_at <= instant)
        .order_by(Screener.next_run_at, Screener.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claimed = await screeners.all(due)
    for screener in claimed:
        screener.next_run_at = next_run(screener.schedule or "", instant, screener.timezone)
    await unit.flush()
    return claimed


async def save_screener_run(
    unit: UnitOfWork,
    screener: Screener,
    results: Sequence[Any],
    *,
    candidates_found: int | None = None,
    run_at: datetime | None = None,
) -> ScreenerRun:
    """Record a run with the criteria as they are now, and announce it.

    Args:
        unit: A unit that sees the screener.
        screener: What was run.
        results: What matched, best first; Decimals become text.
        candidates_found: How many matched, when `results` holds only the best.
        run_at: When; default now.

    Raises:
        InvalidData: Fewer were found than results are given.
    """
    found = len(results) if candidates_found is None else candidates_found
    if found < len(results):
        raise InvalidData("candidates_found", found, f"be at least the {len(results)} results")
    run = ScreenerRun(
        user_id=screener.user_id,
        screener_id=screener.id,
        screener_type=screener.screener_type,
        criteria=screener.criteria,
        candidates_found=found,
        results=plain_json(list(results), "results"),
        run_at=now() if run_at is None else as_utc(run_at, "run_at"),
    )
    unit.session.add(run)
    await unit.flush()
    message = ScreenerComplete(
        user_id=screener.user_id,
        screener_id=screener.id,
        result_count=found,
        run_id=run.id,
        name=screener.name,
        notify_channels=tuple(screener.notify_channels),
    )
    await publish(unit, message)
    return run


def _timing(details: ScreenerDetails) -> dict[str, Any]:
    schedule, is_automatic = details.get("schedule"), details.get("auto_run", False)
    timezone = details.get("timezone", "UTC")
    _zone(timezone)
    if is_automatic and schedule is None:
        raise InvalidData("schedule", None, "be given when auto_run is on")
    comes = None if schedule is None else next_run(schedule, now(), timezone)
    return {
        "auto_run": is_automatic,
        "schedule": schedule,
        "timezone": timezone,
        "next_run_at": comes if is_automatic else None,
    }


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidData("timezone", name, "be an IANA time zone") from None
