"""Everything live works on three servers as on one, and survives the loss of one of them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from domain.cache.client import Use, build_client, parse_redis_url
from domain.cache.keys import Keyspace
from domain.errors import Unavailable
from domain.realtime import Consumer, Delivery, Gap, Message, Quote, open_live
from domain.realtime.boards import Boards, HashBoard, ListBoard, Upkeep
from domain.realtime.hub import Timing
from domain.realtime.streams import Patience
from tests.cache.servers import Cluster, started_cluster

WHEN = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)
HASTY = Timing(heartbeat=0.3, connect=2, first_pause=0.01, longest_pause=0.2)
SYMBOLS = [f"S{number}" for number in range(30)]


async def test_live_data_on_a_cluster_that_loses_a_server(tmp_path: Path) -> None:
    async with started_cluster(tmp_path) as cluster:
        await boards_and_streams(cluster)
        async with open_live(url=cluster.url, prefix="t", timing=HASTY) as live:
            channels = [live.keys.quotes(symbol) for symbol in SYMBOLS]
            async with await live.hub.subscribe(*channels) as subscription:
                quotes = [Quote(symbol, WHEN, last=Decimal(1)) for symbol in SYMBOLS]
                await live.publish_quotes(quotes)
                async with asyncio.timeout(20):
                    heard = [await anext(subscription) for _ in SYMBOLS]
                assert {item.channel for item in heard if isinstance(item, Message)} == {*channels}
                assert set(await live.quotes(SYMBOLS)) == {*SYMBOLS}

                await cluster.fail_over()
                last = Quote("S1", WHEN, last=Decimal(2))
                seen: set[str] = set()
                async with asyncio.timeout(60):
                    while "2" not in seen:
                        try:
                            for symbol in SYMBOLS:
                                await live.publish_quotes([Quote(symbol, WHEN, last=last.last)])
                        except Unavailable:
                            await asyncio.sleep(0.2)
                            continue
                        while subscription.waiting:
                            item = await anext(subscription)
                            if not isinstance(item, Gap):
                                seen |= {"2"} if b'"2"' in item.data else set()
                        await asyncio.sleep(0.05)


async def boards_and_streams(cluster: Cluster) -> None:
    keys = Keyspace("t")
    cache = build_client(parse_redis_url(cluster.url), Use.CACHE)
    boards = Boards(cache, upkeep=Upkeep(budget=5))

    async def trades() -> Sequence[bytes]:
        return [b"1"]

    async def positions() -> dict[str, bytes]:
        return {"AAPL": b"{}"}

    for number in range(10):
        board = ListBoard(keys, f"t:trades:recent:{{{number}}}", 60, most=5)
        for _ in range(2):
            assert await boards.read(board, trades) == [b"1"]
        await boards.push(board, b"2")
        assert await boards.read(board, trades) == [b"2", b"1"]
        assert await boards.read(HashBoard(keys, f"t:p:{{{number}}}", 60), positions)
    assert (boards.tally.made, boards.tally.direct) == (20, 0)
    await cache.aclose()
    await one_stream(cluster, keys)


async def one_stream(cluster: Cluster, keys: Keyspace) -> None:
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.payload["n"])
        if delivery.payload["n"] == 2 and delivery.deliveries < 3:
            raise ValueError("again")

    client = build_client(parse_redis_url(cluster.url), Use.BLOCKING)
    quick = Patience(block=0.05, idle=0.1, deliveries=2)
    consumer = Consumer(client, keys, "news", "g", "one", handle, quick)
    async with open_live(url=cluster.url, prefix="t") as live:
        for number in range(4):
            await live.broadcaster.broadcast("news", None, {"n": number}, str(number))
        running = asyncio.create_task(consumer.run())
        async with asyncio.timeout(20):
            while consumer.tally.dead < 1 or consumer.tally.handled < 3:
                await asyncio.sleep(0.02)
        consumer.stop()
        await running
    assert sorted(seen) == [0, 1, 2, 2, 3]
    await client.aclose()
