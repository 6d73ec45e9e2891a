"""What the cache's tests share: a watchlist that is cached, and databases with a cache."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain import Database
from domain.cache import Rows, Tier, cached
from domain.db.unit import ReadUnit
from domain.research.models import Watchlist
from domain.settings import Settings
from tests.cache.worlds import World, make_world
from tests.factories.identity import make_user


class Named(msgspec.Struct, frozen=True):
    name: str


@dataclass
class Loads:
    """What loaders of `named_watchlist` did, and what happens in the middle of the next one."""

    count: int = 0
    meanwhile: list[Callable[[], Any]] = field(default_factory=list)


LOADS = Loads()


@cached(tier=Tier.WARM, stale_by=[Rows(Watchlist, watchlist_id="id")])
async def named_watchlist(unit: ReadUnit, watchlist_id: UUID) -> Named | None:
    """A watchlist's name; in the middle of loading, whatever a test wants happens."""
    LOADS.count += 1
    row = await unit[Watchlist].find(watchlist_id)
    if LOADS.meanwhile:
        await LOADS.meanwhile.pop(0)()
    return row and Named(row.name)


@cached(tier=Tier.WARM, stale_by=[Rows(Watchlist)])
async def watchlist_names(unit: ReadUnit) -> tuple[str, ...]:
    """All names of a user: any written row of the user makes it stale."""
    found = await unit[Watchlist].all()
    return tuple(sorted(row.name for row in found))


@pytest.fixture
def loads() -> Loads:
    LOADS.count = 0
    LOADS.meanwhile.clear()
    return LOADS


OpenDatabase = Callable[..., AbstractAsyncContextManager[Database]]


@pytest.fixture
def open_database(migrated_database: str, redis_url: str, cache_prefix: str) -> OpenDatabase:
    """Open the test's database with a cache; keywords are settings."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Database]:
        defaults = {"redis_url": redis_url, "cache_prefix": cache_prefix, "cache_budget": 2}
        async with Database(migrated_database, settings=Settings(**(defaults | settings))) as db:
            yield db

    return opened


@pytest.fixture(params=["redis", "memory"])
async def store(request: pytest.FixtureRequest, redis_url: str) -> str:
    """The URL of a server, or of this process's memory: both keep the same promises."""
    return redis_url if request.param == "redis" else "memory://"


@dataclass
class Desk:
    """A user with a watchlist, in a database with a cache."""

    db: Database
    user_id: UUID
    watchlist_id: UUID

    async def name(self) -> str | None:
        found = await self.db.cached(user=self.user_id).get(named_watchlist, self.watchlist_id)
        return found and found.name

    async def names(self) -> tuple[str, ...]:
        return await self.db.cached(user=self.user_id).get(watchlist_names)

    async def rename(self, name: str) -> None:
        async with self.db.transaction(user=self.user_id) as unit:
            await unit.watchlists.patch(self.watchlist_id, name=name)


@asynccontextmanager
async def opened_desk(database: AbstractAsyncContextManager[Database]) -> AsyncIterator[Desk]:
    async with database as db:
        async with db.transaction(system="test") as unit:
            user = await make_user(unit)
            row = unit.watchlists.add(Watchlist(user_id=user.id, name="first"))
            await unit.flush()
        await db.cache.invalidation.aclose()  # what was just written may be kept again
        yield Desk(db, user.id, row.id)


@pytest.fixture
async def desk(open_database: OpenDatabase, loads: Loads) -> AsyncIterator[Desk]:
    async with opened_desk(open_database()) as found:
        yield found


@pytest.fixture
async def either_desk(open_database: OpenDatabase, loads: Loads, store: str) -> AsyncIterator[Desk]:
    """A desk on a server and one on memory."""
    async with opened_desk(open_database(redis_url=store)) as found:
        yield found


@pytest.fixture
async def world(open_database: OpenDatabase) -> AsyncIterator[World]:
    async with open_database() as db:
        yield await make_world(db)
