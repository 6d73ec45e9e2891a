"""Where answers are kept: what the engine asks of a store, and Redis as one."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol, cast

from redis.asyncio import Redis, RedisCluster

from domain.cache import scripts
from domain.cache.client import Client
from domain.cache.exchanging import Exchange
from domain.clock import new_id

TAG_SECONDS: Final = 30 * 86_400
"""A stamp lives longer than any answer that carries it; one that is gone only costs a miss."""


class State(StrEnum):
    """What a reader that found nothing usable may do."""

    LEASED = "leased"
    """Load it and fill it in."""
    BUSY = "busy"
    """Somebody else loads it: look again."""
    WRITING = "writing"
    """Somebody writes what it is made of: load it and keep it out."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The store's answer to `Store.fetch`.

    Args:
        state: What the reader may do.
        value: What is stored, if anything: somebody may have been faster.
        stamps: The tags' stamps in the order asked; None for a tag that is being written. Read
            after the lease was taken, which is what makes them count.
    """

    state: State
    value: bytes | None
    stamps: Sequence[str | None] = ()


@dataclass(frozen=True, slots=True)
class Touched:
    """The keys of answers and of tags that one writer makes stale."""

    keys: frozenset[str]
    tags: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.keys or self.tags)


@dataclass(frozen=True, slots=True)
class Ended:
    """A writer that is through, and what it made stale."""

    writer: str
    touched: Touched


class Store(Protocol):
    """Keeps answers; may raise anything that means it cannot be reached."""

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return what is stored at `keys`, answers and tags alike, in one round trip."""
        ...

    async def fetch(self, key: str, tags: Sequence[str], lease: "Lease") -> Fetched:
        """Return the right to make an answer, if it is free, and what is stored."""
        ...

    async def fill(self, key: str, token: str, value: bytes, seconds: float) -> bool:
        """Store an answer under a lease; return False when the lease was lost."""
        ...

    async def release(self, key: str, token: str) -> None:
        """Give a lease back."""
        ...

    async def begin(
        self, writer: str, touched: Touched, seconds: float, ended: Sequence[Ended] = ()
    ) -> None:
        """Let nothing be served or stored for `touched` until `end`, `seconds` at most.

        Args:
            writer: Who writes.
            touched: What it makes stale.
            seconds: How long at most.
            ended: Other writers that are through, told of in the same round trip.
        """
        ...

    async def end(self, ended: Sequence[Ended]) -> None:
        """Let answers be stored again, after writers that are through."""
        ...

    async def add_counts(self, key: str, counts: Mapping[str, int]) -> None:
        """Add to the counters at `key`."""
        ...

    async def counts(self, key: str) -> Mapping[str, int]:
        """Return the counters at `key`."""
        ...

    async def scan(self, prefix: str, limit: int) -> Sequence[tuple[str, float | None]]:
        """Return keys of answers and tags that begin with `prefix`, with their seconds to live."""
        ...

    async def eviction_policies(self) -> frozenset[str]:
        """Return what the servers do when their memory is full; nothing without a server."""
        ...

    async def aclose(self) -> None:
        """Close what was opened."""
        ...


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fill one answer.

    Args:
        token: Whose it is.
        seconds: How long it lasts.
    """

    token: str
    seconds: float


def _ms(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def _three(key: str) -> tuple[str, str, str]:
    return key, f"{key}:l", f"{key}:w"


def _two(tag: str) -> tuple[str, str]:
    return tag, f"{tag}:w"


def _endings(ended: Sequence[Ended]) -> "list[_Call]":
    calls: list[_Call] = [
        (scripts.END, _three(key), (done.writer,)) for done in ended for key in done.touched.keys
    ]
    calls += [
        (scripts.END_TAG, _two(tag), (done.writer, new_stamp(), _ms(TAG_SECONDS)))
        for done in ended
        for tag in done.touched.tags
    ]
    return calls


_Call = tuple[str, tuple[str, ...], tuple[Any, ...]]
"""A script, its keys, its arguments."""


class RedisStore:
    """Keeps answers in Redis or Valkey: one server, behind Sentinels, or a cluster.

    Args:
        client: Made by `domain.cache.client.build_client` for `Use.CACHE`; closed with the store.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._exchange = Exchange(client) if isinstance(client, Redis) else None

    async def read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return what is stored at `keys`."""
        if self._exchange is not None:
            (found,) = await self._exchange.run([("MGET", *keys)])
        else:
            found = await cast("RedisCluster", self.client).mget_nonatomic(*keys)
        return cast("Sequence[bytes | None]", found)

    async def fetch(self, key: str, tags: Sequence[str], lease: Lease) -> Fetched:
        """Return the right to make an answer, if it is free, and what is stored."""
        wanted = (lease.token, _ms(lease.seconds))
        first: _Call = (scripts.FETCH, _three(key), wanted)
        stamps: list[_Call] = [
            (scripts.READ_TAG, _two(tag), (new_stamp(), _ms(TAG_SECONDS))) for tag in tags
        ]
        if self._exchange is not None:
            # One connection keeps the order: the lease is taken before the stamps are read.
            found, *rest = await self._run([first, *stamps])
        else:
            (found,) = await self._run([first])
            rest = await self._run(stamps)
        return Fetched(
            State(found[0].decode()), found[1], [item and item.decode() for item in rest]
        )

    async def fill(self, key: str, token: str, value: bytes, seconds: float) -> bool:
        """Store an answer under a lease; return False when the lease was lost."""
        keys = (key, f"{key}:l")
        (stored,) = await self._run([(scripts.FILL, keys, (token, value, _ms(seconds)))])
        return bool(stored)

    async def release(self, key: str, token: str) -> None:
        """Give a lease back."""
        await self._run([(scripts.RELEASE, (f"{key}:l",), (token,))])

    async def begin(
        self, writer: str, touched: Touched, seconds: float, ended: Sequence[Ended] = ()
    ) -> None:
        """Let nothing be served or stored for `touched` until `end`, `seconds` at most.

        Args:
            writer: Who writes.
            touched: What it makes stale.
            seconds: How long at most.
            ended: Other writers that are through, told of in the same round trip.
        """
        limit, stamp_limit = _ms(seconds), _ms(TAG_SECONDS)
        calls = _endings(ended)
        calls += [(scripts.BEGIN, _three(key), (writer, limit)) for key in touched.keys]
        calls += [
            (scripts.BEGIN_TAG, _two(tag), (writer, limit, new_stamp(), stamp_limit))
            for tag in touched.tags
        ]
        await self._run(calls)

    async def end(self, ended: Sequence[Ended]) -> None:
        """Let answers be stored again, after writers that are through."""
        await self._run(_endings(ended))

    async def add_counts(self, key: str, counts: Mapping[str, int]) -> None:
        """Add to the counters at `key`."""
        pipeline = self.client.pipeline()
        for name, number in counts.items():
            pipeline.hincrby(key, name, number)
        await pipeline.execute()

    async def counts(self, key: str) -> Mapping[str, int]:
        """Return the counters at `key`."""
        found = await self.client.hgetall(key)
        return {_text(name): int(number) for name, number in found.items()}

    async def scan(self, prefix: str, limit: int) -> Sequence[tuple[str, float | None]]:
        """Return keys of answers and tags that begin with `prefix`, with their seconds to live."""
        found: list[tuple[str, float | None]] = []
        async for name in self.client.scan_iter(match=f"{_literally(prefix)}*", count=1_000):
            key = _text(name)
            if key.endswith((":l", ":w")):
                continue
            left = await self.client.pttl(key)
            found.append((key, left / 1000 if left >= 0 else None))
            if len(found) >= limit:
                break
        return sorted(found)

    async def eviction_policies(self) -> frozenset[str]:
        """Return what the servers do when their memory is full: ``maxmemory-policy``."""
        if isinstance(self.client, RedisCluster):
            found = await self.client.info("memory", target_nodes=RedisCluster.PRIMARIES)
            answers = list(found.values()) if "maxmemory_policy" not in found else [found]
        else:
            answers = [await self.client.info("memory")]
        return frozenset(_text(answer["maxmemory_policy"]) for answer in answers)

    async def aclose(self) -> None:
        """Close the client."""
        if self._exchange is not None:
            await self._exchange.aclose()
        await self.client.aclose()

    async def _run(self, calls: Sequence[_Call]) -> list[Any]:
        if self._exchange is not None:
            return await self._exchange.run(
                [("EVAL", script, len(keys), *keys, *args) for script, keys, args in calls]
            )
        return await asyncio.gather(
            *(self.client.eval(script, len(keys), *keys, *args) for script, keys, args in calls)
        )


def _literally(text: str) -> str:
    """Return a pattern that matches nothing but `text`."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", text)


def _text(reply: bytes | str) -> str:
    return reply if isinstance(reply, str) else reply.decode()


def new_stamp() -> str:
    """Return a stamp that no tag ever had."""
    return new_id().hex
