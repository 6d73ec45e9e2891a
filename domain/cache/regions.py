"""dogpile.cache regions, one a tier: how long answers live, how keys and values are written.

The engine takes durations and keys from them. They are real regions as well: on dogpile's backend
``tradekeep`` they read what the engine stored, and dogpile's own recipes run on them inside
SQLAlchemy's asyncio sessions, where its stock backends would block the event loop.
"""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from dogpile.cache import CacheRegion, make_region, register_backend
from dogpile.cache.api import NO_VALUE, BytesBackend, CacheMutex, CantDeserializeException
from sqlalchemy.util import await_only

from domain.cache.codec import VERSION, Envelope
from domain.cache.declaring import Tier
from domain.cache.engine import Policy
from domain.cache.guarded import GuardedStore
from domain.cache.keys import Keyspace
from domain.cache.store import Lease, State, new_stamp
from domain.clock import unix_now
from domain.errors import Unavailable

BACKEND: Final = "tradekeep"
_LEASE_SECONDS: Final = 30.0
_KEPT_SECONDS: Final = 86_400.0
_FOREIGN: Final = ""
"""The fingerprint of what dogpile stores: it names no type, so the engine never takes it."""

_encode: Final = msgspec.json.Encoder(decimal_format="string").encode
_envelope: Final = msgspec.json.Decoder(Envelope[msgspec.Raw]).decode

register_backend(BACKEND, __name__, "StoreBackend")  # type: ignore[no-untyped-call]  # dogpile leaves it untyped


def make_regions(
    keyspace: Keyspace, seconds: Mapping[Tier, float], store: GuardedStore
) -> dict[Tier, CacheRegion]:
    """Return a region for every tier.

    Args:
        keyspace: Its prefix begins all keys.
        seconds: How long answers of a tier live.
        store: Where they are kept.
    """
    return {tier: _region(keyspace, tier, seconds[tier], store) for tier in Tier}


def policy_of(region: CacheRegion) -> Policy:
    """Return the engine's policy for answers of a region."""
    return Policy(ttl=float(region.expiration_time or _KEPT_SECONDS))


def _region(keyspace: Keyspace, tier: Tier, seconds: float, store: GuardedStore) -> CacheRegion:
    region = make_region(
        name=tier.value,
        key_mangler=lambda key: f"{keyspace.prefix}:{tier.value}:{key}",
        serializer=_encode,
        deserializer=_decode,
    )
    arguments = {"store": store, "is_json": True, "seconds": seconds * 2}
    return region.configure(BACKEND, expiration_time=seconds, arguments=arguments)


def _decode(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except msgspec.DecodeError as error:
        raise CantDeserializeException from error


class StoreBackend(BytesBackend):
    """dogpile's view of a store; usable inside SQLAlchemy's asyncio greenlets only.

    Args:
        arguments: ``store``, a `GuardedStore`; ``seconds``, how long values are kept; ``is_json``,
            whether the region's serializer writes JSON: then values lie in the engine's envelope.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._store: GuardedStore = arguments["store"]
        self._seconds = float(arguments.get("seconds", _KEPT_SECONDS))
        self._is_json = bool(arguments.get("is_json"))
        self._leases: dict[tuple[str, asyncio.Task[Any] | None], Lease] = {}

    def get_mutex(self, key: str) -> CacheMutex:
        """Return the key's lease as dogpile's lock."""
        return _LeaseMutex(key, self)

    def get_serialized(self, key: str) -> Any:
        """Return the framed value, or nothing: also when the store does not answer."""
        return self.get_serialized_multi([key])[0]

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[Any]:
        """Return the framed values."""
        wanted = list(keys)
        try:
            found: Sequence[bytes | None] = await_only(self._read(wanted))
        except Unavailable:
            found = [None] * len(wanted)
        return [NO_VALUE if value is None else value for value in found]

    def set_serialized(self, key: str, value: Any) -> None:
        """Store a framed value, unless the key is being written or loaded by somebody else."""
        await_only(self._set(key, value))

    def set_serialized_multi(self, mapping: Mapping[str, Any]) -> None:
        """Store framed values."""
        for key, value in mapping.items():
            self.set_serialized(key, value)

    def delete(self, key: str) -> None:
        """Take a value out, and keep a load that is under way from being stored."""
        self.delete_multi([key])

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Take values out."""
        await_only(self._store.remove(frozenset(keys)))

    async def _read(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        found = await self._store.read(keys)
        return [await self._framed(value) for value in found]

    async def _framed(self, value: bytes | None) -> bytes | None:
        """Return a value as dogpile frames it: metadata, a bar, the payload."""
        if value is None or not self._is_json:
            return value
        try:
            found = _envelope(value)
        except msgspec.DecodeError:
            return None
        stamps = await self._store.read(list(found.tags)) if found.tags else ()
        held = [None if stamp is None else stamp.decode() for stamp in stamps]
        if held != list(found.tags.values()):
            return None
        return msgspec.json.encode({"ct": found.ct, "v": found.v}) + b"|" + bytes(found.data)

    async def _set(self, key: str, framed: bytes) -> None:
        value = framed
        if self._is_json:
            payload = msgspec.Raw(framed.partition(b"|")[2])
            made = Envelope(unix_now(), VERSION, _FOREIGN, {}, payload)
            value = msgspec.json.encode(made)
        try:
            lease = self._leases.get(_holder(key)) or await self.take_lease(key)
            if lease is not None:
                await self._store.fill(key, lease.token, value, self._seconds)
        except Unavailable:
            return

    async def take_lease(self, key: str) -> Lease | None:
        """Return the key's lease; None while somebody else has it or writes.

        Raises:
            Unavailable: The store does not answer.
        """
        lease = Lease(new_stamp(), _LEASE_SECONDS)
        fetched = await self._store.fetch(key, (), lease)
        return lease if fetched.state is State.LEASED else None

    def hold(self, key: str, lease: Lease | None) -> Lease | None:
        """Remember or forget the lease of the current task; returns the one it had."""
        former = self._leases.pop(_holder(key), None)
        if lease is not None:
            self._leases[_holder(key)] = lease
        return former

    async def give_back(self, key: str, lease: Lease) -> None:
        """Give a lease back, if it is still held."""
        try:
            await self._store.release(key, lease.token)
        except Unavailable:
            return


class _LeaseMutex(CacheMutex):
    """A lease in the clothes of a lock: its token belongs to the task that holds it."""

    def __init__(self, key: str, backend: StoreBackend) -> None:
        self._key, self._backend = key, backend

    def acquire(self, wait: bool = True) -> bool:  # noqa: FBT001, FBT002 - dogpile's signature
        acquired: bool = await_only(self._acquire(is_patient=wait))
        return acquired

    def release(self) -> None:
        lease = self._backend.hold(self._key, None)
        if lease is not None:
            await_only(self._backend.give_back(self._key, lease))

    def locked(self) -> bool:
        return False

    async def _acquire(self, *, is_patient: bool) -> bool:
        deadline = asyncio.get_running_loop().time() + _LEASE_SECONDS
        while True:
            try:
                lease = await self._backend.take_lease(self._key)
            except Unavailable:
                return True  # without a server everybody loads, and nothing is stored
            if lease is not None:
                self._backend.hold(self._key, lease)
                return True
            if not is_patient:
                return False
            if asyncio.get_running_loop().time() > deadline:
                return True
            await asyncio.sleep(random.uniform(0.005, 0.02))  # noqa: S311 - jitter, no secret


def _holder(key: str) -> tuple[str, "asyncio.Task[Any] | None"]:
    return key, asyncio.current_task()
