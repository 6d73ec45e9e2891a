"""dogpile.cache on our store: its regions read the engine's answers, SQLAlchemy's recipe runs.

The recipe is that of SQLAlchemy's documentation, examples/dogpile_caching: `FromCache`,
`RelationshipCache` and `ORMCache` around ``do_orm_execute``, which pickle frozen results.
"""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from dogpile.cache import CacheRegion, make_region
from dogpile.cache.api import NO_VALUE
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import loading, selectinload
from sqlalchemy.orm.interfaces import UserDefinedOption

from domain import Database
from domain.cache import Tier
from domain.market.models import Instrument
from domain.trading.models import Position
from tests.cache.conftest import OpenDatabase
from tests.cache.worlds import World, statements


class FromCache(UserDefinedOption):
    """A SELECT takes its result from a region."""

    propagate_to_loaders = False

    def __init__(self, region: str) -> None:
        super().__init__()
        self.region = region

    def chosen(self, _: Any) -> "FromCache | None":
        return self


class RelationshipCache(FromCache):
    """The SELECT of a relationship's loader takes its result from a region."""

    propagate_to_loaders = True

    def __init__(self, attribute: Any, region: str) -> None:
        super().__init__(region)
        self.path = (attribute.property.parent.class_, attribute.property.key)

    def chosen(self, orm_context: Any) -> "FromCache | None":
        path = orm_context.loader_strategy_path
        if not path:
            return None
        mapper, prop = path[-2:]
        return self if (mapper.class_, prop.key) == self.path else None


class ORMCache:
    """Gives sessions results from dogpile regions."""

    def __init__(self, regions: dict[str, CacheRegion]) -> None:
        self.regions = regions
        self.known: dict[Any, Any] = {}

    def listen_on_session(self, session: Any) -> None:
        event.listen(session, "do_orm_execute", self.execute)

    def execute(self, orm_context: Any) -> Any:
        for option in orm_context.user_defined_options:
            found = option.chosen(orm_context) if isinstance(option, FromCache) else None
            if found is not None:
                frozen = self.regions[found.region].get_or_create(
                    self.key(orm_context), lambda: orm_context.invoke_statement().freeze()
                )
                session, statement = orm_context.session, orm_context.statement
                merge: Any = loading.merge_frozen_result
                return merge(session, statement, frozen, load=False)()
        return None

    def key(self, orm_context: Any) -> str:
        statement = orm_context.statement
        made = statement._generate_cache_key()
        written = made.to_offline_string(self.known, statement, orm_context.parameters or {})
        return sha256(written.encode()).hexdigest()


@pytest.fixture
async def session(world: World, recipe: ORMCache) -> AsyncIterator[AsyncSession]:
    async with world.db.read(user=world.ada.id) as unit:
        recipe.listen_on_session(unit.session.sync_session)
        yield unit.session


@pytest.fixture
def recipe(world: World, cache_prefix: str) -> ORMCache:
    region = make_region(key_mangler=lambda key: f"{cache_prefix}:recipe:{{{key}}}").configure(
        "tradekeep", expiration_time=60, arguments={"store": world.db.cache.store}
    )
    return ORMCache({"default": region})


async def test_sqlalchemys_recipe_runs_in_an_asyncio_session(
    world: World, session: AsyncSession, recipe: ORMCache
) -> None:
    query = select(Instrument).order_by(Instrument.symbol).options(FromCache("default"))
    first = (await session.scalars(query)).all()
    assert len(first) == 3
    with statements(world.db) as sql:
        async with world.db.read(user=world.bob.id) as unit:
            recipe.listen_on_session(unit.session.sync_session)
            again = (await unit.session.scalars(query)).all()
    assert [line for line in sql if "instruments" in line] == []
    assert [item.symbol for item in again] == [item.symbol for item in first]
    assert again[0] is not first[0]


async def test_a_relationship_is_loaded_from_the_recipes_cache(
    world: World, session: AsyncSession
) -> None:
    query = select(Position).options(
        selectinload(Position.instrument), RelationshipCache(Position.instrument, "default")
    )
    (position,) = (await session.scalars(query)).all()
    assert position.instrument.symbol == "AAPL"
    session.expunge_all()
    with statements(world.db) as sql:
        (again,) = (await session.scalars(query)).all()
    assert again.instrument.symbol == "AAPL"
    assert len([line for line in sql if "trading.positions" in line]) == 1
    assert [line for line in sql if "FROM market.instruments" in line] == []


async def test_a_region_reads_what_the_engine_wrote_until_it_is_stale(world: World) -> None:
    answer = world.answers(world.ada)["instrument"]
    kept = await answer.keep()
    key = answer.read.key(world.db.cache.keyspace, answer.given)
    short = key.removeprefix(f"{world.db.cache.keyspace.prefix}:cold:")
    region = world.db.cache.regions[Tier.COLD]

    async def seen() -> Any:
        async with world.db.read(system="test") as unit:
            return await unit.session.run_sync(lambda _: region.get(short))

    assert await seen() == msgspec.to_builtins(kept)
    async with world.db.transaction(staff="mia") as unit:
        await unit.instruments.patch(world.apple.id, name="Apple Inc.")
    assert await seen() is NO_VALUE


async def test_a_region_of_memory_serves_one_process(open_database: OpenDatabase) -> None:
    async with open_database(redis_url="memory://") as db:
        assert await counted(db) == [1, 1]


async def counted(db: Database) -> list[int]:
    made: list[int] = []

    def create() -> int:
        made.append(1)
        return len(made)

    region = db.cache.regions[Tier.HOT]
    async with db.read(system="test") as unit:
        session = unit.session
        return [
            await session.run_sync(lambda _: region.get_or_create("{n}", create)) for _ in range(2)
        ]
