"""Opens what a process needs for live data: its hub, its publisher, the names of its channels."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from domain.cache.client import Address, Client, Use, build_client, parse_redis_url
from domain.cache.keys import Keyspace
from domain.realtime.hub import Hub, MemoryHub, RedisHub, Timing
from domain.realtime.publishing import MemoryPublisher, Publisher, RedisPublisher, Update
from domain.realtime.quotes import Quote, decode_quote, encode_quote
from domain.realtime.streams import Broadcaster, MemoryBroadcaster, RedisBroadcaster
from domain.settings import Settings

QUOTE_SECONDS: Final = 10
"""How long the newest quote of a symbol stays; nof0's ``price:latest:{symbol}``."""


@dataclass(frozen=True, slots=True)
class Live:
    """Live data in this process.

    Args:
        keys: The names of keys and channels.
        hub: Hands messages to subscribers.
        publisher: Tells everybody.
        broadcaster: Tells a tenant what happened.
        client: Ordinary commands; None without Redis.
    """

    keys: Keyspace
    hub: Hub
    publisher: Publisher
    broadcaster: Broadcaster
    # A client's repr shows its URL.
    client: "Client | None" = field(default=None, repr=False)

    async def publish_quotes(
        self, quotes: Sequence[Quote], *, seconds: int = QUOTE_SECONDS
    ) -> None:
        """Publish checked quotes, each to its symbol's channel, and keep them as the newest.

        Args:
            quotes: In their order.
            seconds: How long they stay the newest ones.

        Raises:
            Unavailable: Redis could not be told.
        """
        keys = self.keys
        await self.publisher.publish(
            [
                Update(
                    keys.quotes(quote.symbol),
                    encode_quote(quote),
                    keys.latest_price(quote.symbol),
                    seconds,
                )
                for quote in quotes
            ]
        )

    async def quotes(self, symbols: Iterable[str]) -> Mapping[str, Quote]:
        """Return the newest quotes that are there, by symbol."""
        wanted = {self.keys.latest_price(symbol): symbol for symbol in symbols}
        found = await self.publisher.snapshots(wanted)
        return {wanted[key]: decode_quote(data) for key, data in found.items()}


@asynccontextmanager
async def open_live(
    settings: Settings | None = None,
    *,
    url: str | None = None,
    address: Address | None = None,
    prefix: str | None = None,
    timing: Timing | None = None,
) -> AsyncIterator[Live]:
    """Open live data and close it without a task or connection left.

    Args:
        settings: Default: read from the environment.
        url: Of Redis or Valkey; default: the settings' ``REDIS_URL``, else ``memory://``: what is
            published stays in this process.
        address: The same, parsed already, say a database's `redis_address`.
        prefix: What all keys and channels begin with; default: the settings' ``cache_prefix``.
        timing: How the hub treats its connection.

    Raises:
        ConfigurationError: The URL is none.
    """
    chosen = settings or Settings.load()
    configured = chosen.redis_url.get_secret_value() if chosen.redis_url else "memory://"
    place = address or parse_redis_url(url or configured)
    keys = Keyspace(prefix or chosen.cache_prefix)
    if place.is_memory:
        async with MemoryHub(conflates=keys.is_quotes) as memory:
            publisher = MemoryPublisher(memory)
            yield Live(keys, memory, publisher, MemoryBroadcaster(publisher, keys))
        return
    listening = build_client(place, Use.BLOCKING)
    commands = build_client(place, Use.COMMANDS)
    try:
        async with RedisHub(listening, conflates=keys.is_quotes, timing=timing) as hub:
            broadcaster = RedisBroadcaster(commands, keys)
            yield Live(keys, hub, RedisPublisher(commands), broadcaster, commands)
    finally:
        await listening.aclose()
        await commands.aclose()
