"""Slows down guessing: moving windows of attempts, shared by all processes through Redis.

Without Redis, and while Redis does not answer, each process counts for itself: whoever takes Redis
away must not be able to lock everybody out, nor to guess without any limit.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from domain.cache.client import Address, Client, Use, build_client
from domain.cache.keys import Keyspace
from domain.clock import unix_now

T = TypeVar("T")

_log: Final = logging.getLogger("tradekeep.throttle")
_PATIENCE: Final = 0.5
"""Seconds that Redis gets to answer."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something may be tried.

    Args:
        name: What is tried.
        amount: How often.
        seconds: In which time.
    """

    name: str
    amount: int
    seconds: int

    @property
    def item(self) -> RateLimitItem:
        """The rate as the library knows it."""
        return RateLimitItemPerSecond(self.amount, self.seconds, namespace=self.name)


@dataclass(frozen=True, slots=True)
class Claim:
    """One count of one somebody.

    Args:
        rate: The rule.
        who: Whom it counts: an account, an address, everybody.
    """

    rate: Rate
    who: str

    @property
    def digest(self) -> str:
        """A short name of any text; the text itself does not reach Redis."""
        return hashlib.sha256(self.who.encode("utf-8", "replace")).hexdigest()[:32]

    @property
    def key(self) -> str:
        """The window's name."""
        return self.rate.item.key_for(self.digest)


class Throttle:
    """Counts attempts in moving windows.

    Args:
        address: Where Redis is; None or memory: this process counts alone.
        keys: What the windows' names begin with.
    """

    def __init__(self, address: Address | None = None, keys: Keyspace | None = None) -> None:
        self._memory = MemoryStorage()
        self._shared: _Shared | None = None
        if address is not None and not address.is_memory:
            client = build_client(address, Use.CACHE)
            self._shared = _Shared(client, (keys or Keyspace()).limits())

    async def aclose(self) -> None:
        """Close the connections and forget what was counted here."""
        if self._shared is not None:
            await self._shared.client.aclose()
        await self._memory.reset()
        if self._memory.timer is not None:
            self._memory.timer.cancel()

    async def attempt(self, *claims: Claim) -> int:
        """Count an attempt before it is known how it ends; return how long to wait, 0 to go on.

        Counted first, because a hundred guesses sent at once must not all find the window empty.
        """
        waits = [await self._attempt(claim) for claim in claims]
        return max(waits, default=0)

    async def forgive(self, claim: Claim) -> None:
        """Forget all attempts of this claim: it was the right one."""

        async def clear(storage: "RedisStorage | MemoryStorage") -> None:
            await storage.clear(claim.key)

        await self._do(clear)

    async def give_back(self, claim: Claim) -> None:
        """Take back the newest attempt only.

        Who owns one account must not clear the counter of an address by logging in.
        """

        async def give_back(storage: "RedisStorage | MemoryStorage") -> None:
            if isinstance(storage, RedisStorage):
                assert self._shared is not None  # noqa: S101 - it came from there
                await self._shared.give_back(claim.key)
            elif entries := storage.events.get(claim.key):
                entries.pop(0)

        await self._do(give_back)

    async def _attempt(self, claim: Claim) -> int:
        async def count(storage: "RedisStorage | MemoryStorage") -> int:
            limiter = MovingWindowRateLimiter(storage)
            if await limiter.hit(claim.rate.item, claim.digest):
                return 0
            stats = await limiter.get_window_stats(claim.rate.item, claim.digest)
            return max(1, int(stats.reset_time - unix_now()) + 1)

        return await self._do(count)

    async def _do(self, work: Callable[[Any], Awaitable[T]]) -> T:
        if self._shared is not None:
            try:
                async with asyncio.timeout(_PATIENCE):
                    return await work(self._shared.storage)
            except (RedisError, OSError) as error:
                _log.warning("attempts are counted by each process: %s", type(error).__name__)
        return await work(self._memory)


class _Storage(RedisStorage):
    """The library's storage on a client of ours: one server, Sentinel or cluster."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix=prefix)

    def configure_bridge(self) -> None:
        """Take the client instead of building one."""
        bridge: Any = self.bridge
        bridge.storage = self._client
        bridge.connection_getter = lambda _: self._client


class _Shared:
    """The windows in Redis."""

    def __init__(self, client: Client, prefix: str) -> None:
        self.client = client
        self.storage = _Storage(client, prefix)

    async def give_back(self, key: str) -> None:
        """Drop the newest entry of a window; the library keeps newest first."""
        commands: Any = self.client
        await commands.lpop(self.storage.bridge.prefixed_key(key))


__all__ = ["Claim", "Rate", "Throttle"]
