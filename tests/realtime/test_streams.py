"""Streams deliver at least once, whoever dies, and what cannot be handled does not stop the rest."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from domain.cache.client import Use, build_client, parse_redis_url
from domain.cache.embedded import EmbeddedValkey
from domain.cache.keys import Keyspace
from domain.clock import new_id
from domain.errors import InvalidData, Unavailable
from domain.realtime import Consumer, Delivery, Live, Message, open_live
from domain.realtime.streams import Patience, RedisBroadcaster

QUICK = Patience(block=0.05, idle=0.1, deliveries=3, longest_pause=0.1)
ADA = UUID("01890000-0000-7000-8000-00000000000a")


@asynccontextmanager
async def consuming(
    url: str, prefix: str, handle: Callable[[Delivery], Awaitable[None]], **changes: Any
) -> AsyncIterator[Consumer]:
    """Run a consumer of ``news`` until the block ends, then stop it in peace."""
    client = build_client(parse_redis_url(url), Use.BLOCKING)
    values: dict[str, Any] = {"group": "g", "name": "one", "patience": QUICK} | changes
    consumer = Consumer(client, Keyspace(prefix), "news", handle=handle, **values)
    running = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        consumer.stop()
        async with asyncio.timeout(10):
            await running
        await client.aclose()


@pytest.fixture
async def live(redis_url: str, cache_prefix: str) -> AsyncIterator[Live]:
    async with open_live(url=redis_url, prefix=cache_prefix) as opened:
        yield opened


async def tell(live: Live, *numbers: int, user_id: UUID | None = None) -> None:
    for number in numbers:
        await live.broadcaster.broadcast("news", user_id, {"number": number}, f"id-{number}")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def dead_letters(live: Live) -> list[dict[str, str]]:
    assert live.client is not None
    found: Any = await live.client.xrange(live.keys.dead_letters("news"))
    return [{key.decode(): value.decode() for key, value in fields.items()} for _, fields in found]


async def test_what_was_told_before_and_after_the_start_is_handled_in_order(live: Live, redis_url: str) -> None:  # fmt: skip
    await tell(live, 1, 2)
    seen: list[Any] = []

    async def handle(delivery: Delivery) -> None:
        seen.append((delivery.event_id, delivery.user_id, delivery.payload, delivery.deliveries))

    async with consuming(redis_url, live.keys.prefix, handle) as consumer:
        await tell(live, 3, user_id=ADA)
        await until(lambda: consumer.tally.handled == 3)
        assert seen == [
            ("id-1", None, {"number": 1}, 1),
            ("id-2", None, {"number": 2}, 1),
            ("id-3", ADA, {"number": 3}, 1),
        ]
        lag = await consumer.lag()
        assert (lag.waiting, lag.pending, lag.dead) == (0, 0, 0)
    assert live.client is not None
    groups: Any = await live.client.xinfo_groups(live.keys.stream("news"))
    assert groups[0]["consumers"] == 0, "who left in peace is off the list"


async def test_what_fails_is_tried_again_and_ends_among_the_dead_with_its_error(
    live: Live, redis_url: str
) -> None:
    attempts: Counter[int] = Counter()

    async def handle(delivery: Delivery) -> None:
        number = delivery.payload["number"]
        attempts[number] += 1
        if number == 2 or (number == 3 and delivery.deliveries < 3):
            raise ValueError(f"cannot stomach {number}")

    async with consuming(redis_url, live.keys.prefix, handle) as consumer:
        await tell(live, 1, 2, 3, 4)
        await until(lambda: consumer.tally.handled == 3 and consumer.tally.dead == 1)
        assert attempts == {1: 1, 2: 3, 3: 3, 4: 1}
        assert (await consumer.lag()).pending == 0
        assert (await consumer.lag()).dead == 1
    (letter,) = await dead_letters(live)
    assert json.loads(letter["payload"]) == {"number": 2}
    assert (letter["event_id"], letter["deliveries"], letter["group"]) == ("id-2", "3", "g")
    assert letter["error"] == "ValueError: cannot stomach 2"


async def test_what_a_dead_consumer_held_is_claimed_by_another(live: Live, redis_url: str) -> None:
    client = build_client(parse_redis_url(redis_url), Use.BLOCKING)
    stream = live.keys.stream("news")
    await tell(live, *range(30))
    await client.xgroup_create(stream, "g", id="0")
    await client.xreadgroup("g", "victim", {stream: ">"}, count=30)
    await client.aclose()
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        assert delivery.deliveries == 2
        seen.append(delivery.payload["number"])

    async with consuming(redis_url, live.keys.prefix, handle, name="heir") as consumer:
        await until(lambda: len(seen) == 30)
        await until(lambda: consumer.tally.handled == 30)
        assert seen == list(range(30))
        assert consumer.tally.claimed == 30


async def test_an_entry_that_kills_its_consumers_ends_among_the_dead(
    live: Live, redis_url: str
) -> None:
    client = build_client(parse_redis_url(redis_url), Use.BLOCKING)
    stream = live.keys.stream("news")
    await tell(live, 1, 2)
    await client.xgroup_create(stream, "g", id="0")
    await client.xreadgroup("g", "first", {stream: ">"}, count=1)
    for victim in ("second", "third"):
        await client.xautoclaim(stream, "g", victim, 0, "0-0", count=1)
    await client.aclose()
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.payload["number"])

    async with consuming(redis_url, live.keys.prefix, handle) as consumer:
        await until(lambda: consumer.tally.dead == 1 and seen == [2])
    (letter,) = await dead_letters(live)
    assert letter["error"] == "not answered in 3 deliveries"


async def test_consumers_share_the_work_and_a_stop_loses_nothing(
    live: Live, redis_url: str
) -> None:
    seen: Counter[int] = Counter()

    async def handle(delivery: Delivery) -> None:
        await asyncio.sleep(0.001)
        seen[delivery.payload["number"]] += 1

    await tell(live, *range(200))
    small = Patience(block=0.05, idle=0.1, deliveries=9, batch=20)
    prefix = live.keys.prefix
    async with consuming(redis_url, prefix, handle, name="stays", patience=small):
        async with consuming(redis_url, prefix, handle, name="leaves", patience=small):
            await until(lambda: len(seen) > 30)
        await until(lambda: len(seen) == 200)


async def test_a_server_that_is_killed_and_forgets_everything_is_served_again(
    redis_server: EmbeddedValkey,
) -> None:
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.payload["number"])

    async with open_live(url=redis_server.url, prefix="t") as live:
        async with consuming(redis_server.url, "t", handle) as consumer:
            await tell(live, 1)
            await until(lambda: seen == [1])
            os.kill(redis_server.pid, signal.SIGKILL)
            with pytest.raises(Unavailable, match="Redis did not do it"):
                await tell(live, 2)
            redis_server.start()
            await tell(live, 3)
            await until(lambda: seen == [1, 3])
            assert live.client is not None
            await live.client.flushall()
            await tell(live, 4)
            await until(lambda: seen == [1, 3, 4])
            assert (await consumer.lag()).pending == 0


async def test_a_frozen_server_does_not_hold_a_consumer_for_ever(
    redis_server: EmbeddedValkey,
) -> None:
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.payload["number"])

    async with open_live(url=redis_server.url, prefix="t") as live:
        async with consuming(redis_server.url, "t", handle):
            await tell(live, 1)
            await until(lambda: seen == [1])
            os.kill(pid := redis_server.pid, signal.SIGSTOP)
            await asyncio.sleep(0.3)
            os.kill(pid, signal.SIGCONT)
            await tell(live, 2)
            await until(lambda: 2 in seen)


async def test_a_stream_is_trimmed_to_about_its_length(live: Live) -> None:
    assert live.client is not None
    broadcaster = RedisBroadcaster(live.client, live.keys, most_kept=100)
    for number in range(500):
        await broadcaster.broadcast("news", None, {"number": number}, str(number))
    assert 100 <= await live.client.xlen(live.keys.stream("news")) < 350


@pytest.mark.parametrize("url", ["redis", "memory://"])
async def test_a_broadcast_reaches_its_tenant_and_staff_and_no_other_tenant(
    url: str, redis_url: str, cache_prefix: str
) -> None:
    eve, event_id = new_id(), new_id()
    url = redis_url if url == "redis" else url
    async with open_live(url=url, prefix=cache_prefix) as live:
        keys, topic = live.keys, "alert_triggered"
        async with (
            await live.hub.subscribe(keys.events(topic, ADA)) as ada,
            await live.hub.subscribe(keys.events(topic, eve)) as other,
            await live.hub.subscribe(keys.staff_events(topic)) as staff,
        ):
            payload = {"type": topic, "price": Decimal("187.30"), "alertId": new_id()}
            await live.broadcaster.broadcast(topic, ADA, payload, event_id)
            await live.broadcaster.broadcast(topic, eve, b'{"type":"x"}', "second")
            message = await anext(ada)
            assert isinstance(message, Message)
            event = json.loads(message.data)
            assert (event["event_id"], event["topic"]) == (str(event_id), topic)
            assert event["data"]["price"] == "187.30"
            assert event["user_id"] == str(ADA)
            assert event["at"].endswith("Z")
            theirs = await anext(other)
            assert isinstance(theirs, Message)
            assert json.loads(theirs.data)["data"] == {"type": "x"}
            for _ in range(2):
                assert isinstance(await anext(staff), Message)
            assert ada.waiting == other.waiting == 0


@pytest.mark.parametrize("payload", [b"[1]", b"{", b"\xff", {"x": object()}])
async def test_a_payload_that_is_no_object_is_refused(live: Live, payload: Any) -> None:
    with pytest.raises(InvalidData, match="payload must be a JSON object"):
        await live.broadcaster.broadcast("news", None, payload, "1")
    assert live.client is not None
    assert await live.client.exists(live.keys.stream("news")) == 0


@pytest.mark.parametrize("block", [0, -1, 5.1])
def test_a_blocking_time_that_the_driver_would_not_survive_is_refused(block: float) -> None:
    with pytest.raises(InvalidData, match="block must be above 0, at most 5 seconds"):
        Patience(block=block)


WORKER = """
import asyncio, sys
from domain.cache.client import Use, build_client, parse_redis_url
from domain.cache.keys import Keyspace
from domain.realtime import Consumer
from domain.realtime.streams import Patience

async def main(url, prefix, name):
    client = build_client(parse_redis_url(url), Use.BLOCKING)
    effects = build_client(parse_redis_url(url), Use.COMMANDS)

    async def handle(delivery):
        await asyncio.sleep(0.001)
        await effects.sadd(f"{prefix}:done", delivery.event_id)

    patience = Patience(block=0.2, idle=0.5, deliveries=100, batch=50)
    await Consumer(client, Keyspace(prefix), "news", "g", name, handle, patience).run()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("count", "kills"), [(300, 1), pytest.param(5_000, 8, marks=pytest.mark.torture)]
)
async def test_nothing_is_lost_though_workers_are_killed(
    live: Live, redis_url: str, count: int, kills: int
) -> None:
    def start(number: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", WORKER, redis_url, live.keys.prefix, f"worker-{number}"]
        return subprocess.Popen(words)

    done = f"{live.keys.prefix}:done"
    assert live.client is not None
    workers = [start(number) for number in range(2)]
    try:
        telling = asyncio.create_task(tell(live, *range(count)))
        for number in range(2, 2 + kills):
            before = await live.client.scard(done)
            async with asyncio.timeout(30):
                while await live.client.scard(done) < min(before + 100, count):
                    await asyncio.sleep(0.01)
            victim = workers.pop(0)
            victim.kill()
            victim.wait()
            workers.append(start(number))
        await telling
        async with asyncio.timeout(60):
            while await live.client.scard(done) < count:
                await asyncio.sleep(0.05)
            while (await live.client.xpending(live.keys.stream("news"), "g"))["pending"]:
                await asyncio.sleep(0.05)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert await live.client.scard(done) == count
    assert await dead_letters(live) == []
