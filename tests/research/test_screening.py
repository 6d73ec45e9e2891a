"""Screeners: saved by name, due by cron, runs recorded and announced."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from domain import Database
from domain.clock import now
from domain.errors import InvalidData, ReferenceViolation
from domain.identity.models import User
from domain.messaging.models import OutboxMessage
from domain.research.models import ScreenerRun
from domain.research.screening import (
    claim_due_screeners,
    next_run,
    save_screener,
    save_screener_run,
)
from tests.factories.identity import make_user

CRITERIA = {"min_price": Decimal("20.00"), "max_dte": 45, "delta": [0.2, 0.3]}


@pytest.fixture
async def trader(db: Database) -> User:
    async with db.transaction(system="test") as unit:
        return await make_user(unit)


async def messages(db: Database, topic: str) -> Sequence[OutboxMessage]:
    async with db.read(system="test") as unit:
        return (
            await unit.session.scalars(select(OutboxMessage).where(OutboxMessage.topic == topic))
        ).all()


@pytest.mark.parametrize(
    ("schedule", "after", "zone", "expected"),
    [
        ("30 9 * * 1-5", "2024-03-08T20:00:00+00:00", "UTC", "2024-03-11T09:30:00+00:00"),
        # New York's clocks went forward on 10 March 2024: half past nine came an hour earlier.
        ("30 9 * * mon-fri", "2024-03-08T15:00:00+00:00", "America/New_York", "2024-03-11T13:30:00+00:00"),
        ("30 9 * * 1-5", "2024-03-07T15:00:00+00:00", "America/New_York", "2024-03-08T14:30:00+00:00"),
        ("*/15 * * * *", "2024-01-01T00:14:59+00:00", "UTC", "2024-01-01T00:15:00+00:00"),
        ("0 0 29 2 *", "2024-03-01T00:00:00+00:00", "UTC", "2028-02-29T00:00:00+00:00"),
        ("0 16 L * *", "2024-02-01T00:00:00+00:00", "UTC", "2024-02-29T16:00:00+00:00"),
        # Half past two does not exist on that morning.
        ("30 2 * * *", "2024-03-10T06:00:00+00:00", "America/New_York", "2024-03-10T07:00:00+00:00"),
    ],
)  # fmt: skip
def test_a_schedule_is_read_in_its_zone(
    schedule: str, after: str, zone: str, expected: str
) -> None:
    assert next_run(schedule, datetime.fromisoformat(after), zone).isoformat() == expected


@pytest.mark.parametrize(
    "schedule",
    ["", "daily", "@daily", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "0 0 30 2 *", "a b c d e", "*/0 * * * *", "1-0 * * * *", "* * * * *" + " " * 100, "\x00 * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(InvalidData) as refused:
        next_run(schedule, now())
    assert refused.value.field == "schedule"


@pytest.mark.parametrize("zone", ["", "Nowhere/City", "../etc/passwd", "America", "a\x00"])
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidData, match="timezone"):
        next_run("0 0 * * *", now(), zone)


@given(
    st.integers(0, 10 * 365 * 86_400).map(
        lambda s: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=s)
    ),
    st.sampled_from(["*/5 * * * *", "30 9 * * 1-5", "0 0 1 * *"]),
    st.sampled_from(["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata"]),
)
def test_the_next_run_is_later_and_runs_never_go_back(
    after: datetime, schedule: str, zone: str
) -> None:
    first = next_run(schedule, after, zone)
    assert after < first < next_run(schedule, first, zone)


async def test_a_screener_is_saved_under_its_name(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        first = await save_screener(
            unit,
            "Weekly puts",
            "csp",
            CRITERIA,
            auto_run=True,
            schedule="0 14 * * 1",
            notify_channels=["email", "discord"],
            description="Premium",
        )
        assert first.next_run_at is not None
        assert first.next_run_at > now()
    async with db.transaction(user=trader.id) as unit:
        second = await save_screener(unit, " Weekly puts ", "stock", {})
    assert (second.id, second.version) == (first.id, 2)
    assert (second.screener_type, second.criteria, second.notify_channels) == ("stock", {}, [])
    assert (second.auto_run, second.schedule, second.next_run_at) == (False, None, None)
    async with db.read(user=trader.id) as unit:
        assert await unit.screeners.count() == 1
        assert await unit.screeners.by_name("Weekly puts") is not None
        assert await unit.screeners.by_name("Other") is None


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({"auto_run": True}, "schedule"),
        ({"schedule": "whenever"}, "schedule"),
        ({"timezone": "Mars/Base"}, "timezone"),
    ],
)
async def test_a_screener_that_cannot_run_is_refused(
    db: Database, trader: User, details: dict[str, Any], field: str
) -> None:
    async with db.transaction(user=trader.id) as unit:
        with pytest.raises(InvalidData) as refused:
            await save_screener(unit, "Broken", "stock", {}, **details)
        assert refused.value.field == field
        assert await unit.screeners.count() == 0


async def test_a_run_keeps_the_criteria_it_had_and_is_announced_once(
    db: Database, trader: User
) -> None:
    async with db.transaction(user=trader.id) as unit:
        screener = await save_screener(unit, "Puts", "csp", CRITERIA, notify_channels=["email"])
        run = await save_screener_run(
            unit, screener, [{"symbol": "AAPL", "yield": Decimal("0.120")}], candidates_found=7
        )
        await save_screener(unit, "Puts", "csp", {"other": 1})
    async with db.read(user=trader.id) as unit:
        (found,) = await unit.screener_runs.recent(screener)
        assert (await unit.screener_runs.recent())[0].id == found.id
    assert found.criteria == {"min_price": "20", "max_dte": 45, "delta": [0.2, 0.3]}
    assert found.results == [{"symbol": "AAPL", "yield": "0.12"}]
    assert found.candidates_found == 7
    (message,) = await messages(db, "screener_complete")
    assert message.user_id == trader.id
    assert message.payload == {
        "type": "screener_complete",
        "userId": str(trader.id),
        "screenerId": str(screener.id),
        "runId": str(run.id),
        "name": "Puts",
        "resultCount": 7,
        "notifyChannels": ["email"],
    }


async def test_a_run_counts_at_least_its_results(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        screener = await save_screener(unit, "Puts", "csp", {})
        with pytest.raises(InvalidData, match="candidates_found"):
            await save_screener_run(unit, screener, [1, 2], candidates_found=1)
        for value in (float("nan"), Decimal("Infinity"), object(), {1: 2}, "a\x00"):
            with pytest.raises(InvalidData, match="results"):
                await save_screener_run(unit, screener, [value])
        assert await unit.screener_runs.count() == 0
    assert await messages(db, "screener_complete") == []


async def test_runs_outlive_their_screener(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        screener = await save_screener(unit, "Puts", "csp", {})
        run = await save_screener_run(unit, screener, [])
    async with db.transaction(user=trader.id) as unit:
        await unit.screeners.remove(await unit.screeners.get(screener.id))
    async with db.read(user=trader.id) as unit:
        left = await unit.screener_runs.get(run.id)
    assert (left.screener_id, left.user_id) == (None, trader.id)


async def test_another_tenants_screener_cannot_be_run(db: Database, trader: User) -> None:
    async with db.transaction(system="test") as unit:
        bob = await make_user(unit, "bob")
        screener = await save_screener(unit, "Puts", "csp", {}, user_id=bob.id)
    with pytest.raises(ReferenceViolation):
        async with db.transaction(user=trader.id) as unit:
            unit.screener_runs.add(
                ScreenerRun(
                    user_id=trader.id,
                    screener_id=screener.id,
                    screener_type="csp",
                    criteria={},
                    candidates_found=0,
                    results=[],
                    run_at=now(),
                )
            )


async def test_a_due_screener_is_claimed_by_one_worker_only(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        for number in range(6):
            await save_screener(
                unit, f"Hourly {number}", "stock", {}, auto_run=True, schedule="0 * * * *"
            )
        await save_screener(unit, "By hand", "stock", {}, schedule="0 * * * *")
    later = now() + timedelta(hours=1, minutes=1)

    async def claim() -> list[str]:
        async with db.transaction(system="screening") as unit:
            claimed = await claim_due_screeners(unit, at=later, limit=2)
            await asyncio.sleep(0.05)
            assert all(item.next_run_at and item.next_run_at > later for item in claimed)
            return [item.name for item in claimed]

    async with db.transaction(system="screening") as unit:
        assert await claim_due_screeners(unit) == []
    names = [name for batch in await asyncio.gather(*(claim() for _ in range(5))) for name in batch]
    assert sorted(names) == [f"Hourly {number}" for number in range(6)]
    assert await claim() == []
