"""Messages reach who listens, over one connection, and nobody misses anything unknowingly."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.cache.client import Use, build_client, parse_redis_url
from domain.cache.embedded import EmbeddedValkey
from domain.realtime import Gap, Live, Message, Subscription, open_live
from domain.realtime.hub import RedisHub, Timing
from domain.realtime.publishing import Update

HASTY = Timing(heartbeat=0.15, connect=0.5, confirm=2, first_pause=0.01, longest_pause=0.1)


@pytest.fixture(params=["redis", "memory"])
async def live(
    request: pytest.FixtureRequest, redis_url: str, cache_prefix: str
) -> AsyncIterator[Live]:
    url = redis_url if request.param == "redis" else "memory://"
    async with open_live(url=url, prefix=cache_prefix, timing=HASTY) as opened:
        yield opened


async def following(subscription: Subscription) -> Message | Gap:
    async with asyncio.timeout(10):
        return await anext(subscription)


async def message(subscription: Subscription) -> Message:
    while True:
        found = await following(subscription)
        if isinstance(found, Message):
            return found


async def gap(subscription: Subscription) -> Gap:
    while True:
        found = await following(subscription)
        if isinstance(found, Gap):
            return found


async def settled(live: Live) -> None:
    """Wait until the connection is back."""
    async with asyncio.timeout(15):
        while not live.hub.statistics().is_connected:
            await asyncio.sleep(0.01)


async def say(live: Live, channel: str, *texts: str) -> None:
    await live.publisher.publish([Update(channel, text.encode()) for text in texts])


def events(live: Live, name: str = "news") -> str:
    return live.keys.events(name)


async def test_what_is_published_reaches_every_subscriber_in_order(live: Live) -> None:
    here, there = events(live), events(live, "other")
    async with await live.hub.subscribe(here) as one, await live.hub.subscribe(here, there) as both:
        await say(live, here, "1", "2")
        await say(live, there, "3")
        assert [await following(one) for _ in range(2)] == [
            Message(here, b"1"),
            Message(here, b"2"),
        ]
        assert [(await message(both)).data for _ in range(3)] == [b"1", b"2", b"3"]
        assert one.waiting == 0


async def test_channels_are_added_and_left_while_listening(live: Live) -> None:
    first, second = events(live, "first"), events(live, "second")
    async with await live.hub.subscribe(first) as subscription:
        await say(live, first, "dropped when left")
        await asyncio.sleep(0.05)
        await subscription.add(second)
        await subscription.remove(first)
        await say(live, first, "nobody")
        await say(live, second, "somebody")
        assert await message(subscription) == Message(second, b"somebody")
    assert (live.hub.statistics().channels, live.hub.statistics().subscribers) == (0, 0)


async def test_a_channel_that_is_left_and_joined_at_once_is_live(live: Live) -> None:
    channel = events(live)
    for _ in range(20):
        async with await live.hub.subscribe(channel):
            pass
    async with await live.hub.subscribe(channel) as subscription:
        await say(live, channel, "heard")
        assert await following(subscription) == Message(channel, b"heard")


async def test_of_quotes_only_the_newest_waits_for_who_is_slow(live: Live) -> None:
    apple, pear = live.keys.quotes("AAPL"), live.keys.quotes("PEAR")
    async with (
        await live.hub.subscribe(apple, pear) as slow,
        await live.hub.subscribe(events(live)) as done,
    ):
        await say(live, apple, *(str(number) for number in range(500)))
        await say(live, pear, "7")
        await say(live, events(live), "done")
        await message(done)
        assert [await following(slow), await following(slow)] == [
            Message(apple, b"499"),
            Message(pear, b"7"),
        ]
        assert (slow.dropped, slow.conflated) == (0, 499)
    assert live.hub.statistics().conflated == 499


async def test_an_overflow_drops_the_oldest_and_says_so(live: Live) -> None:
    channel = events(live)
    async with (
        await live.hub.subscribe(channel, limit=10) as slow,
        await live.hub.subscribe(channel, events(live, "end")) as quick,
    ):
        await say(live, channel, *(str(number) for number in range(25)))
        await say(live, events(live, "end"), "end")
        for _ in range(26):
            await message(quick)
        assert await following(slow) == Gap(frozenset({channel}), dropped=15)
        assert [(await message(slow)).data for _ in range(10)] == [
            str(number).encode() for number in range(15, 25)
        ]
        assert (slow.dropped, quick.dropped) == (15, 0)
    assert live.hub.statistics().dropped == 15


async def test_what_is_read_after_subscribing_leaves_no_hole(live: Live) -> None:
    """A counter goes up all the time: snapshot and messages together hold every value."""
    channel, key = events(live), live.keys.latest_price("N")
    stop = asyncio.Event()

    async def count() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            data = str(number).encode()
            await live.publisher.publish([Update(channel, data, key, 60)])
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(count())
        for _ in range(20):
            async with await live.hub.subscribe(channel) as subscription:
                found = await live.publisher.snapshots([key])
                seen = int(found.get(key, b"0"))
                later = [int((await message(subscription)).data) for _ in range(5)]
                assert later[0] <= seen + 1, "a value fell between"
                assert later == list(range(later[0], later[0] + 5))
        stop.set()


async def test_a_closed_hub_ends_iterations_and_leaves_no_task_or_connection(
    redis_url: str, cache_prefix: str
) -> None:
    before = asyncio.all_tasks()
    async with open_live(url=redis_url, prefix=cache_prefix) as live:
        subscription = await live.hub.subscribe(events(live))
        waiting = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0.01)
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert asyncio.all_tasks() == before
    late = await live.hub.subscribe(events(live))
    with pytest.raises(StopAsyncIteration):
        await anext(late)


async def test_a_hundred_subscribers_are_one_connection(redis_server: EmbeddedValkey) -> None:
    async with open_live(url=redis_server.url, prefix="t") as live:
        subscriptions = [
            await live.hub.subscribe(live.keys.quotes(f"S{number % 10}")) for number in range(100)
        ]
        assert live.client is not None
        listed: Any = await live.client.client_list(_type="pubsub")
        assert [client["sub"] for client in listed] == ["10"]
        await say(live, live.keys.quotes("S3"), "3")
        heard = [await message(subscriptions[number]) for number in range(3, 100, 10)]
        assert {item.data for item in heard} == {b"3"}


async def test_a_killed_connection_becomes_a_gap_and_messages_flow_again(
    redis_server: EmbeddedValkey,
) -> None:
    async with open_live(url=redis_server.url, prefix="t", timing=HASTY) as live:
        channel = events(live)
        async with await live.hub.subscribe(channel, live.keys.quotes("A")) as subscription:
            assert live.client is not None
            await live.client.client_kill_filter(_type="pubsub")
            seen = await gap(subscription)
            channels = set(seen.channels)
            while len(channels) < 2:
                channels |= (await gap(subscription)).channels
            assert channels == {channel, live.keys.quotes("A")}
            assert seen.dropped == 0
            await say(live, channel, "again")
            assert (await message(subscription)).data == b"again"
            assert live.hub.statistics().reconnections == 1


async def test_a_killed_and_restarted_server_becomes_a_gap(redis_server: EmbeddedValkey) -> None:
    async with open_live(url=redis_server.url, prefix="t", timing=HASTY) as live:
        channel = events(live)
        async with await live.hub.subscribe(channel) as subscription:
            os.kill(redis_server.pid, signal.SIGKILL)
            await asyncio.sleep(0.1)
            # Asked for while there is no server: it comes with the reconnection.
            joined = asyncio.create_task(live.hub.subscribe(channel, events(live, "late")))
            redis_server.start()
            assert channel in (await gap(subscription)).channels
            async with await joined as late:
                await settled(live)
                await say(live, events(live, "late"), "hello")
                assert (await message(late)).data == b"hello"


async def test_a_frozen_server_is_given_up_and_found_again(redis_server: EmbeddedValkey) -> None:
    async with open_live(url=redis_server.url, prefix="t", timing=HASTY) as live:
        channel = events(live)
        async with await live.hub.subscribe(channel) as subscription:
            os.kill(pid := redis_server.pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(15):
                    while live.hub.statistics().is_connected:
                        await asyncio.sleep(0.01)
            finally:
                os.kill(pid, signal.SIGCONT)
            assert (await gap(subscription)).channels == {channel}
            await say(live, channel, "thawed")
            assert (await message(subscription)).data == b"thawed"


async def test_closing_while_the_server_is_frozen_or_gone_leaves_no_task(
    redis_server: EmbeddedValkey,
) -> None:
    before = asyncio.all_tasks()
    async with open_live(url=redis_server.url, prefix="t", timing=HASTY) as live:
        await live.hub.subscribe(events(live))
        os.kill(pid := redis_server.pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)
    assert asyncio.all_tasks() == before
    async with open_live(
        url="redis://127.0.0.1:1/0", prefix="t", timing=Timing(confirm=0.1)
    ) as live:
        await live.hub.subscribe(events(live))
    assert asyncio.all_tasks() == before


async def test_subscribing_many_channels_and_cancelling_some_disturbs_nobody(
    redis_url: str, cache_prefix: str
) -> None:
    client = build_client(parse_redis_url(redis_url), Use.BLOCKING)
    async with open_live(url=redis_url, prefix=cache_prefix) as live, RedisHub(client) as hub:
        names = [live.keys.events(f"topic-{number}") for number in range(1_200)]
        async with await hub.subscribe(*names) as everything:
            hasty = [asyncio.create_task(hub.subscribe(*names[:50], "x")) for _ in range(50)]
            await asyncio.sleep(0)
            for task in hasty:
                task.cancel()
            await asyncio.gather(*hasty, return_exceptions=True)
            await say(live, names[0], "first")
            await say(live, names[-1], "last")
            assert [(await message(everything)).data for _ in range(2)] == [b"first", b"last"]
            statistics = hub.statistics()
            assert (statistics.channels, statistics.subscribers) == (1_200, 1)
            assert statistics.reconnections == 0
    await client.aclose()
