"""Writes that bypass the application: a table is watched, and its writers tell what they wrote."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from copy import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from domain import Database
from domain.cache.listening import CHANNEL, TELL_WRITTEN, triggers_of, watch
from domain.db.autogenerate import declared_snapshot, real_snapshot
from domain.db.objects import DatabaseObject
from domain.db.orm import Base
from domain.market.ingesting import advance_latest_prices
from domain.market.models import LatestPrice
from domain.news.models import EconomicSeries
from domain.research.models import Metric
from tests.cache.conftest import OpenDatabase
from tests.cache.worlds import Answer, World, make_world, of_the_product
from tests.factories.market import make_instrument

BUMP = "UPDATE market.latest_prices SET price = price + 1"


@pytest.fixture
def watched() -> Iterator[None]:
    """Watch prices; afterwards nothing is declared that was not before."""
    before = {name: copy(value) for name, value in Base.metadata.info.items()}
    watch(LatestPrice)
    yield
    Base.metadata.info.clear()
    Base.metadata.info.update(before)


@pytest.fixture
async def world(
    watched: None, migrated_database: str, open_database: OpenDatabase
) -> AsyncIterator[World]:
    async with by_hand(migrated_database) as psql:
        objects: list[DatabaseObject] = [TELL_WRITTEN, *triggers_of(table(), ["instrument_id"])]
        for item in objects:
            for statement in item.create():
                await psql.exec_driver_sql(statement)
    async with open_database() as db:
        yield await make_world(db)


def table() -> Any:
    return LatestPrice.__table__


@asynccontextmanager
async def by_hand(url: str) -> AsyncIterator[AsyncConnection]:
    """Write as psql would: past the application, each statement its own transaction."""
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def soon(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await is_so():
            await asyncio.sleep(0.01)


def quote(world: World, of: Any = None) -> Answer:
    return world.answer(of_the_product()["quote"], (of or world.apple).id)


async def settled(world: World, *answers: Answer) -> None:
    """Wait until the listener has taken out what it may have missed, and hears."""
    await soon(lambda: is_listening(world.db))
    known = quote(world, world.option)
    await known.keep()
    notice = json.dumps({"table": "market.latest_prices", "rows": [columns_of(known)]})
    async with by_hand(url_of(world.db)) as psql:
        await psql.execute(
            text("SELECT pg_notify(:to, :notice)"), {"to": CHANNEL, "notice": notice}
        )
    # A notice deletes the key; what was done before only made it invalid.
    await soon(lambda: is_deleted(known))
    for answer in answers:
        await answer.keep()


def columns_of(answer: Answer) -> dict[str, str]:
    return {name: str(value) for name, value in answer.given.items()}


def url_of(db: Database) -> str:
    return db.engine.url.render_as_string(hide_password=False)


async def is_deleted(answer: Answer) -> bool:
    key = answer.read.key(answer.db.cache.keyspace, answer.given)
    return await answer.db.cache.read([key]) == [None]


async def is_listening(db: Database) -> bool:
    async with by_hand(url_of(db)) as psql:
        found = await psql.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            " AND datname = current_database()"
        )
        return bool(found.scalar_one())


async def test_a_write_past_the_application_is_seen_after_its_notice(
    world: World, migrated_database: str
) -> None:
    mine, other = quote(world), quote(world, world.other)
    await settled(world, mine, other)
    async with by_hand(migrated_database) as psql:
        await psql.execute(text(f"{BUMP} WHERE instrument_id = :apple"), {"apple": world.apple.id})
    await soon(lambda: sees(mine, "188.25"))
    assert await other.is_kept()
    async with by_hand(migrated_database) as psql:
        await psql.execute(text("TRUNCATE market.latest_prices"))
    await soon(lambda: sees_nothing(other))


async def sees(answer: Answer, price: str) -> bool:
    found = await answer.cached()
    return found is not None and found.price == Decimal(price)


async def sees_nothing(answer: Answer) -> bool:
    return await answer.cached() is None


@asynccontextmanager
async def hearing(url: str) -> AsyncIterator[list[str]]:
    """Collect what is notified."""
    heard: list[str] = []
    async with by_hand(url) as psql:
        raw: Any = (await psql.get_raw_connection()).driver_connection
        await raw.add_listener(CHANNEL, lambda *words: heard.append(words[-1]))
        yield heard
        await psql.exec_driver_sql(f"NOTIFY {CHANNEL}, 'last'")
        await soon(lambda: is_last(heard))
        heard.remove("last")


async def is_last(heard: list[str]) -> bool:
    return "last" in heard


async def eight_prices(world: World) -> list[Any]:
    async with world.db.transaction(system="test") as unit:
        made = [await make_instrument(unit, f"X{number}") for number in range(8)]
        rows = [
            {
                "instrument_id": item.id,
                "price": Decimal(10),
                "time": datetime(2026, 1, 5, tzinfo=UTC),
                "source": "feed",
            }
            for item in made
        ]
        await advance_latest_prices(unit, rows)
    return made


async def test_eight_rows_name_eight_answers_and_a_rollback_none(
    world: World, migrated_database: str
) -> None:
    made = await eight_prices(world)
    mine = [quote(world, item) for item in made]
    spared = quote(world)
    await settled(world, *mine, spared)
    async with hearing(migrated_database) as heard, by_hand(migrated_database) as psql:
        await psql.exec_driver_sql("BEGIN")
        await psql.exec_driver_sql(BUMP)
        await psql.exec_driver_sql("ROLLBACK")
        await psql.execute(
            text(f"{BUMP} WHERE instrument_id = ANY(:ids)"), {"ids": [item.id for item in made]}
        )
    assert len(heard) == 1
    assert all(str(item.id) in heard[0] for item in made)
    assert str(world.apple.id) not in heard[0]
    for answer in mine:
        await soon(lambda answer=answer: sees(answer, "11"))  # type: ignore[misc]  # bound now
    assert await spared.is_kept()


async def test_many_rows_are_told_in_pieces_and_very_many_as_the_whole_table(
    world: World, migrated_database: str
) -> None:
    many = (
        "INSERT INTO market.instruments (symbol, kind, quote_currency)"
        " SELECT 'Y' || n, 'stock', 'USD' FROM generate_series(1, {}) n"
    )
    fill = (
        "INSERT INTO market.latest_prices (instrument_id, price, time, source)"
        " SELECT id, 1, now(), 'feed' FROM market.instruments WHERE symbol LIKE 'Y%'"
    )
    async with by_hand(migrated_database) as psql:
        await psql.exec_driver_sql(many.format(190))
        async with hearing(migrated_database) as heard:
            await psql.exec_driver_sql(fill)
    assert len(heard) == 2
    assert sum(notice.count("instrument_id") for notice in heard) == 190
    kept = quote(world)
    await settled(world, kept)
    async with by_hand(migrated_database) as psql, hearing(migrated_database) as heard:
        await psql.exec_driver_sql(many.format(400).replace("'Y'", "'YZ'"))
        await psql.exec_driver_sql(f"{fill} ON CONFLICT DO NOTHING")
    assert heard == ['{"rows": null, "table": "market.latest_prices"}']
    await soon(lambda: is_gone(kept))


async def is_gone(answer: Answer) -> bool:
    return not await answer.is_kept()


async def test_what_was_missed_while_the_connection_was_away_is_made_good(
    world: World, migrated_database: str
) -> None:
    mine = quote(world)
    await settled(world, mine)
    async with by_hand(migrated_database) as psql:
        await psql.exec_driver_sql("ALTER TABLE market.latest_prices DISABLE TRIGGER USER")
        await psql.exec_driver_sql(BUMP)
        assert await mine.is_kept()
        await psql.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
    await soon(lambda: sees(mine, "188.25"))


async def test_triggers_are_declared_so_that_the_next_migration_has_them(
    world: World, watched: None
) -> None:
    async with world.db.engine.connect() as connection:
        real = await connection.run_sync(real_snapshot, Base.metadata)
        wanted = await connection.run_sync(declared_snapshot, Base.metadata)
    names = {name for name in wanted.facts if "tell_" in name}
    assert len(names) == 5
    assert {name: real.facts.get(name) for name in names} == {
        name: wanted.facts[name] for name in names
    }


def test_only_a_table_that_an_answer_depends_on_can_be_watched(watched: None) -> None:
    with pytest.raises(Exception, match="be one that a declared answer depends on"):
        watch(Metric)
    with pytest.raises(Exception, match="EconomicSeries"):
        watch(EconomicSeries)


async def test_nothing_listens_unless_a_table_is_watched(open_database: OpenDatabase) -> None:
    async with open_database() as db:
        assert db.cache._listening is None
