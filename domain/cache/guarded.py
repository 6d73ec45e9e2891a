"""A store behind a budget and a circuit breaker: it answers in time or is known not to."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from sqlalchemy.exc import SQLAlchemyError

from domain.cache.breaker import Breaker, BreakerState
from domain.cache.store import Ended, Fetched, Lease, Store, Touched, new_stamp
from domain.errors import TradekeepError, Unavailable

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)
_AWAY: Final = (ReadOnlyError, ClusterDownError, MasterDownError)
"""Refusals of a server that is losing its place: as good as no answer."""
_REMOVAL_SECONDS: Final = 5.0
_SCAN_SECONDS: Final = 60.0


class GuardedStore:
    """Asks a store within a budget; raises `Unavailable` at once while it does not answer.

    Args:
        store: The store.
        budget: Seconds that one question may take.
        recover: Called, and waited for, before a store that did not answer is trusted again: what
            it missed meanwhile must reach it first.
    """

    def __init__(
        self, store: Store, budget: float, recover: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._store, self._budget = store, budget
        self._recover = recover
        self.breaker = Breaker()
        self._probing: asyncio.Task[None] | None = None

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See `Store.read`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        return await self._ask(lambda: self._store.read(keys))

    async def fetch(self, key: str, tags: Sequence[str], lease: Lease) -> Fetched:
        """See `Store.fetch`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        return await self._ask(lambda: self._store.fetch(key, tags, lease))

    async def fill(self, key: str, token: str, value: bytes, seconds: float) -> bool:
        """See `Store.fill`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        return await self._ask(lambda: self._store.fill(key, token, value, seconds))

    async def release(self, key: str, token: str) -> None:
        """See `Store.release`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        await self._ask(lambda: self._store.release(key, token))

    async def begin(
        self, writer: str, touched: Touched, seconds: float, ended: Sequence[Ended] = ()
    ) -> None:
        """See `Store.begin`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        await self._ask(lambda: self._store.begin(writer, touched, seconds, ended))

    async def end(self, ended: Sequence[Ended]) -> None:
        """See `Store.end`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        await self._ask(lambda: self._store.end(ended))

    async def add_counts(self, key: str, counts: Mapping[str, int]) -> None:
        """See `Store.add_counts`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        await self._ask(lambda: self._store.add_counts(key, counts))

    async def eviction_policies(self) -> frozenset[str]:
        """See `Store.eviction_policies`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        return await self._ask(self._store.eviction_policies)

    async def remove(self, keys: frozenset[str], tags: frozenset[str] = frozenset()) -> None:
        """Take answers out, and keep loads that are under way from being stored.

        Raises:
            Unavailable: The store did not answer in time.
        """
        writer, touched = new_stamp(), Touched(keys, tags)
        await self.begin(writer, touched, _REMOVAL_SECONDS)
        await self.end([Ended(writer, touched)])

    async def remove_untrusted(self, keys: frozenset[str], tags: frozenset[str]) -> None:
        """Take answers out of a store that is not trusted yet.

        Raises:
            Unavailable: The store did not answer.
        """
        writer, touched = new_stamp(), Touched(keys, tags)

        async def remove() -> None:
            await self._store.begin(writer, touched, _REMOVAL_SECONDS)
            await self._store.end([Ended(writer, touched)])

        await _patiently(remove(), _REMOVAL_SECONDS)

    async def counts(self, key: str) -> Mapping[str, int]:
        """See `Store.counts`.

        Raises:
            Unavailable: The store did not answer in time.
        """
        return await self._ask(lambda: self._store.counts(key))

    async def scan(self, prefix: str, limit: int) -> Sequence[tuple[str, float | None]]:
        """See `Store.scan`; takes as long as it takes, a minute at most.

        Raises:
            Unavailable: The store did not answer.
        """
        return await _patiently(self._store.scan(prefix, limit), _SCAN_SECONDS)

    async def aclose(self) -> None:
        """Close the store."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
        await self._store.aclose()

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        if self.breaker.state is not BreakerState.CLOSED:
            if self.breaker.allows():
                # In the background: no caller waits for a server that may still be down.
                self._probing = asyncio.create_task(self._probe())
            raise Unavailable("the cache's server does not answer")
        answer = await self._within_budget(question)
        self.breaker.succeeded()
        return answer

    async def _probe(self) -> None:
        try:
            await self._within_budget(lambda: self._store.read(["probe"]))
            if self._recover is not None:
                await self._recover()
        except (TradekeepError, SQLAlchemyError) as error:
            self.breaker.failed()
            _log.info("the cache stays bypassed: %s", type(error).__name__)
        else:
            self.breaker.succeeded()
            _log.warning("the cache is used again")

    async def _within_budget(self, question: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(self._budget):
                return await question()
        except ResponseError as error:
            if isinstance(error, _AWAY):
                raise self._failed(error) from error
            # It answers, so it is asked on: full memory keeps answers out, not readers.
            raise Unavailable(f"the cache's server refuses: {type(error).__name__}") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> Unavailable:
        was = self.breaker.state
        self.breaker.failed()
        if self.breaker.state is BreakerState.OPEN and was is BreakerState.CLOSED:
            _log.warning("the cache is bypassed: %r", error)
        return Unavailable("the cache's server does not answer")


async def _patiently(work: Awaitable[T], seconds: float) -> T:
    """Wait for work that is no reader's, past budget and breaker.

    Raises:
        Unavailable: The store did not answer.
    """
    try:
        async with asyncio.timeout(seconds):
            return await work
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable("the cache's server does not answer") from error
