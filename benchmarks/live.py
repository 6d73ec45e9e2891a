"""Messages to many subscribers: one hub for all against a connection for each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.interleaving import Case
from domain.cache.client import Use, build_client, parse_redis_url
from domain.cache.embedded import EmbeddedValkey
from domain.realtime import Live, Message, Update, open_live

_SUBSCRIBERS = 100
_MESSAGES = 200
_DATA = b'{"symbol":"AAPL","time":"2026-03-02T15:30:00Z","last":"187.31"}'


@asynccontextmanager
async def cases() -> AsyncIterator[Sequence[Case]]:
    """Give the cases, on a server of their own."""
    with TemporaryDirectory() as folder:
        async with EmbeddedValkey(Path(folder) / "valkey") as server, AsyncExitStack() as stack:
            live = await stack.enter_async_context(open_live(url=server.url, prefix="bench"))
            contestants = {
                "a connection each": await _connections(stack, server.url, live),
                "tradekeep": await _hub(stack, live),
            }
            name = f"{_SUBSCRIBERS} subscribers hear {_MESSAGES} messages"
            yield [Case(name, "a connection each", contestants, rounds=9, target=0.5)]


async def _connections(stack: AsyncExitStack, url: str, live: Live) -> Any:
    channel = live.keys.events("each")
    listeners = []
    # The pool of a client of ours has fifty connections: each listener has its own.
    for _ in range(_SUBSCRIBERS):
        own = build_client(parse_redis_url(url), Use.BLOCKING)
        stack.push_async_callback(own.aclose)
        pubsub: Any = own.pubsub(ignore_subscribe_messages=True)
        stack.push_async_callback(pubsub.aclose)
        await pubsub.subscribe(channel)
        await pubsub.get_message(timeout=1)
        listeners.append(pubsub)

    async def listen(pubsub: Any) -> None:
        left = _MESSAGES
        while left:
            left -= await pubsub.get_message(timeout=None) is not None

    async def turn() -> None:
        await asyncio.gather(_publish(live, channel), *(listen(item) for item in listeners))

    return turn


async def _hub(stack: AsyncExitStack, live: Live) -> Any:
    channel = live.keys.events("hub")
    listeners = [
        await stack.enter_async_context(await live.hub.subscribe(channel))
        for _ in range(_SUBSCRIBERS)
    ]

    async def listen(subscription: Any) -> None:
        left = _MESSAGES
        while left:
            left -= isinstance(await anext(subscription), Message)

    async def turn() -> None:
        await asyncio.gather(_publish(live, channel), *(listen(item) for item in listeners))

    return turn


async def _publish(live: Live, channel: str) -> None:
    for _ in range(_MESSAGES // 10):
        await live.publisher.publish([Update(channel, _DATA)] * 10)
