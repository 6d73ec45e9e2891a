"""A cache over a database without tables: it waits, and closes without an error."""

from domain import Database
from domain.ops.health import readiness
from domain.settings import Settings


async def test_a_database_that_is_not_prepared_yet_stops_no_upkeep(
    empty_database: str, redis_url: str, cache_prefix: str
) -> None:
    settings = Settings.load(redis_url=redis_url, cache_prefix=cache_prefix, cache_budget=2)
    async with Database(empty_database, settings=settings) as db:
        await db.cache._replay_quietly()
        found = await readiness(db)
        assert (found.migrations, found.cache, found.cache_pending) == ("pending", "ok", None)
