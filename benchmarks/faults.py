"""What readers pay while the cache's server is frozen: `python -m benchmarks.faults`.

Fifty readers, each a read every few milliseconds, through three times: the server answers, the
server is frozen, and no cache at all. Prints the median and the 99th percentile of each.
"""

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from rich.console import Console
from rich.table import Table

from domain import Database, Portfolio, User
from domain.cache.embedded import EmbeddedValkey
from domain.db import migrations
from domain.settings import Settings
from domain.testing import embedded_for_tests, new_database

_READERS = 50
_SECONDS = 5.0
_BUDGET = 0.05


async def run(url: str, server: EmbeddedValkey) -> dict[str, list[float]]:
    """Return the seconds that reads took, by what the server was doing."""
    await migrations.upgrade(url)
    settings = Settings(redis_url=server.url, cache_budget=_BUDGET)
    found: dict[str, list[float]] = {}
    async with Database(url, settings=settings) as db, Database(url) as bare:
        async with db.transaction(system="bench") as unit:
            user = unit.users.add(User(username="bench"))
            await unit.flush()
            portfolio = unit.portfolios.add(Portfolio(user_id=user.id, name="Main"))
        found["no cache"] = await _read_for_a_while(bare, user.id, portfolio.id)
        found["the server answers"] = await _read_for_a_while(db, user.id, portfolio.id)
        os.kill(pid := server.pid, signal.SIGSTOP)
        try:
            found["the server is frozen"] = await _read_for_a_while(db, user.id, portfolio.id)
        finally:
            os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(3)
        found["the server is back"] = await _read_for_a_while(db, user.id, portfolio.id)
    return found


async def _read_for_a_while(db: Database, user: UUID, portfolio: UUID) -> list[float]:
    took: list[float] = []
    deadline = time.perf_counter() + _SECONDS

    async def reader() -> None:
        while (began := time.perf_counter()) < deadline:
            await db.cached(user=user).portfolio_overview(portfolio)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(random.expovariate(1 / 0.05))

    await asyncio.gather(*(reader() for _ in range(_READERS)))
    return sorted(took)


def show(found: dict[str, list[float]]) -> bool:
    """Print the table; return whether the 99th percentile kept to budget and database time."""
    table = Table(title="Milliseconds a read took")
    for name in ("while", "reads", "median", "99 %", "most"):
        table.add_column(name, justify="left" if name == "while" else "right")
    for name, took in found.items():
        figures = (_at(took, 0.5), _at(took, 0.99), took[-1])
        table.add_row(name, str(len(took)), *(f"{seconds * 1000:.1f}" for seconds in figures))
    Console().print(table)
    allowed = _BUDGET + _at(found["no cache"], 0.99)
    return _at(found["the server is frozen"], 0.99) <= allowed


def _at(took: list[float], fraction: float) -> float:
    return took[int((len(took) - 1) * fraction)]


def main() -> int:
    """Measure on servers of their own."""
    with (
        embedded_for_tests() as postgres,
        new_database(postgres.url("postgres")) as url,
        TemporaryDirectory() as folder,
        EmbeddedValkey(Path(folder) / "valkey") as server,
    ):
        return 0 if show(asyncio.run(run(url, server))) else 1


if __name__ == "__main__":
    sys.exit(main())
