"""The freshness checker: a load on eight rows from several processes, and what was seen of it.

Every row counts up with each write. A read is stale when it returns less than a version whose write
had returned before the read began; a client goes back in time when it sees less than it saw. One
process is one run of this module, ``python -m tests.cache.freshness``, with its own pools; times
are of the machine's monotonic clock, which all processes share.
"""

import asyncio
import json
import random
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import text, update

from domain import Database
from domain.cache import Rows, Tier, cached
from domain.cache.client import Use, build_client, parse_redis_url
from domain.cache.statistics import Outcome
from domain.db.unit import ReadUnit
from domain.research.models import Watchlist
from domain.settings import Settings

NEXT = "split_part(name, ':', 1) || ':' || (split_part(name, ':', 2)::int + 1)"


def version_in(name: str) -> int:
    """Return the version in a name such as ``r3:17``."""
    return int(name.partition(":")[2])


class Counted(msgspec.Struct, frozen=True):
    version: int


@cached(tier=Tier.WARM, stale_by=[Rows(Watchlist, watchlist_id="id")])
async def counted_watchlist(unit: ReadUnit, watchlist_id: UUID) -> Counted | None:
    row = await unit[Watchlist].find(watchlist_id)
    if random.random() < 0.05:
        await asyncio.sleep(random.uniform(0.02, 0.07))
    return row and Counted(version_in(row.name))


@dataclass(frozen=True)
class Load:
    """What one process does."""

    url: str
    redis_url: str
    prefix: str
    strategy: str
    user: str
    rows: list[str]
    seconds: float
    readers: int
    writers: int
    deaths: float
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)


class Strategy(Protocol):
    async def read(self, row: UUID) -> int: ...
    async def write(self, row: UUID) -> int: ...


class Ours:
    def __init__(self, db: Database, load: Load) -> None:
        self.db, self.user, self.deaths = db, UUID(load.user), load.deaths
        end = db.cache.invalidation.end_soon
        # A writer that dies between COMMIT and invalidation: the store never hears its end.
        db.cache.invalidation.end_soon = partial(self.maybe_end, end)  # type: ignore[method-assign]

    def maybe_end(self, end: Any, *args: Any, **kwargs: Any) -> None:
        if random.random() >= self.deaths:
            asyncio.get_running_loop().call_later(
                random.uniform(0, 0.003), partial(end, *args, **kwargs)
            )

    async def read(self, row: UUID) -> int:
        found = await self.db.cached(user=self.user).get(counted_watchlist, row)
        assert found is not None
        return found.version

    async def write(self, row: UUID) -> int:
        ways = [self.by_flush, self.by_update, self.by_text]
        (way,) = random.choices(ways, weights=[5, 5, 1])
        async with self.db.transaction(user=self.user) as unit:
            return await way(unit, row)

    async def by_flush(self, unit: Any, row: UUID) -> int:
        entity = await unit.watchlists.lock(row)
        await unit.session.refresh(entity)
        entity.name = f"{entity.name.partition(':')[0]}:{version_in(entity.name) + 1}"
        async with unit.session.begin_nested():
            await unit.flush()
        return version_in(entity.name)

    async def by_update(self, unit: Any, row: UUID) -> int:
        counted = (
            update(Watchlist)
            .where(Watchlist.id == row)
            .values(name=text(NEXT))
            .returning(Watchlist.name)
            .execution_options(synchronize_session=False)
        )
        return version_in((await unit.session.execute(counted)).scalar_one())

    async def by_text(self, unit: Any, row: UUID) -> int:
        counted = text(
            f"UPDATE research.watchlists SET name = {NEXT} WHERE id = :id RETURNING name"
        )
        return version_in((await unit.session.execute(counted, {"id": row})).scalar_one())


class Naive(Ours):
    """What the seeds and most libraries do: load and SET on a miss, DEL after COMMIT."""

    def __init__(self, db: Database, load: Load) -> None:
        self.db, self.user, self.deaths = db, UUID(load.user), load.deaths
        self.prefix = load.prefix
        self.client = build_client(parse_redis_url(load.redis_url), Use.COMMANDS)

    async def read(self, row: UUID) -> int:
        key = f"{self.prefix}:naive:{row}"
        if found := await self.client.get(key):
            return int(found)
        async with self.db.read(user=self.user) as unit:
            loaded = await counted_watchlist.load(unit, row)
        assert loaded is not None
        await self.client.set(key, loaded.version, ex=60)
        return loaded.version

    async def write(self, row: UUID) -> int:
        version = await super().write(row)
        await asyncio.sleep(random.uniform(0, 0.003))
        if random.random() >= self.deaths:
            await self.client.delete(f"{self.prefix}:naive:{row}")
        return version


@dataclass
class Seen:
    """What one process saw: (row, version, began, ended), reads with their client."""

    writes: list[tuple[str, int, float, float]] = field(default_factory=list)
    reads: list[tuple[str, int, float, float, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    hits: int = 0


async def run(load: Load) -> Seen:
    random.seed(load.seed)
    settings = Settings(redis_url=load.redis_url, cache_prefix=load.prefix, **load.settings)
    seen = Seen()
    async with Database(load.url, settings=settings) as db:
        strategy = (Ours if load.strategy == "ours" else Naive)(db, load)
        deadline = time.monotonic() + load.seconds
        clients = [
            read_on(strategy, load, seen, deadline, number) for number in range(load.readers)
        ]
        clients += [write_on(strategy, load, seen, deadline) for _ in range(load.writers)]
        await asyncio.gather(*clients)
        seen.hits = db.cache.statistics.total(Outcome.HIT)
        if isinstance(strategy, Naive):
            await strategy.client.aclose()
    return seen


async def read_on(strategy: Strategy, load: Load, seen: Seen, deadline: float, client: int) -> None:
    while (began := time.monotonic()) < deadline:
        row = random.choice(load.rows)
        try:
            version = await strategy.read(UUID(row))
        except Exception as error:  # noqa: BLE001 - any error that reaches a reader is a finding
            seen.errors.append(repr(error))
            continue
        seen.reads.append((row, version, began, time.monotonic(), client))
        await asyncio.sleep(random.expovariate(1 / 0.002))


async def write_on(strategy: Strategy, load: Load, seen: Seen, deadline: float) -> None:
    while (began := time.monotonic()) < deadline:
        row = random.choice(load.rows)
        version = await strategy.write(UUID(row))
        seen.writes.append((row, version, began, time.monotonic()))
        await asyncio.sleep(random.expovariate(1 / 0.05))


@dataclass
class Verdict:
    """What was wrong."""

    reads: int
    writes: int
    stale: int
    worst_seconds: float
    backwards: int
    lost: int
    errors: list[str]


def judge(runs: Sequence[Seen]) -> Verdict:
    """Compare what the processes saw; O(n log n) because versions count up."""
    committed = defaultdict(list)
    for run_ in runs:
        for row, version, _, ended in run_.writes:
            committed[row].append((ended, version))
    highest = {row: newest(sorted(found)) for row, found in committed.items()}
    stale, worst = 0, 0.0
    for run_ in runs:
        for row, version, began, _, _ in run_.reads:
            due, since = known_before(highest.get(row, []), began)
            if version < due:
                stale, worst = stale + 1, max(worst, began - since)
    return Verdict(
        reads=sum(len(run_.reads) for run_ in runs),
        writes=sum(len(run_.writes) for run_ in runs),
        stale=stale,
        worst_seconds=worst,
        backwards=sum(backwards(run_) for run_ in runs),
        lost=sum(
            len(found) - len({version for _, version in found}) for found in committed.values()
        ),
        errors=[error for run_ in runs for error in run_.errors],
    )


def newest(committed: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return (time, newest version committed by then)."""
    steps: list[tuple[float, int]] = []
    for ended, version in committed:
        steps.append((ended, max(version, steps[-1][1] if steps else 0)))
    return steps


def known_before(steps: Sequence[tuple[float, int]], began: float) -> tuple[int, float]:
    index = bisect_left(steps, (began, 0)) - 1
    return (steps[index][1], steps[index][0]) if index >= 0 else (0, 0.0)


def backwards(seen: Seen) -> int:
    last: dict[tuple[str, int], int] = {}
    count = 0
    for row, version, _, _, client in seen.reads:
        count += version < last.get((row, client), 0)
        last[row, client] = version
    return count


async def run_processes(loads: Sequence[Load]) -> list[Seen]:
    """Run every load in a process of its own."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.cache.freshness",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 28,
        )
        for _ in loads
    ]  # fmt: skip
    outputs = await asyncio.gather(
        *(
            process.communicate(json.dumps(asdict(load)).encode())
            for process, load in zip(processes, loads, strict=True)
        )
    )
    return [Seen(**json.loads(output)) for output, _ in outputs]


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(run(Load(**json.load(sys.stdin))))), sys.stdout)
