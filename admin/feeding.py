"""What one connection is told, in order: a snapshot first, then what changes, and every gap.

The WebSocket and the event stream write the same frames, each in its own way.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from admin.channels import Channel
from domain.errors import Unavailable
from domain.realtime import Gap, Live, Message, Subscription

MOST_WAITING: Final = 500
"""Messages that wait for one connection."""

_AGAIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing to tell.

    Args:
        kind: ``snapshot``, ``update`` or ``gap``.
        channels: The client's names; one, but for a gap.
        data: JSON; of a snapshot ``null`` when there is none.
        dropped: Of a gap: how many messages are known to be lost.
    """

    kind: str
    channels: tuple[str, ...]
    data: bytes = b"null"
    dropped: int = 0


class _Dated(msgspec.Struct):
    time: datetime


_TIMES: Final = msgspec.json.Decoder(_Dated)


class Feed:
    """The channels of one connection.

    Args:
        live: Where they are.
        subscription: An empty subscription, of this feed alone.
    """

    def __init__(self, live: Live, subscription: Subscription) -> None:
        self._live, self._subscription = live, subscription
        self._channels: dict[str, Channel] = {}
        self._names: dict[str, str] = {}
        self._opening: set[str] = set()
        self._floors: dict[str, datetime] = {}

    @property
    def names(self) -> list[str]:
        """What is listened to, by the client's names."""
        return list(self._channels)

    async def add(self, channels: Iterable[Channel]) -> list[str]:
        """Listen to these too; return the names that are new."""
        fresh = [channel for channel in channels if channel.name not in self._channels]
        sources = []
        for channel in fresh:
            self._channels[channel.name] = channel
            for source in channel.sources:
                if source not in self._names:
                    self._names[source] = channel.name
                    sources.append(source)
        # Until its snapshot was read, an update of these would be older than that.
        opening = [source for channel in fresh if channel.snapshot for source in channel.sources]
        self._opening.update(opening)
        await self._subscription.add(*sources)
        self._subscription.miss(opening)
        return [channel.name for channel in fresh]

    async def remove(self, names: Iterable[str]) -> list[str]:
        """Listen to these no more; return those that were listened to."""
        gone = [name for name in dict.fromkeys(names) if name in self._channels]
        for name in gone:
            del self._channels[name]
        kept = {
            source: channel.name
            for channel in reversed(self._channels.values())
            for source in channel.sources
        }
        left = self._names.keys() - kept.keys()
        self._names = kept
        self._opening -= left
        for source in left:
            self._floors.pop(source, None)
        await self._subscription.remove(*left)
        return gone

    async def frames(self) -> AsyncIterator[Frame]:
        """Give frames until the subscription ends."""
        async for item in self._subscription:
            if isinstance(item, Gap):
                async for frame in self._after_gap(item):
                    yield frame
            elif (frame_of := self._update(item)) is not None:
                yield frame_of

    def _update(self, message: Message) -> Frame | None:
        name = self._names.get(message.channel)
        if name is None or message.channel in self._opening:
            return None
        floor = self._floors.get(message.channel)
        if floor is not None:
            # It waited while the snapshot was read, which is newer.
            time = _time_of(message.data)
            if time is not None and time < floor:
                return None
            del self._floors[message.channel]
        return Frame("update", (name,), message.data)

    async def _after_gap(self, gap: Gap) -> AsyncIterator[Frame]:
        missed = [source for source in gap.channels if source in self._names]
        lost = {self._names[source] for source in missed if source not in self._opening}
        if lost:
            yield Frame("gap", tuple(sorted(lost)), dropped=gap.dropped)
        wanted = {
            channel.snapshot: (source, channel.name)
            for source in missed
            if (channel := self._channels[self._names[source]]).snapshot
        }
        found = await self._snapshots(wanted, missed)
        for key, (source, name) in wanted.items():
            self._opening.discard(source)
            if key in found and (time := _time_of(found[key])) is not None:
                self._floors[source] = time
            yield Frame("snapshot", (name,), found.get(key, b"null"))

    async def _snapshots(self, keys: Iterable[str], missed: list[str]) -> Mapping[str, bytes]:
        try:
            return await self._live.publisher.snapshots(keys)
        except Unavailable:
            asyncio.get_running_loop().call_later(_AGAIN, self._subscription.miss, missed)
            return {}


def _time_of(data: bytes) -> datetime | None:
    try:
        return _TIMES.decode(data).time
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
