"""Native partitions: made when rows need them, by anybody who may write, at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import Database
from domain.clock import now
from domain.db import migrations
from domain.db.roles import OWNER
from domain.db.timeseries import series
from domain.errors import AccessDenied, InvalidData
from domain.market.ingesting import ingest_bars, ingest_ticks
from domain.market.models import Bar
from domain.ops.retention import Retention, maintain
from domain.testing import new_database
from tests.alembic_checks.projects import execute
from tests.factories.market import make_instrument
from tests.timeseries.rows import DAY, NOW, bar, instrument_in, stored, tick

PIECES = """
SELECT starts_at, ends_at FROM timeseries.partitions
WHERE relation = CAST(:table AS regclass) ORDER BY starts_at"""
SOMEONE = UUID("01900000-0000-7000-8000-000000000002")


@asynccontextmanager
async def owning(db: Database) -> AsyncIterator[AsyncConnection]:
    """A connection of the server's superuser, statement by statement."""
    async with db.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


async def pieces(db: Database, table: str = "market.bars") -> list[tuple[datetime, datetime]]:
    async with owning(db) as connection:
        return [tuple(row) for row in await connection.execute(text(PIECES), {"table": table})]


def assert_apart(found: list[tuple[datetime, datetime]]) -> None:
    assert all(start < end for start, end in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))


async def test_eight_workers_in_the_same_new_days_make_each_piece_once(db: Database) -> None:
    aapl = await instrument_in(db)
    days = [NOW - n * 30 * DAY for n in range(40)]

    async def work(number: int) -> None:
        # Every worker comes from another side.
        order = days[number * 5 :] + days[: number * 5]
        async with db.transaction(system=f"worker {number}") as unit:
            await ingest_bars(unit, [bar(aapl, day, source=f"feed_{number}") for day in order])

    await asyncio.gather(*map(work, range(8)))
    assert await stored(db, "SELECT count(*) FROM market.bars") == [(320,)]
    found = await pieces(db)
    assert_apart(found)
    covering = [[p for p in found if p[0] <= day < p[1]] for day in days]
    assert [len(one) for one in covering] == [1] * 40
    assert {one[0] for one in covering} == set(found)


async def test_eight_workers_in_days_of_their_own_get_all_of_them(db: Database) -> None:
    aapl = await instrument_in(db)

    async def work(number: int) -> None:
        for n in range(5):
            async with db.transaction(system=f"worker {number}") as unit:
                await ingest_ticks(unit, [tick(aapl, NOW + (7 * (number + 8 * n)) * DAY)])

    await asyncio.gather(*map(work, range(8)))
    assert await stored(db, "SELECT count(*) FROM market.ticks") == [(40,)]
    found = await pieces(db, "market.ticks")
    assert_apart(found)
    assert len(found) == 40


async def test_new_instruments_and_their_first_bars_go_in_at_once_where_room_was_made_ahead(
    db: Database,
) -> None:
    await instrument_in(db)  # the currencies are there
    await maintain(db, [Retention("market.bars")])

    async def work(number: int) -> None:
        async with db.transaction(system=f"worker {number}") as unit:
            made = await make_instrument(unit, f"NEW{number}")
            await asyncio.sleep(0.05)
            await ingest_bars(unit, [bar(made.id, now() + n * 20 * DAY) for n in range(5)])

    await asyncio.gather(*map(work, range(8)))
    assert await stored(db, "SELECT count(*) FROM market.bars") == [(40,)]


@pytest.mark.parametrize(
    "statement",
    ["SELECT count(*) FROM market.bars", "DELETE FROM market.bars WHERE volume < 0"],
)
async def test_an_open_transaction_on_the_table_holds_up_no_new_piece(
    db: Database, statement: str
) -> None:
    aapl = await instrument_in(db)
    async with db.transaction(system="test") as unit:
        await ingest_bars(unit, [bar(aapl, NOW)])
    async with db.transaction(system="long report") as report:
        await report.session.execute(text(statement))
        async with db.transaction(system="feed") as unit:
            # Three seconds are the longest that a lock is waited for in the tests.
            await ingest_bars(unit, [bar(aapl, NOW + 300 * DAY)])
        assert len(await report.bars.all()) == 2
    assert len(await pieces(db)) == 2


async def test_a_unit_that_fails_leaves_no_piece_behind(db: Database) -> None:
    aapl = await instrument_in(db)
    with pytest.raises(ZeroDivisionError):
        async with db.transaction(system="test") as unit:
            await ingest_bars(unit, [bar(aapl, NOW)])
            raise ZeroDivisionError
    assert await pieces(db) == []


DAYS = st.dates(date(1900, 1, 1), date(2299, 12, 31)) | st.dates(date(2020, 1, 1), date(2028, 1, 1))


@pytest.fixture(scope="module")
def one_database(postgres_url: str, migrated_template: str) -> Any:
    """For examples that take back what they did."""
    with new_database(postgres_url, template=migrated_template) as url:
        yield url


async def _ensured(
    url: str, batches: list[list[date]]
) -> tuple[list[int], list[tuple[datetime, datetime]]]:
    """Ensure the days of each batch; return how many pieces each made, and all pieces."""
    call = text("SELECT timeseries.ensure('market.bars', CAST(:days AS date[]))")
    async with Database(url) as db, db.engine.connect() as connection:
        made = [int(await connection.scalar(call, {"days": days}) or 0) for days in batches]
        rows = await connection.execute(text(PIECES), {"table": "market.bars"})
        found = [tuple(row) for row in rows]
        await connection.rollback()
    return made, found


@given(st.lists(st.lists(DAYS, max_size=12), min_size=1, max_size=6))
async def test_pieces_never_overlap_and_every_day_asked_for_is_in_one(
    one_database: str, batches: list[list[date]]
) -> None:
    made, found = await _ensured(one_database, [*batches, [day for b in batches for day in b]])
    assert_apart(found)
    assert (sum(made), made[-1]) == (len(found), 0)
    edge = datetime.now(UTC) - timedelta(days=730)
    for day in {day for batch in batches for day in batch}:
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        ((start, end),) = [piece for piece in found if piece[0] <= moment < piece[1]]
        if moment < edge - DAY:
            # A year, unless a neighbour was there before.
            neighbours = {bound for piece in found for bound in piece}
            assert (start.month, start.day) == (1, 1) or start in neighbours - {start}
            assert start.year == moment.year
        assert end - start <= timedelta(days=366)
    assert all(
        bound == bound.replace(hour=0, minute=0, second=0) for piece in found for bound in piece
    )


async def test_an_old_year_is_one_piece_and_young_days_are_pieces_of_thirty(
    one_database: str,
) -> None:
    today = datetime.now(UTC).date()
    young = [today - timedelta(days=n) for n in range(60)]
    _, found = await _ensured(one_database, [[date(2001, 2, 3), date(2001, 12, 31)], young])
    year, *others = found
    assert year == (datetime(2001, 1, 1, tzinfo=UTC), datetime(2002, 1, 1, tzinfo=UTC))
    assert {end - start for start, end in others} == {timedelta(days=30)}


@pytest.mark.parametrize(
    "length", [timedelta(), timedelta(hours=12), timedelta(days=1, seconds=1), -DAY]
)
def test_a_piece_is_whole_days_long(length: timedelta) -> None:
    with pytest.raises(InvalidData, match="whole days"):
        series(by="time", every=length)
    with pytest.raises(InvalidData, match="whole days"):
        series(by="time", every=DAY, coarse_after=length)


@pytest.mark.parametrize("time", [NOW.replace(tzinfo=None), datetime(1815, 6, 18, tzinfo=UTC)])
async def test_an_added_object_with_an_impossible_time_is_refused_and_nothing_is_stored(
    db: Database, time: datetime
) -> None:
    aapl = await instrument_in(db)
    with pytest.raises(InvalidData, match="time"):
        async with db.transaction(system="test") as unit:
            unit.bars.add(Bar(**bar(aapl, NOW)))
            unit.bars.add(Bar(**bar(aapl, time)))
    assert await stored(db, "SELECT count(*) FROM market.bars") == [(0,)]


CALLS = {
    "a table in ts_parts": "CREATE TABLE ts_parts.mine (id int)",
    "a table beside the bars": "CREATE TABLE market.mine (id int)",
    "a table in public": "CREATE TABLE public.mine (id int)",
    "convert": "SELECT timeseries.convert('market.fx_rates', 'on', '30 days', NULL, NULL)",
    "revert": "SELECT timeseries.revert('market.bars')",
    "rebuild": "SELECT timeseries.rebuild('market.bars', '')",
    "a row of the registry": "DELETE FROM timeseries.registry",
    "room in a table that it may not write": (
        "SELECT timeseries.ensure('market.bars', ARRAY[date '2200-01-01'])"
    ),
    "a piece of its own": "SELECT * FROM ts_parts.market_bars_20260101",
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_tenant_may_not_touch_the_mechanism(db: Database, call: str) -> None:
    async with owning(db) as connection:
        await connection.execute(
            text("SELECT timeseries.ensure('market.bars', ARRAY[date '2026-01-01'])")
        )
    with pytest.raises(AccessDenied):
        async with db.transaction(user=SOMEONE) as unit:
            await unit.session.execute(text(CALLS[call]))


@pytest.mark.parametrize("call", ["convert", "revert", "rebuild", "a row of the registry"])
async def test_neither_may_staff(db: Database, call: str) -> None:
    with pytest.raises(AccessDenied):
        async with db.transaction(system="test") as unit:
            await unit.session.execute(text(CALLS[call]))


@pytest.mark.parametrize("table", ["market.fx_rates", "identity.users", "pg_catalog.pg_class"])
async def test_room_is_made_in_time_series_alone(db: Database, table: str) -> None:
    call = text(f"SELECT timeseries.ensure('{table}', ARRAY[date '2026-01-01'])")
    for scope in ({"user": SOMEONE}, {"system": "test"}):
        with pytest.raises(DBAPIError, match="is no time series"):
            async with db.transaction(**scope) as unit:  # type: ignore[call-overload]  # one of two
                await unit.session.execute(call)


HANGING = {
    "a trigger": (
        "CREATE TRIGGER touch BEFORE UPDATE ON market.fx_rates FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "a policy": "CREATE POLICY everybody ON market.fx_rates USING (true)",
    "a view": "CREATE VIEW market.rates AS SELECT * FROM market.fx_rates",
    "a foreign key": (
        "ALTER TABLE market.fx_rates ADD UNIQUE (rate); CREATE TABLE market.quotes"
        " (rate numeric REFERENCES market.fx_rates (rate))"
    ),
}
CONVERT = "SELECT timeseries.convert('market.fx_rates', 'on', '30 days', NULL, NULL)"


@pytest.mark.parametrize("what", HANGING)
async def test_a_table_that_something_hangs_on_is_not_turned(db: Database, what: str) -> None:
    async with owning(db) as connection:
        for statement in HANGING[what].split("; "):
            await connection.exec_driver_sql(statement)
        with pytest.raises(DBAPIError, match=r"hang on market\.fx_rates"):
            await connection.exec_driver_sql(CONVERT)
    assert await stored(
        db, "SELECT relkind FROM pg_class WHERE oid = 'market.fx_rates'::regclass"
    ) == [(b"r",)]


BEFORE = "5b1c7a90d2e4"
FILL = (
    """
INSERT INTO market.instruments (id, symbol, kind, quote_currency)
VALUES ('01900000-0000-7000-8000-000000000003', 'SPY', 'etf', 'USD')""",
    """
INSERT INTO market.bars (instrument_id, timeframe, time, source, open, high, low, close, volume)
SELECT '01900000-0000-7000-8000-000000000003', '1d', day, 'lean', 100, 101, 99, 100 + n % 2, n
FROM generate_series(timestamptz '1993-01-29 05:00Z', '2026-11-20 05:00Z', '1 day')
     WITH ORDINALITY AS d (day, n)""",
)
ROWS = "SELECT * FROM market.bars ORDER BY time"
FILES = """
SELECT pg_relation_filenode(c.oid), count(*) OVER () FROM pg_class AS c
WHERE c.oid = 'market.bars'::regclass AND relkind = 'r'
   OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'market.bars'::regclass)"""


async def test_rows_that_were_there_survive_the_way_there_and_back_and_there_again(
    empty_database: str,
) -> None:
    await migrations.upgrade(empty_database, BEFORE)
    await execute(empty_database, *FILL)
    rows, files = await asked(empty_database, ROWS), await asked(empty_database, FILES)
    assert len(rows) == 12_349

    await migrations.upgrade(empty_database)
    assert await migrations.check(empty_database) == []
    assert await asked(empty_database, ROWS) == rows
    # The same file on disk: no row was copied.
    assert await asked(empty_database, FILES) == files

    await migrations.downgrade(empty_database, BEFORE)
    assert await asked(empty_database, ROWS) == rows
    assert await asked(
        empty_database, "SELECT relkind FROM pg_class WHERE oid = 'market.bars'::regclass"
    ) == [(b"r",)]
    await migrations.upgrade(empty_database)
    assert await migrations.check(empty_database) == []
    assert await asked(empty_database, ROWS) == rows


async def test_a_filled_table_that_was_turned_takes_new_days_before_and_after(
    empty_database: str,
) -> None:
    await migrations.upgrade(empty_database, BEFORE)
    await execute(empty_database, *FILL)
    await migrations.upgrade(empty_database)
    spy = UUID("01900000-0000-7000-8000-000000000003")
    async with Database(empty_database) as db:
        async with db.transaction(system="test") as unit:
            times = [datetime(year, 6, 1, tzinfo=UTC) for year in (1950, 1993, 2010, 2026, 2030)]
            assert (await ingest_bars(unit, [bar(spy, time) for time in times])).inserted == 5
        found = await pieces(db)
    assert_apart(found)
    whole = (datetime(1993, 1, 29, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))
    assert found[1] == whole
    assert len(found) == 3


async def asked(url: str, query: str) -> list[tuple[Any, ...]]:
    async with Database(url) as db, db.engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


WITHOUT_TRIGGERS = """
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tgname FROM pg_trigger
    WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal AND tgparentid = 0
  LOOP EXECUTE format('DROP TRIGGER %I ON {table}', name); END LOOP;
END $$"""
BY_HAND = {
    "a deleted row of the registry": (
        "DELETE FROM timeseries.registry WHERE relation = 'market.ticks'::regclass",
        "market.ticks",
    ),
    "a table that was turned back": ("SELECT timeseries.revert('market.ticks')", "market.ticks"),
    "another length": (
        "UPDATE timeseries.registry SET every = '1 day' WHERE relation = 'market.ticks'::regclass",
        "market.ticks",
    ),
    "another table": (CONVERT, "market.fx_rates"),
}


@pytest.mark.parametrize("change", BY_HAND)
async def test_what_was_changed_by_hand_turns_the_check_red(
    migrated_database: str, change: str
) -> None:
    statement, table = BY_HAND[change]
    freed = WITHOUT_TRIGGERS.format(table=table)
    await execute(migrated_database, f"SET ROLE {OWNER}", freed, statement)
    found = await migrations.check(migrated_database)
    assert any("time series" in line and table in line for line in found), found


async def test_a_piece_of_a_table_with_a_long_name_is_made_beside_the_others(
    migrated_database: str,
) -> None:
    name = "market.quotes_of_all_european_exchanges_and_their_dark_pools_x"
    await execute(
        migrated_database,
        f"SET ROLE {OWNER}",
        f"CREATE TABLE {name} (time timestamptz PRIMARY KEY)",
        f"SELECT timeseries.convert('{name}', 'time', '7 days', NULL, NULL)",
    )
    days = "ARRAY[date '2026-01-01', '2026-02-01', '2026-03-01']"
    assert await asked(migrated_database, f"SELECT timeseries.ensure('{name}', {days})") == [(3,)]


async def test_a_generated_column_is_computed_again_on_the_way_back(
    migrated_database: str,
) -> None:
    query = "SELECT * FROM market.spreads ORDER BY time"
    await execute(
        migrated_database,
        f"SET ROLE {OWNER}",
        "CREATE TABLE market.spreads (time timestamptz PRIMARY KEY, bid numeric,"
        " spread numeric GENERATED ALWAYS AS (ask - bid) STORED, ask numeric)",
        "INSERT INTO market.spreads (time, bid, ask) VALUES ('2026-01-01', 100, 100.25)",
        "SELECT timeseries.convert('market.spreads', 'time', '7 days', NULL, NULL)",
        "SELECT timeseries.ensure('market.spreads', ARRAY[date '2026-03-01'])",
        "INSERT INTO market.spreads (time, bid, ask) VALUES ('2026-03-01', 99, 99.5)",
    )
    rows = await asked(migrated_database, query)
    assert [row[2] for row in rows] == [Decimal("0.25"), Decimal("0.5")]
    await execute(
        migrated_database, f"SET ROLE {OWNER}", "SELECT timeseries.revert('market.spreads')"
    )
    assert await asked(migrated_database, query) == rows
