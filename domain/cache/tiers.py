"""Answers without a declaration: get, set and load by type and id, a tier at a time.

For what has no table of ours, say a figure from a vendor's API. Such answers may carry tags, words
of the caller's own (``symbol:AAPL``), and `Cache.expire_tag` takes all of a tag out at once.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, TypeVar

from dogpile.cache import CacheRegion

from domain.cache.codec import Codec
from domain.cache.declaring import DECLARED
from domain.cache.engine import Engine, Question
from domain.cache.guarded import GuardedStore
from domain.cache.keys import Keyspace, Part
from domain.cache.regions import policy_of
from domain.cache.store import Lease, State, new_stamp
from domain.errors import InvalidData, Unavailable

T = TypeVar("T")

_LEASE_SECONDS: Final = 5.0
_FREE: Final = "free"


class TierCache:
    """One tier of the cache.

    Args:
        region: The tier's region.
        keyspace: The keyspace.
        engine: Answers questions.
        store: The store behind it.
    """

    def __init__(
        self, region: CacheRegion, keyspace: Keyspace, engine: Engine, store: GuardedStore
    ) -> None:
        self._region, self._keyspace = region, keyspace
        self._engine, self._store = engine, store

    async def get(self, name: str, ident: Part, kind: type[T]) -> T | None:
        """Return what is kept, or None.

        Args:
            name: What it is, say ``quote``.
            ident: Which one, say the symbol.
            kind: The type it is read as: what was stored as another type is not found, nor what
                was loaded with tags.
        """
        question: Question[T] = self._question(name, ident, kind)
        try:
            found = await self._engine.peek(question)
        except Unavailable:
            return None
        return None if found is None else found.data

    async def get_or_set(
        self,
        name: str,
        ident: Part,
        load: Callable[[], Awaitable[T]],
        *,
        kind: Any,
        tags: Sequence[str] = (),
    ) -> T:
        """Return what is kept, or load it and keep it; a thousand callers load once.

        Args:
            name: What it is.
            ident: Which one.
            load: Makes it.
            kind: Its type.
            tags: Words by which it can be taken out together with others; always the same ones.
        """
        question: Question[T] = self._question(name, ident, kind, load)
        tagged = tuple(free_tag(self._keyspace, tag) for tag in tags)
        return await self._engine.get(replace(question, tags=tagged))

    async def set(self, name: str, ident: Part, value: object, *, kind: Any = None) -> bool:
        """Keep a value; returns False when it is not kept, because the key is just being written.

        Args:
            name: What it is.
            ident: Which one.
            value: The value.
            kind: The type it will be read as; default: the value's own.
        """
        question: Question[Any] = self._question(name, ident, kind or type(value))
        lease = Lease(new_stamp(), _LEASE_SECONDS)
        kept = question.policy.ttl + question.policy.spare
        try:
            await self._store.remove(frozenset({question.key}))
            fetched = await self._store.fetch(question.key, (), lease)
            if fetched.state is not State.LEASED:
                return False
            written = question.codec.encode(value, {})
            return await self._store.fill(question.key, lease.token, written, kept)
        except Unavailable:
            return False

    async def remove(self, name: str, ident: Part) -> None:
        """Take a value out, and keep a load that is under way from being stored.

        Raises:
            Unavailable: The cache's server does not answer.
        """
        await self._store.remove(frozenset({self._key(name, ident)}))

    def _key(self, name: str, ident: Part) -> str:
        if name in DECLARED or not name.isidentifier():
            raise InvalidData("name", name, "be an identifier that no declared answer has")
        return self._keyspace.entry(str(self._region.name), name, [ident])

    def _question(
        self, name: str, ident: Part, kind: Any, load: Callable[[], Awaitable[T]] | None = None
    ) -> Question[T]:
        return Question(
            name=name,
            key=self._key(name, ident),
            tags=(),
            codec=_codec(kind),
            policy=policy_of(self._region),
            load=load or _unloaded,
        )


def free_tag(keyspace: Keyspace, word: str) -> str:
    """Return the key of a tag of the caller's own."""
    return keyspace.tag(_FREE, word)


@cache
def _codec(kind: Any) -> Codec[Any]:
    return Codec(kind)


async def _unloaded() -> Any:
    raise InvalidData("cache", None, "be asked only for what is kept")
