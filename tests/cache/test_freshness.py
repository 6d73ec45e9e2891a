"""No read is older than a commit that had finished before it began; nothing goes back in time."""

from dataclasses import replace
from uuid import UUID

import pytest

from domain import Database
from domain.research.models import Watchlist
from domain.settings import Settings
from tests.cache.freshness import Load, Ours, judge, run_processes, version_in
from tests.factories.identity import make_user

SECONDS = [4, pytest.param(60, marks=pytest.mark.torture)]


@pytest.fixture
async def load(db: Database, migrated_database: str, redis_url: str, cache_prefix: str) -> Load:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        rows = [unit.watchlists.add(Watchlist(user_id=user.id, name=f"r{n}:1")) for n in range(8)]
    return Load(
        url=migrated_database,
        redis_url=redis_url,
        prefix=cache_prefix,
        strategy="ours",
        user=str(user.id),
        rows=[str(row.id) for row in rows],
        seconds=4,
        readers=10,
        writers=3,
        deaths=0.02,
        seed=1,
        settings={"cache_intent_seconds": 1, "cache_budget": 1, "pool_size": 15},
    )


@pytest.mark.parametrize("seconds", SECONDS)
async def test_no_read_is_older_than_a_commit_though_writers_die_before_they_invalidate(
    load: Load, seconds: float
) -> None:
    loads = [replace(load, seconds=seconds, seed=seed) for seed in (1, 2)]
    runs = await run_processes(loads)
    verdict = judge(runs)
    assert verdict.errors == []
    assert (verdict.stale, verdict.backwards, verdict.lost) == (0, 0, 0)
    assert verdict.writes > 10 * seconds
    assert sum(run.hits for run in runs) > 10 * seconds  # it was a cache that was judged
    await at_rest_the_cache_is_the_database(load)


async def at_rest_the_cache_is_the_database(load: Load) -> None:
    settings = Settings(redis_url=load.redis_url, cache_prefix=load.prefix, **load.settings)
    async with Database(load.url, settings=settings) as db:
        ours = Ours(db, load)
        for row in map(UUID, load.rows):
            async with db.read(user=UUID(load.user)) as unit:
                stored = (await unit.watchlists.get(row)).name
            assert await ours.read(row) == version_in(stored)
            assert await ours.read(row) == version_in(stored)


async def test_the_checker_finds_the_stale_reads_of_a_cache_that_deletes_after_commit(
    load: Load,
) -> None:
    loads = [replace(load, strategy="naive", seed=seed) for seed in (1, 2)]
    verdict = judge(await run_processes(loads))
    assert verdict.errors == []
    assert verdict.stale > 0
