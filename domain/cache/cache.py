"""`Cache`: the cache of one database, opened and closed with it."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Protocol, Self, TypeVar
from uuid import UUID

from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.cache.breaker import BreakerState
from domain.cache.client import Address, Use, build_client
from domain.cache.codec import Envelope
from domain.cache.declaring import DECLARED, USER, Audience, CachedRead, Tier
from domain.cache.dependencies import Dependencies
from domain.cache.engine import Engine, Question
from domain.cache.guarded import GuardedStore
from domain.cache.invalidation import Invalidation, WriteRules, writer_of
from domain.cache.keys import Keyspace, Part
from domain.cache.listening import CHANNEL, Watcher, watched_tables
from domain.cache.memory import MemoryStore, NullStore
from domain.cache.pending import Remove, replay
from domain.cache.regions import make_regions, policy_of
from domain.cache.statistics import Outcome, Statistics
from domain.cache.store import RedisStore, Store
from domain.cache.tiers import TierCache, free_tag
from domain.db.listening import Listener
from domain.db.orm import Base
from domain.db.scope import Scope
from domain.db.unit import ReadUnit, Unit, UnitOfWork
from domain.errors import TradekeepError, Unavailable
from domain.settings import Settings

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)
_NOBODY: Final = UUID(int=0)
"""The tenant of loaders whose answers are everybody's: no row is owned by it."""
_ROUND: Final = 3.0
_MOST_ASKED: Final = 4_096
_ALL: Final = 10_000_000
_STEP: Final = 500
_TURN: Final = "cache_turn"


class Sessions(Protocol):
    """What the cache needs of a database."""

    def loading(self, scope: Scope) -> AbstractAsyncContextManager[ReadUnit]:
        """Open a short session of its own pool that sees one state of the database."""
        ...

    def transaction(self, *, system: str) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a transaction of a trusted job."""
        ...


class Cache:
    """Answers that are never older than a commit, while Redis keeps what it acknowledged.

    Args:
        address: Where Redis is; None keeps nothing, and every read loads.
        settings: The settings whose names begin with ``cache_``.
        sessions: The database.
        reads: The declared answers.
    """

    def __init__(
        self,
        address: Address | None,
        settings: Settings,
        sessions: Sessions,
        reads: Iterable[CachedRead[Any, Any]] | None = None,
    ) -> None:
        self.keyspace = Keyspace(settings.cache_prefix)
        self.statistics = Statistics()
        self._address, self._settings, self._sessions = address, settings, sessions
        self._store = GuardedStore(_store_at(address), settings.cache_budget, self._replay_all)
        self._engine = Engine(self._store, self.statistics)
        declared = tuple(DECLARED.values() if reads is None else reads)
        self._declared = declared
        rules = WriteRules(
            intent_seconds=settings.cache_intent_seconds,
            strict=settings.cache_strict,
            always_put_off=settings.cache_outbox_always,
        )
        self.invalidation = Invalidation(
            self._store, Dependencies(self.keyspace, declared), rules, replay=self._replay_quietly
        )
        self.regions = make_regions(self.keyspace, _seconds(settings), self._store)
        self._asked: dict[Any, Question[Any]] = {}
        self._upkeep: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def is_kept(self) -> bool:
        """Whether answers are kept at all."""
        return self._address is not None

    @property
    def is_shared(self) -> bool:
        """Whether other processes read the same answers: there is a server."""
        return self._address is not None and not self._address.is_memory

    @property
    def store(self) -> GuardedStore:
        """Where answers are kept, for dogpile regions of one's own on the backend ``tradekeep``."""
        return self._store

    @property
    def breaker(self) -> BreakerState:
        """Whether the server is asked, or bypassed because it does not answer."""
        return self._store.breaker.state

    def __getitem__(self, tier: Tier) -> TierCache:
        """Return a tier for answers without a declaration."""
        return TierCache(self.regions[tier], self.keyspace, self._engine, self._store)

    def open(self, engine: AsyncEngine) -> Self:
        """Begin to watch what is written through an engine, and to replay what was put off."""
        if self.is_kept:
            self.invalidation.watch(engine.sync_engine)
            self._upkeep = asyncio.create_task(self._keep_up())
            self._listen(engine.url)
        return self

    def _listen(self, url: URL) -> None:
        """Hear of writes to watched tables that bypass the application."""
        if tables := watched_tables(Base.metadata):
            watcher = Watcher(self.invalidation.dependencies, self._store, dict(tables))
            listener = Listener(url, self._settings, CHANNEL)
            self._listening = asyncio.create_task(listener.run(watcher.begun, watcher.hear))

    async def aclose(self) -> None:
        """Finish what is under way and close the connections; leaves no task."""
        for task in (self._upkeep, self._listening):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._upkeep = self._listening = None
        await self.invalidation.aclose()
        await self._engine.aclose()
        with suppress(TradekeepError):
            await self._hand_over_counts()
        await self._store.aclose()

    # Reading

    async def get(self, read: CachedRead[Any, T], given: Mapping[str, Part]) -> T:
        """Return a declared answer.

        Args:
            read: The declaration.
            given: Its parameters by name, as `CachedRead.bind` returns them.

        Raises:
            TradekeepError: What loading raised.
        """
        return await self._engine.get(self._question(read, given))

    def ask(
        self, read: CachedRead[Any, T], user: UUID | None, args: tuple[Any, ...]
    ) -> Awaitable[T]:
        """Return a declared answer by its parameters in order; remembers how the question is put.

        Raises:
            InvalidData: The parameters are not the declaration's, or a user is missing.
            TradekeepError: What loading raised.
        """
        asked = (read, user, args)
        question: Question[T] | None = self._asked.get(asked)
        if question is None:
            question = self._question(read, read.bind(user, args, {}))
            self._asked[asked] = question
            if len(self._asked) > _MOST_ASKED:
                del self._asked[next(iter(self._asked))]
        return self._engine.get(question)

    async def get_within(
        self, unit: Unit, read: CachedRead[Any, T], given: Mapping[str, Part]
    ) -> T:
        """Return a declared answer inside a unit: its own uncommitted writes are seen.

        A unit that has written reads past the cache, in its own transaction, and so does one of
        staff limited to some tenants.

        Raises:
            TradekeepError: What loading raised.
        """
        session = unit.session.sync_session
        writer = writer_of(session)
        has_written = writer is not None and writer.has_written
        # What limited staff may see is asked of the database: an answer may be of all tenants.
        is_limited = unit.scope.reach is not None
        if is_limited or has_written or session.new or session.dirty or session.deleted:
            self.statistics.count(read.name, Outcome.BYPASS)
            # One session answers one question at a time; callers may ask several together.
            async with session.info.setdefault(_TURN, asyncio.Lock()):
                await unit.session.flush()
                return await read.load(unit, **_own(read, given))
        return await self.get(read, given)

    async def peek(self, read: CachedRead[Any, T], given: Mapping[str, Part]) -> Envelope[T] | None:
        """Return what is kept and holds for these parameters, without loading.

        Raises:
            Unavailable: The cache's server does not answer.
        """
        return await self._engine.peek(self._question(read, given))

    # Taking out by hand

    async def expire(self, read: CachedRead[Any, Any], given: Mapping[str, Part]) -> None:
        """Take out the answers of `read` for these parameters; for none of them, all answers.

        Raises:
            InvalidData: The parameters name neither an answer nor a group of them.
            Unavailable: The cache's server does not answer.
        """
        if given.keys() == set(read.parameters):
            await self._store.remove(frozenset({read.key(self.keyspace, given)}))
        else:
            tag = read.tag(self.keyspace, read.group_of(given), given)
            await self._store.remove(frozenset(), frozenset({tag}))

    async def expire_tag(self, word: str) -> None:
        """Take out what was loaded with a tag of the caller's own: ``symbol:AAPL``.

        Raises:
            Unavailable: The cache's server does not answer.
        """
        await self._store.remove(frozenset(), frozenset({free_tag(self.keyspace, word)}))

    async def expire_all(self) -> None:
        """Take out everything that is cached, declared or not.

        Raises:
            Unavailable: The cache's server does not answer.
        """
        tags = frozenset(read.tag(self.keyspace, (), {}) for read in self._declared)
        await self._store.remove(frozenset(), tags)
        for tier in Tier:
            keys = [key for key, _ in await self.scan(f"{tier}:", _ALL)]
            for start in range(0, len(keys), _STEP):
                await self._store.remove(frozenset(keys[start : start + _STEP]))

    # Upkeep

    async def replay(self) -> int:
        """Replay the invalidations that were put off; returns how many transactions' there were.

        Raises:
            Unavailable: The cache's server or the database does not answer.
        """
        return await self._replayed(self._store.remove, wait=False)

    async def totals(self) -> dict[str, dict[str, int]]:
        """Return what all processes counted, by answer and outcome.

        Raises:
            Unavailable: The cache's server does not answer.
        """
        await self._hand_over_counts()
        found: dict[str, dict[str, int]] = {}
        for field, number in (await self._store.counts(self.keyspace.statistics())).items():
            name, _, outcome = field.partition("|")
            found.setdefault(name, {})[outcome] = number
        return found

    async def scan(self, prefix: str = "", limit: int = 1_000) -> list[tuple[str, float | None]]:
        """Return keys below the keyspace that begin with `prefix`, with their seconds to live.

        Walks all keys of the server in small steps: for people, not for programs.

        Raises:
            Unavailable: The cache's server does not answer.
        """
        return list(await self._store.scan(f"{self.keyspace.prefix}:{prefix}", limit))

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return what is stored at keys as it is, envelope and all: for people.

        Raises:
            Unavailable: The cache's server does not answer.
        """
        return await self._store.read(keys)

    async def eviction_policies(self) -> frozenset[str]:
        """Return what the servers do when their memory is full; nothing without a server.

        Raises:
            Unavailable: The cache's server does not answer.
        """
        return await self._store.eviction_policies()

    async def _hand_over_counts(self) -> None:
        taken = self.statistics.take()
        if not taken:
            return
        fields = {f"{name}|{outcome}": number for (name, outcome), number in taken.items()}
        try:
            await self._store.add_counts(self.keyspace.statistics(), fields)
        except Unavailable:
            self.statistics.give_back(taken)
            raise

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_ROUND * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            await self._replay_quietly()
            with suppress(TradekeepError):
                await self._hand_over_counts()

    async def _replay_quietly(self) -> None:
        try:
            await self._replayed(self._store.remove, wait=False)
        except (TradekeepError, SQLAlchemyError) as error:
            # Also a database whose tables are still being made.
            _log.info("invalidations that were put off still wait: %s", type(error).__name__)

    async def _replay_all(self) -> None:
        """Replay before a server that was away is trusted again."""
        await self._replayed(self._store.remove_untrusted, wait=True)

    async def _replayed(self, remove: Remove, *, wait: bool) -> int:
        total = 0
        while True:
            async with self._sessions.transaction(system="cache") as unit:
                done = await replay(unit, remove, wait=wait)
            total += done
            if not done:
                return total

    def _question(self, read: CachedRead[Any, T], given: Mapping[str, Part]) -> Question[T]:
        return Question(
            name=read.name,
            key=read.key(self.keyspace, given),
            tags=read.tags(self.keyspace, given),
            codec=read.codec,
            policy=policy_of(self.regions[read.tier]),
            load=self._loader(read, given),
        )

    def _loader(self, read: CachedRead[Any, T], given: Mapping[str, Part]) -> Callable[[], Any]:
        async def load() -> T:
            async with self._sessions.loading(_scope(read, given)) as unit:
                return await read.load(unit, **_own(read, given))

        return load


def _own(read: CachedRead[Any, Any], given: Mapping[str, Part]) -> dict[str, Part]:
    """Return the parameters of the loader: an owner's answer has its user in the unit."""
    is_owner = read.audience is Audience.OWNER
    return {name: value for name, value in given.items() if not (is_owner and name == USER)}


def _scope(read: CachedRead[Any, Any], given: Mapping[str, Part]) -> Scope:
    if read.audience is Audience.SYSTEM:
        return Scope.system("cache")
    if read.audience is Audience.EVERYBODY:
        return Scope.tenant(_NOBODY)
    user = given[USER]
    return Scope.tenant(user if isinstance(user, UUID) else UUID(str(user)))


def _store_at(address: Address | None) -> Store:
    if address is None:
        return NullStore()
    return MemoryStore() if address.is_memory else RedisStore(build_client(address, Use.CACHE))


def _seconds(settings: Settings) -> dict[Tier, float]:
    return {tier: getattr(settings, f"cache_{tier.value}_seconds") for tier in Tier}
