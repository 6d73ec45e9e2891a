"""Tells everybody: the snapshot and the message together, so that who subscribes late misses none.

One script sets the key and publishes, as atomic as a MULTI: and because its only key names the
slot, the same pipeline of any number of updates works on a cluster.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.cache.client import Client
from domain.clock import now
from domain.errors import InvalidData
from domain.realtime.hub import MemoryHub
from domain.realtime.reaching import reaching_redis

_PUBLISH: Final = """\
if ARGV[1] ~= '0' then redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[1]) end
return redis.call('PUBLISH', ARGV[2], ARGV[3])"""


@dataclass(frozen=True, slots=True)
class Update:
    """One message, and the key under which its newest state stays.

    Args:
        channel: The channel's full name.
        data: JSON.
        key: The snapshot's key, in the channel's slot; None: there is no snapshot.
        seconds: How long the snapshot lives.

    Raises:
        InvalidData: A snapshot without a life, or a life without a snapshot.
    """

    channel: str
    data: bytes
    key: str | None = None
    seconds: int = 0

    def __post_init__(self) -> None:
        if (self.key is None) != (self.seconds <= 0):
            raise InvalidData("seconds", self.seconds, "be given with the key, above 0")


class Publisher(ABC):
    """Publishes updates and reads their snapshots."""

    @abstractmethod
    async def publish(self, updates: Sequence[Update]) -> None:
        """Publish in this order, in one round trip.

        Raises:
            Unavailable: Redis could not be told; some of it may have arrived.
        """

    @abstractmethod
    async def snapshots(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        """Return those of `keys` that are there.

        Raises:
            Unavailable: Redis could not be asked.
        """


class RedisPublisher(Publisher):
    """Publishes through Redis or Valkey.

    Args:
        client: A client for ordinary commands; closed by whoever made it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def publish(self, updates: Sequence[Update]) -> None:
        """Publish in this order, in one round trip."""
        pipeline: Any = self._client.pipeline(transaction=False)
        for item in updates:
            slot = item.key or item.channel
            pipeline.eval(_PUBLISH, 1, slot, item.seconds, item.channel, item.data)
        with reaching_redis():
            await pipeline.execute()

    async def snapshots(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        """Return those of `keys` that are there, in one round trip."""
        wanted = list(keys)
        pipeline: Any = self._client.pipeline(transaction=False)
        for key in wanted:
            pipeline.get(key)
        with reaching_redis():
            found = await pipeline.execute() if wanted else []
        return {key: value for key, value in zip(wanted, found, strict=True) if value is not None}


class MemoryPublisher(Publisher):
    """Publishes to the hub of this process.

    Args:
        hub: Who delivers.
    """

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self._snapshots: dict[str, tuple[float, bytes]] = {}

    async def publish(self, updates: Sequence[Update]) -> None:
        """Publish in this order."""
        instant = now().timestamp()
        for item in updates:
            if item.key is not None:
                self._snapshots[item.key] = (instant + item.seconds, item.data)
            self._hub.deliver(item.channel, item.data)

    async def snapshots(self, keys: Iterable[str]) -> Mapping[str, bytes]:
        """Return those of `keys` that are there."""
        instant = now().timestamp()
        found = {key: self._snapshots.get(key) for key in keys}
        return {key: item[1] for key, item in found.items() if item and item[0] > instant}
