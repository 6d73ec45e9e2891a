"""A store in this process, with the same guarantee inside it, and a store that keeps nothing."""

import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from domain.cache.store import TAG_SECONDS, Ended, Fetched, Lease, State, Touched, new_stamp

_MOST: Final = 50_000


class MemoryStore:
    """Keeps answers in this process: for one process without Redis, and for tests.

    Args:
        most: How many answers, leases and stamps it keeps; the least recently used go first.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._writers: dict[str, dict[str, float]] = {}
        self._counters: dict[str, Counter[str]] = defaultdict(Counter)

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return what is stored at `keys`."""
        return [self._get(key) for key in keys]

    async def fetch(self, key: str, tags: Sequence[str], lease: Lease) -> Fetched:
        """Return the right to make an answer, if it is free, and what is stored."""
        value = self._get(key)
        if self._is_written(key):
            return Fetched(State.WRITING, None)
        stamps = [self._stamp(tag) for tag in tags]
        if self._get(f"{key}:l") is not None:
            return Fetched(State.BUSY, value, stamps)
        self._set(f"{key}:l", lease.token.encode(), lease.seconds)
        return Fetched(State.LEASED, value, stamps)

    async def fill(self, key: str, token: str, value: bytes, seconds: float) -> bool:
        """Store an answer under a lease; return False when the lease was lost."""
        if self._get(f"{key}:l") != token.encode():
            return False
        self._kept.pop(f"{key}:l", None)
        self._set(key, value, seconds)
        return True

    async def release(self, key: str, token: str) -> None:
        """Give a lease back."""
        if self._get(f"{key}:l") == token.encode():
            self._kept.pop(f"{key}:l", None)

    async def begin(
        self, writer: str, touched: Touched, seconds: float, ended: Sequence[Ended] = ()
    ) -> None:
        """Let nothing be served or stored for `touched` until `end`, `seconds` at most."""
        await self.end(ended)
        deadline = time.monotonic() + seconds
        for name in touched.keys | touched.tags:
            self._writers.setdefault(name, {})[writer] = deadline
        self._drop(touched.keys)
        for tag in touched.tags:
            self._set(tag, new_stamp().encode(), TAG_SECONDS)

    async def end(self, ended: Sequence[Ended]) -> None:
        """Let answers be stored again, after writers that are through."""
        for done in ended:
            for name in done.touched.keys | done.touched.tags:
                writers = self._writers.get(name, {})
                if writers.pop(done.writer, None) is None and name in done.touched.tags:
                    self._set(name, new_stamp().encode(), TAG_SECONDS)
                if not writers:
                    self._writers.pop(name, None)
            self._drop(done.touched.keys)

    async def add_counts(self, key: str, counts: Mapping[str, int]) -> None:
        """Add to the counters at `key`."""
        self._counters[key].update(counts)

    async def counts(self, key: str) -> Mapping[str, int]:
        """Return the counters at `key`."""
        return dict(self._counters[key])

    async def scan(self, prefix: str, limit: int) -> Sequence[tuple[str, float | None]]:
        """Return keys of answers and tags that begin with `prefix`, with their seconds to live."""
        now = time.monotonic()
        found = [
            (key, deadline - now)
            for key, (_, deadline) in self._kept.items()
            if key.startswith(prefix) and not key.endswith(":l") and deadline > now
        ]
        return sorted(found)[:limit]

    async def eviction_policies(self) -> frozenset[str]:
        """Return nothing: there is no server."""
        return frozenset()

    async def aclose(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._writers.clear()

    def _get(self, key: str) -> bytes | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if found[1] <= time.monotonic():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found[0]

    def _set(self, key: str, value: bytes, seconds: float) -> None:
        self._kept[key] = (value, time.monotonic() + seconds)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def _stamp(self, tag: str) -> str | None:
        if self._is_written(tag):
            return None
        if (found := self._get(tag)) is None:
            found = new_stamp().encode()
            self._set(tag, found, TAG_SECONDS)
        return found.decode()

    def _is_written(self, name: str) -> bool:
        writers = self._writers.get(name)
        if not writers:
            return False
        now = time.monotonic()
        for writer in [writer for writer, deadline in writers.items() if deadline <= now]:
            del writers[writer]
        return bool(writers)

    def _drop(self, keys: frozenset[str]) -> None:
        for key in keys:
            self._kept.pop(key, None)
            self._kept.pop(f"{key}:l", None)


class NullStore:
    """Keeps nothing: every read loads."""

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return nothing."""
        return [None] * len(keys)

    async def fetch(self, key: str, tags: Sequence[str], lease: Lease) -> Fetched:
        """Say that nothing may be stored."""
        del key, tags, lease
        return Fetched(State.WRITING, None)

    async def fill(self, key: str, token: str, value: bytes, seconds: float) -> bool:
        """Store nothing."""
        del key, token, value, seconds
        return False

    async def release(self, key: str, token: str) -> None:
        """Do nothing."""

    async def begin(
        self, writer: str, touched: Touched, seconds: float, ended: Sequence[Ended] = ()
    ) -> None:
        """Do nothing."""

    async def end(self, ended: Sequence[Ended]) -> None:
        """Do nothing."""

    async def add_counts(self, key: str, counts: Mapping[str, int]) -> None:
        """Do nothing."""

    async def counts(self, key: str) -> Mapping[str, int]:
        """Return nothing."""
        del key
        return {}

    async def scan(self, prefix: str, limit: int) -> Sequence[tuple[str, float | None]]:
        """Return nothing."""
        del prefix, limit
        return []

    async def eviction_policies(self) -> frozenset[str]:
        """Return nothing: there is no server."""
        return frozenset()

    async def aclose(self) -> None:
        """Do nothing."""
