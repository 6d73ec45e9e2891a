"""What waits for one subscriber: a bounded queue that says when something is missing.

A slow subscriber costs itself: the oldest message goes, and a `Gap` names its channel.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self

MOST_WAITING: Final = 1_000
"""Messages that wait for one subscriber before the oldest is dropped."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of one channel.

    Args:
        channel: The channel's full name.
        data: What was published, JSON as bytes.
    """

    channel: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages may be missing: read the snapshots of these channels again.

    Args:
        channels: Full names.
        dropped: How many of this subscriber's messages are known to be lost; 0 after a lost
            connection, when nobody knows.
    """

    channels: frozenset[str]
    dropped: int = 0


Change = Callable[["Subscription", Iterable[str]], Awaitable[None]]


class Subscription:
    """One subscriber's messages; a hub makes it.

    Iterate to get messages and gaps until it or its hub is closed; use it as an async context
    manager, or call `aclose`. Only one task may iterate.

    Args:
        join: Adds the subscription to channels.
        leave: Takes it from them.
        conflates: Whether of a channel only the newest message counts.
        limit: Messages that wait before the oldest is dropped.
    """

    def __init__(
        self,
        join: Change,
        leave: Change,
        *,
        conflates: Callable[[str], bool],
        limit: int = MOST_WAITING,
    ) -> None:
        self.channels: set[str] = set()
        self.dropped = 0
        self.conflated = 0
        self._join, self._leave, self._conflates = join, leave, conflates
        self._limit = limit
        self._waiting: OrderedDict[str | int, Message] = OrderedDict()
        self._missing: set[str] = set()
        self._lost = 0
        self._number = 0
        self._something = asyncio.Event()
        self._is_closed = False

    async def add(self, *channels: str) -> None:
        """Subscribe to more channels; what is published after this returned arrives here."""
        await self._join(self, channels)

    async def remove(self, *channels: str) -> None:
        """Leave channels; of what waits, nothing of them is delivered."""
        await self._leave(self, channels)
        for key in [key for key, item in self._waiting.items() if item.channel in channels]:
            del self._waiting[key]
        self._missing.difference_update(channels)

    async def aclose(self) -> None:
        """Leave all channels and end the iteration."""
        self.end()
        await self._leave(self, tuple(self.channels))

    def end(self) -> None:
        """End the iteration after what waits."""
        self._is_closed = True
        self._something.set()

    def put(self, message: Message) -> None:
        """Let a message wait; where only the newest counts it takes the place of the old one."""
        if self._conflates(message.channel):
            self.conflated += message.channel in self._waiting
            self._waiting[message.channel] = message
        else:
            self._number += 1
            self._waiting[self._number] = message
        if len(self._waiting) > self._limit:
            _, oldest = self._waiting.popitem(last=False)
            self.dropped += 1
            self._lost += 1
            self._missing.add(oldest.channel)
        self._something.set()

    def miss(self, channels: Iterable[str]) -> None:
        """Say that messages of these channels may be missing."""
        self._missing.update(channels)
        if self._missing:
            self._something.set()

    @property
    def is_ended(self) -> bool:
        """Whether nothing more is put into it."""
        return self._is_closed

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Message | Gap:
        """Wait for the next message; a gap comes before the messages that follow it."""
        while True:
            if self._missing:
                gap = Gap(frozenset(self._missing), self._lost)
                self._missing, self._lost = set(), 0
                return gap
            if self._waiting:
                return self._waiting.popitem(last=False)[1]
            if self._is_closed:
                raise StopAsyncIteration
            self._something.clear()
            await self._something.wait()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave all channels."""
        await self.aclose()
