"""The written form of a cached answer: plain JSON in an envelope, typed on the way back.

``{"ct": 1779264000.5, "v": 2, "fp": "3f2a…", "tags": {"quote:~": "…"}, "data": …}``: when it was
made (Unix seconds), the envelope's version, the fingerprint of the answer's type, the stamps of the
tags it depends on, and the answer. Decimals are strings, times RFC 3339 in UTC, never a pickle.
"""

from functools import cache
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar

import msgspec
import msgspec.inspect

from domain.clock import unix_now

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
        self.is_immutable = is_immutable(kind)
        self._encode = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode
        self._decode = msgspec.json.Decoder(Envelope[kind]).decode

    def encode(self, answer: T, tags: dict[str, str]) -> bytes:
        """Return the written form of an answer made now.

        Args:
            answer: The answer.
            tags: The stamps of its tags, as they were before it was made.
        """
        made = unix_now()
        return self._encode(Envelope(made, VERSION, self.fingerprint, tags, answer))

    def decode(self, written: bytes) -> Envelope[T] | None:
        """Return the answer; None for what another version wrote, or what nobody can read."""
        try:
            found: Envelope[T] = self._decode(written)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return found if found.fp == self.fingerprint and found.v == VERSION else None


class Decoded:
    """Remembers what the last answer at a key was decoded to, for as long as its bytes are equal.

    The bytes are read every time; it is only the work that is saved.

    Args:
        most: How many keys; the first ones in go first.
    """

    def __init__(self, most: int = 512) -> None:
        self._most = most
        self._known: dict[str, tuple[bytes, Envelope[Any]]] = {}

    def decode(self, key: str, codec: Codec[T], written: bytes) -> Envelope[T] | None:
        """Return what `Codec.decode` returns."""
        known = self._known.get(key)
        if known is not None and known[0] == written and known[1].fp == codec.fingerprint:
            return known[1]
        found = codec.decode(written)
        if found is not None and codec.is_immutable:
            self._known[key] = (written, found)
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        return found


@cache
def is_immutable(kind: Any) -> bool:
    """Return whether values of a type can be shared: nobody can change them."""
    return _is_immutable(msgspec.inspect.type_info(kind))


def _is_immutable(found: Any) -> bool:
    if isinstance(found, msgspec.inspect.StructType):
        return found.cls.__struct_config__.frozen and all(
            _is_immutable(field.type) for field in found.fields
        )
    if isinstance(found, msgspec.inspect.VarTupleType | msgspec.inspect.FrozenSetType):
        return _is_immutable(found.item_type)
    if isinstance(found, msgspec.inspect.TupleType):
        return all(map(_is_immutable, found.item_types))
    if isinstance(found, msgspec.inspect.UnionType):
        return all(map(_is_immutable, found.types))
    if isinstance(found, msgspec.inspect.Metadata):
        return _is_immutable(found.type)
    return isinstance(found, _PLAIN)


_PLAIN: Final = (
    msgspec.inspect.NoneType,
    msgspec.inspect.BoolType,
    msgspec.inspect.IntType,
    msgspec.inspect.StrType,
    msgspec.inspect.BytesType,
    msgspec.inspect.DecimalType,
    msgspec.inspect.UUIDType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.DateType,
    msgspec.inspect.TimeType,
    msgspec.inspect.TimeDeltaType,
    msgspec.inspect.EnumType,
    msgspec.inspect.LiteralType,
)


@cache
def fingerprint(kind: Any) -> str:
    """Return 12 hexadecimal digits that change with the type's JSON schema."""
    schema = msgspec.json.encode(msgspec.json.schema(kind), order="deterministic")
    return sha256(schema).hexdigest()[:12]
