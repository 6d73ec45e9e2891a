"""What is kept, for people: keys with their age, their time to live and whether they still hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from domain.cache.cache import Cache
from domain.cache.codec import Envelope
from domain.clock import unix_now

_decode: Final = msgspec.json.Decoder(Envelope[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept answer.

    Args:
        key: Its key.
        age: Seconds since it was made.
        seconds_to_live: Until the server drops it; None: never.
        is_valid: Whether the stamps of its tags are still those it was made under.
        size: Bytes.
        data: The answer.
    """

    key: str
    age: float
    seconds_to_live: float | None
    is_valid: bool
    size: int
    data: Any


async def entries(cache: Cache, prefix: str = "", limit: int = 1_000) -> Sequence[Entry]:
    """Return the kept answers whose keys, without the keyspace's prefix, begin with `prefix`.

    Walks all keys of the server in small steps.

    Raises:
        Unavailable: The cache's server does not answer.
    """
    found = [
        await _entry(cache, key, seconds)
        for key, seconds in await cache.scan(prefix, limit)
        if not key.startswith(f"{cache.keyspace.prefix}:tag:")
    ]
    return [entry for entry in found if entry is not None]


async def _entry(cache: Cache, key: str, seconds: float | None) -> Entry | None:
    (value,) = await cache.read([key])
    if value is None:
        return None
    try:
        kept = _decode(value)
    except msgspec.DecodeError:
        return None
    stamps = await cache.read(list(kept.tags)) if kept.tags else ()
    held = [None if stamp is None else stamp.decode() for stamp in stamps]
    return Entry(
        key=key,
        age=unix_now() - kept.ct,
        seconds_to_live=seconds,
        is_valid=held == list(kept.tags.values()),
        size=len(value),
        data=msgspec.json.decode(kept.data),
    )
