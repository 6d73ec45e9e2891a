"""Retention on native partitions: what breaks off is finished, and nothing is lost or held up."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import Database
from domain.db import migrations
from domain.errors import LockTimeout
from domain.market.ingesting import ingest_bars, ingest_ticks
from domain.market.rolling_up import roll_up_days
from domain.ops import retention
from domain.ops.retention import Retention, maintain
from domain.settings import Settings
from domain.testing import new_database
from tests.timeseries.rows import DAY, NOW, bar, instrument_in, stored, tick

OLD = datetime(2019, 6, 15, 12, tzinfo=UTC)
POLICY = Retention("market.bars", keep=365 * DAY, archive="market.bars_archive")
CLOSES = "SELECT close::text FROM market.{} ORDER BY time"
FIRST_PIECE = """
SELECT partition::text, starts_at, ends_at FROM timeseries.partitions
WHERE relation = 'market.bars'::regclass ORDER BY starts_at LIMIT 1"""


@asynccontextmanager
async def by_hand(db: Database) -> AsyncIterator[AsyncConnection]:
    """A connection on which every statement is a transaction of its own."""
    async with db.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection
        await connection.invalidate()


async def filled(db: Database) -> None:
    """Store a bar of 2019 and one of yesterday."""
    aapl = await instrument_in(db)
    async with db.transaction(system="test") as unit:
        await ingest_bars(unit, [bar(aapl, OLD, "50"), bar(aapl, NOW - DAY, "190")])
        await roll_up_days(unit)


async def mark(connection: AsyncConnection) -> str:
    """Do what a run does first with the oldest piece; return its name."""
    name, start, end = (await connection.execute(text(FIRST_PIECE))).one()
    comment = f"leaving market.bars: {start.isoformat()}/{end.isoformat()}"
    await connection.exec_driver_sql(f"COMMENT ON TABLE {name} IS '{comment}'")
    return str(name)


async def detach(db: Database) -> None:
    async with by_hand(db) as connection:
        name = await mark(connection)
        statement = f"ALTER TABLE market.bars DETACH PARTITION {name} CONCURRENTLY"
        await connection.exec_driver_sql(statement)


async def assert_in_order(db: Database) -> None:
    assert await stored(db, CLOSES.format("bars")) == [("190",)]
    assert await stored(db, CLOSES.format("bars_archive")) == [("50",)]
    url = db.engine.url.render_as_string(hide_password=False)
    await db.engine.dispose()
    assert await migrations.check(url) == []


async def test_a_run_that_died_between_detaching_and_attaching_is_finished_by_the_next(
    db: Database,
) -> None:
    await filled(db)
    await detach(db)
    assert await stored(db, CLOSES.format("bars_history")) == [("190",)]
    (done,) = await maintain(db, [POLICY], at=NOW)
    assert (done.archived, done.dropped) == (1, 0)
    await assert_in_order(db)
    (again,) = await maintain(db, [POLICY], at=NOW)
    assert (again.archived, again.dropped, again.made) == (0, 0, 0)


async def test_a_run_that_died_before_detaching_is_repeated(db: Database) -> None:
    await filled(db)
    async with by_hand(db) as connection:
        await mark(connection)
    (done,) = await maintain(db, [POLICY], at=NOW)
    assert done.archived == 1
    await assert_in_order(db)


async def test_a_detach_that_was_broken_off_half_way_is_finalized(db: Database) -> None:
    await filled(db)
    async with db.transaction(system="long report") as report, by_hand(db) as connection:
        await report.bars.count()
        name = await mark(connection)
        await connection.exec_driver_sql("SET lock_timeout = '200ms'")
        with pytest.raises(LockTimeout):
            await connection.exec_driver_sql(
                f"ALTER TABLE market.bars DETACH PARTITION {name} CONCURRENTLY"
            )
    pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
    assert await stored(db, pending) == [(1,)]
    (done,) = await maintain(db, [POLICY], at=NOW)
    assert done.archived == 1
    assert await stored(db, pending) == [(0,)]
    await assert_in_order(db)


async def test_a_piece_that_was_leaving_is_dropped_when_there_is_no_archive(db: Database) -> None:
    await filled(db)
    await detach(db)
    (done,) = await maintain(db, [Retention("market.bars", keep=365 * DAY)], at=NOW)
    assert (done.archived, done.dropped) == (0, 1)
    assert await stored(db, CLOSES.format("bars_history")) == [("190",)]


async def test_a_long_report_holds_retention_up_and_retention_holds_nobody_up(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_PATIENCE", "300ms")
    await filled(db)
    aapl = (await stored(db, "SELECT id FROM market.instruments"))[0][0]
    async with db.snapshot(system="long report") as report:
        assert await report.bars.count() == 2
        run = asyncio.create_task(maintain(db, [POLICY], at=NOW))
        await asyncio.sleep(1)
        assert not run.done()
        async with db.transaction(system="feed") as unit:
            await ingest_bars(unit, [bar(aapl, NOW - DAY, "190")])
        async with db.read(system="page") as unit:
            assert await unit.bars.count() >= 1
        # The report goes on seeing what it saw.
        assert await report.bars.count() == 2
    (done,) = await run
    assert done.archived == 1
    await assert_in_order(db)


async def test_daily_closes_are_the_same_before_and_after_they_were_archived(db: Database) -> None:
    aapl = await instrument_in(db)
    days = [OLD + n * 200 * DAY for n in range(12)]
    async with db.transaction(system="test") as unit:
        rows = [bar(aapl, day, f"{100 + n}", timeframe="1d") for n, day in enumerate(days)]
        await ingest_bars(unit, rows)
        before = await unit.bars.closes([aapl], start=OLD, end=NOW)
    assert (await maintain(db, [POLICY], at=NOW))[0].archived > 3
    async with db.read(system="test") as unit:
        assert await unit.bars.closes([aapl], start=OLD, end=NOW) == before
    assert [close for _, _, close in before] == [100 + n for n in range(12)]


async def test_days_are_not_rolled_up_while_their_bars_are_on_the_way_to_the_archive(
    db: Database,
) -> None:
    await filled(db)
    aapl = (await stored(db, "SELECT id FROM market.instruments"))[0][0]
    days = 'SELECT "on"::text, open::text, high::text, bars_count FROM market.daily_bars'
    await detach(db)
    async with db.transaction(system="feed") as unit:
        await ingest_bars(unit, [bar(aapl, OLD + timedelta(hours=1), "60")])
        assert await roll_up_days(unit) == 0
    await maintain(db, [POLICY], at=NOW)
    async with db.transaction(system="roll-up") as unit:
        assert await roll_up_days(unit) == 1
    assert await stored(db, f"{days} WHERE \"on\" < '2020-01-01'") == [
        ("2019-06-15", "50", "60", 2)
    ]


async def test_late_rows_go_into_the_archive_where_it_had_room_at_both_ends_alone(
    db: Database,
) -> None:
    aapl = await instrument_in(db)
    january, june, december = (datetime(2020, month, 15, tzinfo=UTC) for month in (1, 6, 12))

    async def store(close: str, *times: datetime) -> None:
        async with db.transaction(system="test") as unit:
            await ingest_bars(unit, [bar(aapl, time, close) for time in times])

    await grow_coarse_after(db, None)  # as when that year was young
    await store("1", january, december)
    await maintain(db, [POLICY], at=NOW)
    await grow_coarse_after(db, 730)
    await store("2", january, june, december)
    (done,) = await maintain(db, [POLICY], at=NOW)
    assert done.archived == 1
    assert await stored(db, CLOSES.format("bars_archive")) == [("2",)] * 3
    assert await stored(db, CLOSES.format("bars")) == []


async def grow_coarse_after(db: Database, days: int | None) -> None:
    age = "NULL" if days is None else f"'{days} days'"
    async with by_hand(db) as connection:
        await connection.exec_driver_sql(f"UPDATE timeseries.registry SET coarse_after = {age}")


@pytest.fixture(scope="module")
def one_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """For examples that clean up after themselves; their partitions stay."""
    with new_database(postgres_url, template=migrated_template) as url:
        yield url


AGES = st.lists(st.integers(0, 3_000), max_size=8)


@settings(max_examples=20)
@given(st.lists(AGES, min_size=1, max_size=3), st.integers(1, 2_000))
async def test_whatever_comes_and_however_late_every_bar_is_in_one_place_and_no_young_one_left(
    one_database: str, loads: list[list[int]], keep: int
) -> None:
    policy = Retention("market.bars", keep=keep * DAY, archive="market.bars_archive")
    async with Database(one_database, settings=Settings(lock_timeout=3)) as db:
        aapl = await instrument_in(db, uuid4().hex)
        for load in loads:
            async with db.transaction(system="test") as unit:
                await ingest_bars(unit, [bar(aapl, NOW - age * DAY) for age in load])
            await maintain(db, [policy], at=NOW)
        here, archived, both = [
            {row[0] for row in await stored(db, f"SELECT time FROM market.{table}")}
            for table in ("bars", "bars_archive", "bars_history")
        ]
        await stored(db, "WITH a AS (DELETE FROM market.bars) SELECT 1")
        await stored(db, "WITH a AS (DELETE FROM market.bars_archive) SELECT 1")
    assert both == {NOW - age * DAY for load in loads for age in load}
    assert not here & archived
    assert all(NOW - time >= keep * DAY for time in archived)


async def test_ticks_of_a_dropped_piece_may_come_again(db: Database) -> None:
    aapl = await instrument_in(db)
    policy = Retention("market.ticks", keep=30 * DAY)
    for _ in range(2):
        async with db.transaction(system="test") as unit:
            assert (await ingest_ticks(unit, [tick(aapl, OLD)])).inserted == 1
        (done,) = await maintain(db, [policy], at=NOW)
        assert done.dropped == 1
    assert await stored(db, "SELECT count(*) FROM market.ticks") == [(0,)]
