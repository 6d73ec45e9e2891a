"""How answers are read: together, once, in time, and given up without leaving anything behind."""

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from domain.cache.client import Use, build_client, parse_redis_url
from domain.cache.codec import Codec
from domain.cache.engine import Engine, Policy, Question
from domain.cache.guarded import GuardedStore
from domain.cache.memory import MemoryStore
from domain.cache.statistics import Outcome, Statistics
from domain.cache.store import Ended, RedisStore, Store, Touched
from domain.errors import InvalidData, NotFound, Unavailable

Load = Callable[[], Awaitable[Any]]


class Bench:
    """An engine over a store, with loaders that count."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.store, self.prefix = store, prefix
        self.statistics = Statistics()
        self.engine = Engine(GuardedStore(store, 2.0), self.statistics)
        self.loads = 0
        self.policy = Policy(ttl=60)

    async def load(self) -> int:
        self.loads += 1
        await asyncio.sleep(0.02)
        return self.loads

    def question(self, load: Load | None = None, name: str = "n", **policy: Any) -> Question[Any]:
        return Question(
            name=name,
            key=f"{self.prefix}:{{{name}}}",
            tags=(f"{self.prefix}:tag:{{{name}}}",),
            codec=Codec(int | None),
            policy=Policy(**({"ttl": 60} | policy)),
            load=load or self.load,
        )

    async def get(self, load: Load | None = None, name: str = "n", **policy: Any) -> Any:
        return await self.engine.get(self.question(load, name, **policy))

    def count(self, outcome: Outcome) -> int:
        return self.statistics.total(outcome)


@pytest.fixture(params=["redis", "memory"])
async def bench(request: pytest.FixtureRequest, redis_url: str, cache_prefix: str) -> Any:
    if request.param == "redis":
        store: Store = RedisStore(build_client(parse_redis_url(redis_url), Use.CACHE))
    else:
        store = MemoryStore()
    bench = Bench(store, cache_prefix)
    yield bench
    await bench.engine.aclose()
    await store.aclose()


async def test_a_thousand_cold_callers_load_once(bench: Bench) -> None:
    answers = await asyncio.gather(*(bench.get() for _ in range(1_000)))
    assert set(answers) == {1}
    assert bench.loads == 1


async def test_a_thousand_cold_callers_in_two_processes_load_once(
    redis_url: str, cache_prefix: str
) -> None:
    program = (
        "import asyncio, sys, time\n"
        "from tests.cache.test_engine import Bench\n"
        "from domain.cache.client import Use, build_client, parse_redis_url\n"
        "from domain.cache.store import RedisStore\n"
        "async def main(url, prefix, at):\n"
        "    store = RedisStore(build_client(parse_redis_url(url), Use.CACHE))\n"
        "    bench = Bench(store, prefix)\n"
        "    await asyncio.sleep(max(0, at - time.monotonic()))\n"
        "    answers = await asyncio.gather(*(bench.get() for _ in range(500)))\n"
        "    await bench.engine.aclose(); await store.aclose()\n"
        "    print(bench.loads, len(set(answers)))\n"
        "asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))\n"
    )
    at = asyncio.get_running_loop().time() + 2.5  # both are up by then
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, redis_url, cache_prefix, str(at),
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    loads = [tuple(map(int, out.split())) for out, _ in outputs]
    assert sum(count for count, _ in loads) == 1
    assert [answers for _, answers in loads] == [1, 1]


async def test_fifty_readers_of_one_tick_cost_one_command(
    redis_url: str, cache_prefix: str
) -> None:
    client = build_client(parse_redis_url(redis_url), Use.CACHE)
    bench = Bench(RedisStore(client), cache_prefix)
    asked: list[int] = []
    read = bench.store.read

    async def counted(keys: Any) -> Any:
        asked.append(len(keys))
        return await read(keys)

    bench.store.read = counted  # type: ignore[method-assign]
    await asyncio.gather(*(bench.get(name=f"n{n}") for n in range(50)))
    asked.clear()
    await asyncio.gather(*(bench.get(name=f"n{n}") for n in range(50)))
    assert asked == [100]  # fifty answers, fifty tags
    await bench.engine.aclose()
    await bench.store.aclose()


async def test_readers_that_give_up_leave_no_task_no_lease_and_no_connection(bench: Bench) -> None:
    """The cancel hammer: callers are cancelled at random moments, some of them twice."""
    before = asyncio.all_tasks()

    async def hammered(number: int) -> None:
        task = asyncio.create_task(bench.get(name=f"n{number % 7}", ttl=0.001, spare=0.001))
        await asyncio.sleep(random.uniform(0, 0.03))
        task.cancel()
        if number % 3 == 0:
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(hammered(number) for number in range(600)))
    await bench.engine.aclose()
    assert asyncio.all_tasks() - before == set()
    for number in range(7):
        # A lease that was left behind would keep this one from loading.
        async with asyncio.timeout(5):
            assert await bench.get(name=f"n{number}") > 0
    if isinstance(bench.store, RedisStore):
        await bench.engine.aclose()
        await bench.store._exchange.aclose()  # type: ignore[union-attr]  # one server here
        pool = bench.store.client.connection_pool  # type: ignore[union-attr]  # one server here
        assert len(pool._in_use_connections) == 0


async def test_an_error_of_the_loader_reaches_all_who_wait_and_the_next_one_loads_anew(
    bench: Bench,
) -> None:
    async def failing() -> int:
        await asyncio.sleep(0.01)
        raise NotFound("no such thing")

    failed = await asyncio.gather(*(bench.get(failing) for _ in range(20)), return_exceptions=True)
    assert {type(error) for error in failed} == {NotFound}
    assert await bench.get() == 1


async def test_an_answer_past_its_time_is_loaded_anew(bench: Bench) -> None:
    assert await bench.get(ttl=0.01) == 1
    await asyncio.sleep(0.02)
    assert await bench.get(ttl=0.01) == 2


async def test_an_answer_near_its_end_is_served_and_refreshed_behind_the_readers_back(
    bench: Bench,
) -> None:
    assert await bench.get(ttl=5, eager=0.0) == 1
    assert await bench.get(ttl=5, eager=0.0) == 1
    await bench.engine.aclose()
    assert bench.loads == 2
    assert await bench.get(ttl=5) == 2
    assert bench.count(Outcome.EAGER) == 1


async def test_when_loading_fails_the_answer_past_its_time_is_served(bench: Bench) -> None:
    async def failing() -> int:
        raise Unavailable("the database is away")

    assert await bench.get(ttl=0.01) == 1
    await asyncio.sleep(0.02)
    assert await bench.get(failing, ttl=0.01) == 1
    assert bench.count(Outcome.STALE) == 1
    assert await bench.get(ttl=0.01) == 2


async def test_when_loading_takes_long_the_answer_past_its_time_is_served_meanwhile(
    bench: Bench,
) -> None:
    may_end = asyncio.Event()

    async def slow() -> int:
        await may_end.wait()
        return 42

    assert await bench.get(ttl=0.01) == 1
    await asyncio.sleep(0.02)
    assert await bench.get(slow, ttl=0.01, patience=0.05) == 1
    may_end.set()
    await bench.engine.aclose()
    assert await bench.get(ttl=60) == 42


async def test_an_answer_that_a_writer_took_out_is_never_served_when_loading_fails(
    bench: Bench,
) -> None:
    """What is spared for bad times is as fresh as anything else."""

    async def failing() -> int:
        raise Unavailable("the database is away")

    question = bench.question(ttl=0.01)
    await bench.engine.get(question)
    await bench.store.begin("w", Touched(frozenset(), frozenset(question.tags)), 5)
    with pytest.raises(Unavailable):
        await bench.get(failing, ttl=0.01)
    await bench.store.end([Ended("w", Touched(frozenset(), frozenset(question.tags)))])
    with pytest.raises(Unavailable):
        await bench.get(failing, ttl=0.01)


@pytest.mark.parametrize("what", ["keys", "tags"])
async def test_while_a_writer_is_at_it_readers_load_and_store_nothing(
    bench: Bench, what: str
) -> None:
    question = bench.question()
    names = frozenset({question.key} if what == "keys" else question.tags)
    touched = Touched(**({"keys": frozenset(), "tags": frozenset()} | {what: names}))
    await bench.get()
    await bench.store.begin("one", touched, 5)
    await bench.store.begin("two", touched, 5)
    assert [await bench.get(), await bench.get()] == [2, 3]
    await bench.store.end([Ended("one", touched)])
    assert await bench.get() == 4  # the other one is still at it
    await bench.store.end([Ended("two", touched)])
    assert [await bench.get(), await bench.get()] == [5, 5]
    assert bench.count(Outcome.BYPASS) == 3


async def test_a_writer_that_died_is_forgotten_after_its_time(bench: Bench) -> None:
    question = bench.question()
    await bench.get()
    await bench.store.begin(
        "dead", Touched(frozenset({question.key}), frozenset(question.tags)), 0.05
    )
    assert await bench.get() == 2
    await asyncio.sleep(0.1)
    assert [await bench.get(), await bench.get()] == [3, 3]


async def test_a_fill_is_refused_when_a_writer_came_between(bench: Bench) -> None:
    question = bench.question()
    touched = Touched(frozenset({question.key}), frozenset())

    async def overtaken() -> int:
        await bench.store.begin("w", touched, 5)
        await bench.store.end([Ended("w", touched)])
        return 0

    assert await bench.get(overtaken) == 0
    assert bench.count(Outcome.REJECTED) == 1
    assert await bench.get() == 1


async def test_who_joins_a_load_after_a_commit_does_not_get_what_was_read_before_it(
    bench: Bench,
) -> None:
    reading, may_end = asyncio.Event(), asyncio.Event()
    state = {"value": 1}

    async def load() -> int:
        value = state["value"]
        reading.set()
        await may_end.wait()
        return value

    touched = Touched(frozenset({bench.question().key}), frozenset())
    early = asyncio.create_task(bench.get(load))
    await reading.wait()
    await bench.store.begin("w", touched, 5)
    state["value"] = 2
    await bench.store.end([Ended("w", touched)])
    late = asyncio.create_task(bench.get(load))
    await asyncio.sleep(0.01)
    may_end.set()
    assert [await early, await late] == [1, 2]


async def test_a_tag_that_was_lost_and_came_back_does_not_bring_old_answers_back(
    bench: Bench,
) -> None:
    """A counter would count up to the same number again."""
    question = bench.question()
    touched = Touched(frozenset(), frozenset(question.tags))
    assert await bench.get() == 1
    kept = (await bench.store.read([question.key]))[0]
    for _ in range(3):
        await bench.store.begin("w", touched, 5)
        await bench.store.end([Ended("w", touched)])
        if isinstance(bench.store, RedisStore):
            await bench.store.client.delete(*question.tags)
        else:
            bench.store._kept.pop(question.tags[0])  # type: ignore[attr-defined]
        assert (await bench.store.read([question.key]))[0] == kept
        assert await bench.engine.peek(question) is None


async def test_nothing_is_an_answer_too_and_lives_shorter(bench: Bench) -> None:
    async def nothing() -> None:
        bench.loads += 1

    assert [await bench.get(nothing, nothing_ttl=0.02) for _ in range(2)] == [None, None]
    assert bench.loads == 1
    await asyncio.sleep(0.03)
    assert await bench.get(nothing, nothing_ttl=0.02) is None
    assert bench.loads == 2


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"null",
        b"{}",
        b"[1,2",
        b"\xff\xfe",
        b'{"ct":1e18,"v":2,"fp":"other","tags":{},"data":1}',
        b'{"ct":"x","v":2,"fp":"","tags":{},"data":1}',
        b'{"ct":1,"v":99,"fp":"","tags":{},"data":1}',
    ],
)
async def test_what_cannot_be_read_is_loaded_anew_and_overwritten(
    bench: Bench, written: bytes
) -> None:
    question = bench.question()
    if isinstance(bench.store, RedisStore):
        await bench.store.client.set(question.key, written, ex=60)
    else:
        bench.store._set(question.key, written, 60)  # type: ignore[attr-defined]
    assert [await bench.get(), await bench.get()] == [1, 1]


async def test_an_answer_of_another_type_is_a_miss_after_a_deployment(bench: Bench) -> None:
    question = bench.question()
    await bench.engine.get(question)
    newer = Question(
        question.name, question.key, question.tags, Codec(str), question.policy, bench.load
    )
    assert await bench.engine.peek(newer) is None


async def test_a_key_of_another_redis_type_is_bypassed(redis_url: str, cache_prefix: str) -> None:
    store = RedisStore(build_client(parse_redis_url(redis_url), Use.CACHE))
    bench = Bench(store, cache_prefix)
    await store.client.hset(bench.question().key, "a", "b")  # type: ignore[misc]
    assert [await bench.get() for _ in range(5)] == [1, 2, 3, 4, 5]
    assert await bench.get(name="other") == await bench.get(name="other")
    await bench.engine.aclose()
    await store.aclose()


def test_a_declared_answer_says_what_was_asked_wrongly() -> None:
    from tests.cache.conftest import named_watchlist

    with pytest.raises(InvalidData, match=r"named_watchlist .* watchlist_id"):
        named_watchlist.bind(None, (), {})
    with pytest.raises(InvalidData, match="for a user"):
        named_watchlist.bind(None, ("x",), {})


def test_the_engine_and_json_readers_see_the_same_thing() -> None:
    codec: Codec[Any] = Codec(int)
    plain = json.loads(codec.encode(7, {"t": "s"}))
    assert (plain["data"], plain["v"], plain["tags"]) == (7, 2, {"t": "s"})
    assert isinstance(plain["ct"], float) and len(plain["fp"]) == 12
