"""The read path: a batched look, one flight a process, one lease a cluster, a guarded fill.

A reader that finds nothing usable takes the key's lease, loads, and stores under the lease. A
writer takes the lease away before its COMMIT and keeps new ones from being given until it is
through (`domain.cache.invalidation`): what was read before a commit is never stored after it.

Source: the lease is that of R. Nishtala et al., Scaling Memcache at Facebook, NSDI 2013, section
3.2.1; the write intent is ours, because the lease alone serves stale answers between COMMIT and
delete, and for good when the writer dies there.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from domain.cache.batching import BatchedReader
from domain.cache.codec import Codec, Decoded, Envelope
from domain.cache.guarded import GuardedStore
from domain.cache.statistics import Outcome, Statistics
from domain.cache.store import Fetched, Lease, State
from domain.clock import new_id, unix_now
from domain.errors import Conflict, LockTimeout, QueryTimeout, Unavailable

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)
_FIRST_LOOK: Final = 0.002
_LONGEST_LOOK: Final = 0.05
_TRANSIENT: Final = (Unavailable, QueryTimeout, LockTimeout, Conflict)


@dataclass(frozen=True, slots=True)
class Policy:
    """How old an answer may grow; durations are seconds.

    No duration makes an answer older than a commit: writers take stale answers out at once. They
    bound what no writer announces, and how long answers stay that nobody asks for.

    Args:
        ttl: From here on a reader loads anew.
        spare: How much longer the answer is kept, for when loading fails or is slow.
        nothing_ttl: The `ttl` of the answer that there is nothing.
        eager: Fraction of `ttl` after which one reader loads anew in the background.
        patience: How long a reader waits for a load when it has a soft-expired answer in hand.
        lease: How long a load may take and still be stored.
    """

    ttl: float
    spare: float = 300.0
    nothing_ttl: float = 30.0
    eager: float = 0.8
    patience: float = 0.5
    lease: float = 30.0


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One answer that is wanted.

    Args:
        name: What it is, for statistics.
        key: Its key in the store.
        tags: The keys of its tags.
        codec: Its written form.
        policy: How old it may grow.
        load: Makes it, in a database session of its own that begins when this is called.
    """

    name: str
    key: str
    tags: tuple[str, ...]
    codec: Codec[T]
    policy: Policy
    load: Callable[[], Awaitable[T]] = field(compare=False)
    keys: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", (self.key, *self.tags))


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    """What a flight brought.

    Args:
        value: The answer.
        as_of: The monotonic time at which it was certainly true: whoever asked later must not
            have it.
    """

    value: T
    as_of: float


Work = Callable[[Question[Any]], Awaitable[_Answer[Any]]]
"""How a flight comes by its answer."""


class Engine:
    """Answers questions from a store, and loads what is not there.

    Args:
        store: The store behind its budget.
        statistics: Where outcomes are counted.
    """

    def __init__(self, store: GuardedStore, statistics: Statistics) -> None:
        self._store = store
        self._statistics = statistics
        self._reader = BatchedReader(store.read)
        self._decoded = Decoded()
        self._flights: dict[str, asyncio.Task[_Answer[Any]]] = {}
        self._background: set[asyncio.Task[Any]] = set()

    async def get(self, question: Question[T]) -> T:
        """Return the answer: stored, or loaded now.

        Raises:
            TradekeepError: Whatever loading raised, when no answer is at hand.
        """
        arrived = time.monotonic()
        try:
            found = self._valid(question, await self._reader.read(question.keys))
        except Unavailable:
            return await self._load(question, arrived, self._load_aside)
        if found is None:
            return await self._load(question, arrived, self._fetch_or_load)
        age = unix_now() - found.ct
        ttl = _ttl(question.policy, found.data)
        if age >= ttl:
            return await self._load_or_keep(question, found)
        if age >= ttl * question.policy.eager and question.key not in self._flights:
            self._statistics.count(question.name, Outcome.EAGER)
            # Taken off here: the next reader of this tick must find it in the air.
            self._take_off(question, self._fetch_or_load)
        self._statistics.hits[question.name] += 1
        return found.data

    async def peek(self, question: Question[T]) -> Envelope[T] | None:
        """Return what is stored and still holds, without loading.

        Raises:
            Unavailable: The store did not answer.
        """
        return self._valid(question, await self._reader.read(question.keys))

    def _valid(self, question: Question[T], values: Sequence[bytes | None]) -> Envelope[T] | None:
        """Return the answer among what is stored, if it still holds."""
        value = values[0]
        if value is None:
            return None
        found = self._decoded.decode(question.key, question.codec, value)
        return found if found is not None and _holds(found, question.tags, values[1:]) else None

    async def aclose(self) -> None:
        """Wait for what runs in the background; leaves no task, lease or connection."""
        while running := [*self._flights.values(), *self._background]:
            await asyncio.gather(*running, return_exceptions=True)
        await self._reader.aclose()

    # Loading

    async def _load(self, question: Question[T], arrived: float, work: Work) -> T:
        """Return an answer that was true at `arrived` or later: join a flight, or begin one."""
        while True:
            flight = self._flights.get(question.key)
            if flight is None:
                flight = self._take_off(question, work)
            else:
                self._statistics.count(question.name, Outcome.JOIN)
            # Shielded: one reader that gives up must not take the answer from the others.
            answer: _Answer[T] = await asyncio.shield(flight)
            if answer.as_of >= arrived:
                return answer.value

    async def _load_or_keep(self, question: Question[T], kept: Envelope[T]) -> T:
        """Load anew; keep the soft-expired answer when that fails or takes too long."""
        loading = self._spawn(self._load(question, time.monotonic(), self._fetch_or_load))
        try:
            async with asyncio.timeout(question.policy.patience):
                return await asyncio.shield(loading)
        except (TimeoutError, *_TRANSIENT):
            self._statistics.count(question.name, Outcome.STALE)
            return kept.data

    def _take_off(self, question: Question[T], work: Work) -> "asyncio.Task[_Answer[T]]":
        task = asyncio.create_task(self._fly(question, work))
        self._flights[question.key] = task
        task.add_done_callback(_forgive)
        return task

    async def _fly(self, question: Question[T], work: Work) -> _Answer[T]:
        try:
            answer: _Answer[T] = await work(question)
            return answer
        finally:
            # Here and not in a callback: readers that come back at once must not find it landed.
            del self._flights[question.key]

    async def _fetch_or_load(self, question: Question[T]) -> _Answer[T]:
        lease = Lease(new_id().hex, question.policy.lease)
        pause = _FIRST_LOOK
        give_up = time.monotonic() + question.policy.lease
        while True:
            began = time.monotonic()
            try:
                fetched = await self._fetch(question, lease)
            except Unavailable:
                return await self._load_aside(question)
            if (held := self._usable(question, fetched)) is not None:
                if fetched.state is State.LEASED:
                    self._release(question, lease)
                return _Answer(held.data, began)
            if fetched.state is State.LEASED and None not in fetched.stamps:
                return await self._load_and_fill(question, lease, fetched)
            if fetched.state is not State.BUSY or began > give_up:
                if fetched.state is State.LEASED:
                    self._release(question, lease)
                return await self._load_aside(question)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(pause * 2, _LONGEST_LOOK)

    async def _fetch(self, question: Question[T], lease: Lease) -> Fetched:
        try:
            return await self._store.fetch(question.key, question.tags, lease)
        except BaseException:
            # The server may have given the lease although the answer did not reach us.
            self._release(question, lease)
            raise

    def _usable(self, question: Question[T], fetched: Fetched) -> Envelope[T] | None:
        """Return what somebody stored meanwhile, unless it is time to load anew."""
        stamps = (None if stamp is None else stamp.encode() for stamp in fetched.stamps)
        found = self._valid(question, [fetched.value, *stamps])
        if found is None:
            return None
        age = unix_now() - found.ct
        limit = _ttl(question.policy, found.data) * question.policy.eager
        return found if age < limit else None

    async def _load_aside(self, question: Question[T]) -> _Answer[T]:
        """Load and keep it out of the store."""
        self._statistics.count(question.name, Outcome.BYPASS)
        began = time.monotonic()
        return _Answer(await question.load(), began)

    async def _load_and_fill(
        self, question: Question[T], lease: Lease, fetched: Fetched
    ) -> _Answer[T]:
        self._statistics.count(question.name, Outcome.MISS)
        began = time.monotonic()
        try:
            value = await question.load()
            stamps = {
                tag: stamp or "" for tag, stamp in zip(question.tags, fetched.stamps, strict=True)
            }
            written = question.codec.encode(value, stamps)
        except BaseException:
            self._release(question, lease)
            raise
        # Jittered, so that what was stored together does not end together.
        seconds = _ttl(question.policy, value) + question.policy.spare
        seconds *= random.uniform(0.9, 1.0)  # noqa: S311 - jitter, no secret
        try:
            if not await self._store.fill(question.key, lease.token, written, seconds):
                self._statistics.count(question.name, Outcome.REJECTED)
        except Unavailable:
            self._release(question, lease)
        # Stored or not: a write of what a tag stands for may have come after `began`.
        return _Answer(value, began)

    # The background

    def _release(self, question: Question[Any], lease: Lease) -> None:
        """Give the lease back without being waited for: a reader that is cancelled cannot wait."""
        self._spawn(self._give_back(question.key, lease.token))

    async def _give_back(self, key: str, token: str) -> None:
        try:
            await self._store.release(key, token)
        except Unavailable:
            _log.info("a lease runs out by itself: the cache's server does not answer")

    def _spawn(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_forgive)
        return task


def _ttl(policy: Policy, value: object) -> float:
    return policy.ttl if value is not None else min(policy.ttl, policy.nothing_ttl)


def _holds(found: Envelope[Any], tags: tuple[str, ...], stamps: Sequence[bytes | None]) -> bool:
    """Return whether every tag still has the stamp that the answer was made under."""
    for tag, stamp in zip(tags, stamps, strict=True):
        if stamp is None or found.tags.get(tag) != stamp.decode():
            return False
    return True


def _forgive(task: "asyncio.Task[Any]") -> None:
    """Look at a task's error: whoever waited for it has it, and nobody may have waited."""
    if not task.cancelled():
        task.exception()
