"""The written form of a cached answer: plain JSON in an envelope, typed on the way back.

``{"ct": 1779264000.5, "v": 2, "fp": "3f2a…", "tags": {"quote:~": "…"}, "data": …}``: when it was
made (Unix seconds), the envelope's version, the fingerprint of the answer's type, the stamps of the
tags it depends on, and the answer. Decimals are strings, times RFC 3339 in UTC, never a pickle.
"""

from functools import cache
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar

import msgspec

from domain.clock import now

T = TypeVar("T")

VERSION: Final = 2
"""dogpile.cache's own number for metadata of this shape."""


class Envelope(msgspec.Struct, Generic[T], frozen=True):
    """A cached answer with what tells whether it still holds."""

    ct: float
    v: int
    fp: str
    tags: dict[str, str]
    data: T


class Codec(Generic[T]):
    """Writes and reads answers of one type.

    Args:
        kind: The type: frozen msgspec structs, tuples, Decimal, aware datetime, UUID, str, int …
    """

    def __init__(self, kind: Any) -> None:
        self.fingerprint = fingerprint(kind)
        self._encode = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode
        self._decode = msgspec.json.Decoder(Envelope[kind]).decode

    def encode(self, answer: T, tags: dict[str, str]) -> bytes:
        """Return the written form of an answer made now.

        Args:
            answer: The answer.
            tags: The stamps of its tags, as they were before it was made.
        """
        made = now().timestamp()
        return self._encode(Envelope(made, VERSION, self.fingerprint, tags, answer))

    def decode(self, written: bytes) -> Envelope[T] | None:
        """Return the answer; None for what another version wrote, or what nobody can read."""
        try:
            found: Envelope[T] = self._decode(written)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return found if found.fp == self.fingerprint and found.v == VERSION else None


@cache
def fingerprint(kind: Any) -> str:
    """Return 12 hexadecimal digits that change with the type's JSON schema."""
    schema = msgspec.json.encode(msgspec.json.schema(kind), order="deterministic")
    return sha256(schema).hexdigest()[:12]
