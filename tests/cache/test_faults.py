"""The server is frozen, refused, killed, flushed, full, failed over: readers and writers go on."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, text

from domain import Database
from domain.cache.breaker import BreakerState
from domain.cache.embedded import EmbeddedValkey
from domain.cache.models import PendingInvalidation
from domain.errors import Conflict, Unavailable
from domain.research.models import Watchlist
from domain.settings import Settings
from tests.cache.conftest import Desk, Loads, OpenDatabase, opened_desk
from tests.cache.freshness import Load, Seen, judge, run_processes
from tests.cache.servers import Cluster, started_cluster, started_sentinel
from tests.cache.test_freshness import at_rest_the_cache_is_the_database, load

__all__ = ["load"]

Fault = Callable[[EmbeddedValkey], Awaitable[None]]


async def frozen(server: EmbeddedValkey) -> None:
    os.kill(pid := server.pid, signal.SIGSTOP)
    await asyncio.sleep(1.5)
    os.kill(pid, signal.SIGCONT)


async def refused(server: EmbeddedValkey) -> None:
    server.stop()
    await asyncio.sleep(1)
    server.start()


async def killed(server: EmbeddedValkey) -> None:
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.sleep(1)
    server.start()


async def flushed(server: EmbeddedValkey) -> None:
    client = Redis.from_url(server.url)
    for _ in range(20):
        await client.flushall()
        await asyncio.sleep(0.05)
    await client.aclose()


async def full(server: EmbeddedValkey) -> None:
    client = Redis.from_url(server.url)
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", "1")
    await asyncio.sleep(1.5)
    await client.config_set("maxmemory", "0")
    await client.aclose()


async def told_to_load(server: EmbeddedValkey) -> None:
    """Connections are cut again and again, as a proxy does that restarts."""
    client = Redis.from_url(server.url)
    for _ in range(20):
        await client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.05)
    await client.aclose()


async def run_through(load: Load, fault: Awaitable[None]) -> list[Seen]:
    """Run two processes, and the fault in the middle."""

    async def befall() -> None:
        await asyncio.sleep(2)  # the processes need a moment to start
        await fault

    befalling = asyncio.create_task(befall())  # type: ignore[arg-type]
    runs = await run_processes([replace(load, seed=seed) for seed in (1, 2)])
    await befalling
    return runs


@pytest.mark.parametrize("fault", [frozen, refused, killed, flushed, full, told_to_load])
async def test_readers_see_no_error_writers_lose_nothing_and_nothing_stays_stale(
    load: Load, redis_server: EmbeddedValkey, fault: Fault
) -> None:
    settings = {**load.settings, "cache_budget": 0.05, "cache_intent_seconds": 10}
    tried = replace(load, redis_url=redis_server.url, seconds=5, deaths=0, settings=settings)
    runs = await run_through(tried, fault(redis_server))
    verdict = judge(runs)
    assert verdict.errors == []
    assert (verdict.lost, verdict.backwards > verdict.stale) == (0, False)
    assert verdict.writes > 50
    assert await every_write_is_in_the_database(tried, runs)
    await settled(tried)
    await at_rest_the_cache_is_the_database(tried)


async def test_a_cluster_that_fails_over_loses_nothing_and_nothing_stays_stale(
    load: Load, tmp_path: Path
) -> None:
    async with started_cluster(tmp_path) as cluster:
        settings = {**load.settings, "cache_outbox_always": True, "cache_budget": 0.25}
        settings["cache_intent_seconds"] = 10
        tried = replace(load, redis_url=cluster.url, seconds=9, deaths=0, settings=settings)
        runs = await run_through(tried, cluster.fail_over())
        verdict = judge(runs)
        assert (verdict.errors, verdict.lost) == ([], 0)
        assert await every_write_is_in_the_database(tried, runs)
        await settled(tried)
        await at_rest_the_cache_is_the_database(tried)


async def test_the_primary_that_sentinel_names_is_followed_when_it_changes(
    open_database: OpenDatabase, loads: Loads, tmp_path: Path
) -> None:
    async with (
        started_sentinel(tmp_path) as watched,
        opened_desk(open_database(redis_url=watched.url, cache_budget=0.5)) as desk,
    ):
        assert [await desk.name(), await desk.name()] == ["first", "first"]
        assert loads.count == 1
        await watched.fail_over()
        await desk.rename("second")
        for _ in range(200):
            loads.count = 0
            assert [await desk.name(), await desk.name()] == ["second", "second"]
            if loads.count == 0:
                break
            await asyncio.sleep(0.05)
        assert loads.count == 0  # answers are kept again, on the new primary


async def test_every_promise_holds_on_a_cluster(
    open_database: OpenDatabase, loads: Loads, tmp_path: Path
) -> None:
    async with (
        started_cluster(tmp_path) as cluster,
        opened_desk(open_database(redis_url=cluster.url)) as desk,
    ):
        await every_promise(desk, loads, cluster)


async def every_promise(desk: Desk, loads: Loads, cluster: Cluster) -> None:
    assert len(cluster.nodes) == 4
    assert set(await asyncio.gather(*(desk.name() for _ in range(100)))) == {"first"}
    assert loads.count == 1
    loads.meanwhile.append(lambda: desk.rename("third"))
    await desk.rename("second")
    assert await desk.name() == "second"
    assert await desk.name() == "third"
    async with desk.db.transaction(user=desk.user_id) as unit:
        await unit.session.execute(text("UPDATE research.watchlists SET name = 'fourth'"))
    await desk.db.cache.invalidation.aclose()
    assert (await desk.name(), await desk.names()) == ("fourth", ("fourth",))
    assert (await desk.db.cache.totals())["named_watchlist"]["misses"] >= 1
    assert len(await desk.db.cache.scan("warm:")) == 2


async def every_write_is_in_the_database(load: Load, runs: list[Seen]) -> bool:
    newest: dict[str, int] = {}
    for run in runs:
        for row, version, _, _ in run.writes:
            newest[row] = max(version, newest.get(row, 0))
    async with Database(load.url, settings=Settings()) as db:
        async with db.read(system="test") as unit:
            rows = await unit.session.execute(select(Watchlist.id, Watchlist.name))
            stored = {str(ident): int(name.partition(":")[2]) for ident, name in rows}
    return all(stored[row] >= version for row, version in newest.items())


async def settled(load: Load) -> None:
    """Wait until what was put off is replayed and the intents of the cut off have run out."""
    settings = Settings(redis_url=load.redis_url, cache_prefix=load.prefix)
    async with Database(load.url, settings=settings) as db:
        for _ in range(100):
            await asyncio.sleep(0.1)
            async with db.read(system="test") as unit:
                waiting = (await unit.session.scalars(select(PendingInvalidation.id))).all()
            if not waiting:
                return
    raise TimeoutError(f"{len(waiting)} invalidations were not replayed")


async def test_a_frozen_server_is_asked_by_few_and_the_others_go_past_it(
    open_database: OpenDatabase, loads: Loads, redis_server: EmbeddedValkey
) -> None:
    opened = open_database(redis_url=redis_server.url, cache_budget=0.05)
    async with opened_desk(opened) as desk:
        assert await desk.name() == "first"
        os.kill(pid := redis_server.pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                assert await desk.name() == "first"
            assert desk.db.cache.breaker is BreakerState.OPEN
            loads.count = 0
            for _ in range(20):
                assert await desk.name() == "first"
            assert loads.count == 20
            await desk.rename("second")
            assert await desk.name() == "second"
        finally:
            os.kill(pid, signal.SIGCONT)
        # What it missed reaches it before it is trusted again: the old name is never seen.
        loads.count = 0
        while loads.count < 300:
            before = loads.count
            assert await desk.name() == "second"
            if loads.count == before:
                break
            await asyncio.sleep(0.02)
        assert desk.db.cache.breaker is BreakerState.CLOSED


async def test_a_write_that_the_server_did_not_hear_of_is_put_off_and_replayed(
    open_database: OpenDatabase, redis_server: EmbeddedValkey, loads: Loads
) -> None:
    async with (
        opened_desk(open_database(redis_url=redis_server.url, cache_budget=0.05)) as desk,
        open_database(redis_url=redis_server.url) as elsewhere,
    ):
        other = Desk(elsewhere, desk.user_id, desk.watchlist_id)
        assert await other.name() == "first"
        # This process alone is cut off; the other one reads on.
        for _ in range(3):
            desk.db.cache._store.breaker.failed()
        await desk.rename("second")
        for _ in range(200):
            if await other.name() == "second":
                break
            await asyncio.sleep(0.05)
        assert await other.name() == "second"
        await settled_in(desk.db)


async def settled_in(db: Database) -> None:
    for _ in range(200):
        async with db.read(system="test") as unit:
            if not (await unit.session.scalars(select(PendingInvalidation.id))).all():
                return
        await asyncio.sleep(0.05)
    raise TimeoutError


async def test_who_looks_into_a_cache_that_is_away_is_told_so(
    open_database: OpenDatabase, redis_server: EmbeddedValkey
) -> None:
    async with open_database(redis_url=redis_server.url) as db:
        os.kill(redis_server.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="does not answer"):
            await db.cache.totals()
        with pytest.raises(Unavailable, match="does not answer"):
            await db.cache.scan()


async def test_strictly_a_write_fails_when_the_server_cannot_be_told(
    open_database: OpenDatabase, redis_server: EmbeddedValkey, loads: Loads
) -> None:
    opened = open_database(redis_url=redis_server.url, cache_strict=True)
    async with opened_desk(opened) as desk:
        os.kill(redis_server.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="cache"):
            await desk.rename("second")
        assert await desk.name() == "first"
        redis_server.start()


async def test_a_writer_killed_after_its_commit_leaves_nothing_stale(
    open_database: OpenDatabase,
    migrated_database: str,
    redis_url: str,
    cache_prefix: str,
    loads: Loads,
) -> None:
    program = (
        "import asyncio, os, signal, sys\n"
        "from uuid import UUID\n"
        "from domain import Database\n"
        "from domain.cache.invalidation import Invalidation\n"
        "from tests.cache import conftest\n"
        "from domain.settings import Settings\n"
        "url, redis, prefix, user, row = sys.argv[1:]\n"
        "Invalidation.end_soon = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "async def main():\n"
        "    kept = {'redis_url': redis, 'cache_prefix': prefix, 'cache_intent_seconds': 2}\n"
        # A process that has just begun on a busy machine needs longer than the usual budget.
        "    settings = Settings(**kept, cache_budget=0.8)\n"
        "    async with Database(url, settings=settings) as db:\n"
        "        async with db.transaction(user=UUID(user)) as unit:\n"
        "            await unit.watchlists.patch(UUID(row), name='second')\n"
        "asyncio.run(main())\n"
    )
    async with opened_desk(open_database()) as desk:
        assert await desk.name() == "first"
        arguments = [
            migrated_database,
            redis_url,
            cache_prefix,
            str(desk.user_id),
            str(desk.watchlist_id),
        ]
        # A COMMIT that a busy machine lets come too late is refused: then it is tried again.
        while await stored_name(desk) == "first":
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, *arguments
            )
            assert await process.wait() == -signal.SIGKILL
        assert [await desk.name(), await desk.name()] == ["second", "second"]
        await asyncio.sleep(2.2)
        loads.count = 0
        assert [await desk.name(), await desk.name()] == ["second", "second"]
        assert loads.count == 1  # its intent ran out, and answers are kept again


async def stored_name(desk: Desk) -> str:
    async with desk.db.read(user=desk.user_id) as unit:
        return (await unit.watchlists.get(desk.watchlist_id)).name


async def test_a_commit_that_comes_after_its_intent_ran_out_is_refused(
    open_database: OpenDatabase, loads: Loads
) -> None:
    """A process that stood still between telling the server and COMMIT, say in a full swap."""
    async with opened_desk(open_database(cache_intent_seconds=1)) as desk:
        begin = desk.db.cache.invalidation.begin

        async def and_stand_still(*arguments: object) -> bool:
            told = await begin(*arguments)  # type: ignore[arg-type]
            await asyncio.sleep(0.7)
            return told

        desk.db.cache.invalidation.begin = and_stand_still  # type: ignore[method-assign]
        with pytest.raises(Conflict):
            await desk.rename("second")
        desk.db.cache.invalidation.begin = begin  # type: ignore[method-assign]
        await desk.db.cache.invalidation.aclose()
        loads.count = 0
        assert [await desk.name(), await desk.name()] == ["first", "first"]
        assert loads.count == 1  # it surely did not happen, so nobody waits for it
        await desk.rename("third")
        assert await desk.name() == "third"


async def test_a_long_transaction_commits_in_time(
    open_database: OpenDatabase, loads: Loads
) -> None:
    async with opened_desk(open_database(cache_intent_seconds=1)) as desk:
        async with desk.db.transaction(user=desk.user_id) as unit:
            await unit.watchlists.patch(desk.watchlist_id, name="second")
            await asyncio.sleep(1.5)
        assert await desk.name() == "second"


async def test_a_commit_whose_outcome_nobody_knows_keeps_its_intent(
    open_database: OpenDatabase, loads: Loads
) -> None:
    async with opened_desk(open_database()) as desk:
        assert await desk.name() == "first"
        with pytest.raises(Unavailable):
            async with desk.db.transaction(user=desk.user_id) as unit:
                await unit.watchlists.patch(desk.watchlist_id, name="second")
                connection = await unit.session.connection()
                raw = (await connection.get_raw_connection()).driver_connection
                assert raw is not None
                raw.__class__ = type("Cut", (raw.__class__,), {"_commit": _lost_commit})
        await desk.db.cache.invalidation.aclose()
        loads.count = 0
        first = [await desk.name() for _ in range(3)]
        assert loads.count == 3  # whatever happened, nothing is kept until the intent runs out
        assert len(set(first)) == 1


async def _lost_commit(self: object, query: str, timeout: object) -> str:
    """Send the COMMIT, and lose the connection before the answer."""
    self.is_in_doubt = True  # type: ignore[attr-defined]
    self.terminate()  # type: ignore[attr-defined]
    raise ConnectionResetError("the connection broke")
