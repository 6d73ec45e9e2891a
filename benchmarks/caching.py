"""Cached answers against a bare GET, cashews and aiocache, and what a write pays for them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import msgspec
from aiocache.backends.redis import RedisCache
from aiocache.serializers import PickleSerializer
from cashews import Cache as Cashews
from redis.asyncio import Redis
from sqlalchemy import update

from benchmarks.ground import Ground
from benchmarks.interleaving import Case
from domain import Database
from domain.cache import Audience, Rows, Tier, cached
from domain.cache.embedded import EmbeddedValkey
from domain.db.unit import ReadUnit
from domain.market.models import Instrument
from domain.research.models import Watchlist
from domain.settings import Settings
from domain.trading.models import Portfolio

_TASKS = 50
_POSITIONS = 50


class Line(msgspec.Struct, frozen=True):
    """A position, as an overview shows it."""

    instrument_id: UUID
    symbol: str
    quantity: Decimal
    cost_basis: Decimal
    average_price: Decimal
    realized_pnl: Decimal
    opened_at: datetime


class Overview(msgspec.Struct, frozen=True):
    """A portfolio with fifty positions: about 12 KB of JSON."""

    name: str
    positions: tuple[Line, ...]


class Price(msgspec.Struct, frozen=True):
    """A quote: about 95 bytes of JSON."""

    symbol: str
    price: Decimal
    time: datetime


@cached(tier=Tier.COLD, audience=Audience.EVERYBODY, stale_by=[Rows(Instrument)])
async def benchmark_price(unit: ReadUnit, symbol: str) -> Price:
    """Make a quote up."""
    del unit
    return Price(symbol, Decimal("187.30"), datetime(2026, 1, 2, tzinfo=UTC))


@cached(tier=Tier.COLD, stale_by=[Rows(Portfolio, portfolio_id="id")])
async def benchmark_overview(unit: ReadUnit, portfolio_id: UUID) -> Overview:
    """Make an overview up."""
    del unit
    exact = Decimal("12345.678901")
    opened = datetime(2026, 1, 2, 14, 30, tzinfo=UTC)
    line = Line(portfolio_id, "AAPL", Decimal(100), exact, exact, exact, opened)
    return Overview("Main", (line,) * _POSITIONS)


@cached(tier=Tier.WARM, stale_by=[Rows(Watchlist, watchlist_id="id")])
async def benchmark_watchlist(unit: ReadUnit, watchlist_id: UUID) -> str | None:
    """Read the name of a watchlist; nothing else depends on its table."""
    found = await unit[Watchlist].find(watchlist_id)
    return found and found.name


@dataclass
class Peers:
    """The caches, each on the same server, all with their defaults.

    Args:
        db: Ours, with a cache.
        near: The same by Unix socket.
        raw: The bare client.
        cashews: Another cache.
        aiocache: Another cache.
    """

    db: Database
    near: Database
    raw: Redis
    cashews: Cashews
    aiocache: Any

    async def fill(self, key: str, value: msgspec.Struct) -> None:
        """Store a value everywhere but in ours."""
        await self.raw.set(f"raw:{key}", msgspec.json.encode(value))
        await self.cashews.set(key, value, expire=3_600)
        await self.aiocache.set(f"aio:{key}", value)


@asynccontextmanager
async def peers(url: str) -> AsyncIterator[Peers]:
    """Open all caches on one server; by TCP, because aiocache knows no Unix socket."""
    port = _free_port()
    options = {"port": str(port), "bind": "127.0.0.1"}
    with TemporaryDirectory() as folder, EmbeddedValkey(Path(folder) / "v", options=options) as own:
        # Writes are compared on the socket that PostgreSQL is reached by, too.
        near = Settings(redis_url=own.url, cache_budget=5, pool_size=4, cache_prefix="bench")
        async with Database(url, settings=near) as writing, _opened(url, port) as found:
            yield replace(found, near=writing)


@asynccontextmanager
async def _opened(url: str, port: int) -> AsyncIterator[Peers]:
    redis_url = f"redis://127.0.0.1:{port}"
    settings = Settings(redis_url=redis_url, cache_budget=5, pool_size=4, cache_prefix="bench")
    other = Cashews()
    other.setup(redis_url)
    async with Database(url, settings=settings) as db:
        raw = Redis.from_url(redis_url)
        aio = RedisCache(port=port, serializer=PickleSerializer())
        yield Peers(db, db, raw, other, aio)
        await raw.aclose()
        await other.close()
        await aio.close()


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def cases(ground: Ground, rivals: Peers) -> list[Case]:
    """Return the cases; the caches are filled."""
    for number in range(_TASKS):
        symbol = f"S{number}"
        await rivals.fill(symbol, await rivals.db.cached().get(benchmark_price, symbol))
    reader = rivals.db.cached(user=ground.user.id)
    await rivals.fill("overview", await reader.get(benchmark_overview, ground.portfolio.id))
    return [
        _hits("cached answer of 95 bytes, one task", rivals, tasks=1, target=1.3),
        _hits("cached answers of 95 bytes, 50 tasks", rivals, tasks=_TASKS, target=0.25),
        _overviews(ground, rivals),
        await _writes(ground, rivals),
    ]


def _hits(name: str, rivals: Peers, *, tasks: int, target: float) -> Case:
    reader = rivals.db.cached()

    def together(ask: Callable[[str], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        if tasks == 1:
            return lambda: ask("S0")
        return lambda: asyncio.gather(*(ask(f"S{number}") for number in range(tasks)))

    return Case(
        name,
        base="redis-py GET",
        contestants={
            "redis-py GET": together(lambda symbol: rivals.raw.get(f"raw:{symbol}")),
            "tradekeep": together(lambda symbol: reader.get(benchmark_price, symbol)),
            "cashews": together(rivals.cashews.get),
            "aiocache": together(lambda symbol: rivals.aiocache.get(f"aio:{symbol}")),
        },
        rounds=21,
        repeats=max(5, 200 // tasks),
        target=target,
    )


def _overviews(ground: Ground, rivals: Peers) -> Case:
    reader = rivals.db.cached(user=ground.user.id)
    return Case(
        "cached portfolio with 50 positions, 12 KB, typed",
        base="redis-py GET",
        contestants={
            "redis-py GET": lambda: rivals.raw.get("raw:overview"),
            "tradekeep": lambda: reader.get(benchmark_overview, ground.portfolio.id),
            "cashews": lambda: rivals.cashews.get("overview"),
            "aiocache": lambda: rivals.aiocache.get("aio:overview"),
        },
        rounds=21,
        repeats=50,
        peer_target=("cashews", 0.6),
    )


async def _writes(ground: Ground, rivals: Peers) -> Case:
    numbers = count()
    async with ground.db.transaction(user=ground.user.id) as unit:
        row = unit.watchlists.add(Watchlist(user_id=ground.user.id, name="Main"))

    def renaming(db: Database) -> Callable[[], Awaitable[Any]]:
        async def rename() -> None:
            async with db.transaction(user=ground.user.id) as unit:
                renamed = update(Watchlist).where(Watchlist.id == row.id)
                await unit.session.execute(
                    renamed.values(name=f"Main {next(numbers)}"),
                    execution_options={"synchronize_session": False},
                )

        return rename

    return Case(
        "a commit that makes a cached answer stale",
        base="without a cache",
        contestants={
            "without a cache": renaming(ground.db),
            "tradekeep": renaming(rivals.near),
        },
        rounds=21,
        repeats=30,
        target=1.4,
    )
