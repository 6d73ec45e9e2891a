"""Hands facts to whoever listens now. Nobody waits for listeners, and nothing is kept for them."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from domain.clock import now
from domain.db.unit import UnitOfWork
from domain.messaging.consuming import Consumer, Handler, Received
from domain.messaging.messages import KINDS, Fact, Notice, TradeIngested

STALE_AFTER: Final = timedelta(minutes=1)
"""Older messages are not told to live listeners: they have read the tables since."""

_FOR_MACHINES: Final = (TradeIngested, Notice)


class Broadcaster(Protocol):
    """Something that reaches live listeners: Redis for many processes, `Listeners` for one."""

    async def broadcast(self, message: Fact, event_id: UUID) -> None:
        """Tell one fact, soon and at most to those who listen.

        Args:
            message: The fact.
            event_id: Its own id, by which listeners know a repetition.

        Raises:
            Unavailable: Listeners cannot be reached now; the relay tries again soon.
        """


def live_consumer(broadcaster: Broadcaster) -> Consumer:
    """Return the consumer that tells live listeners what happened, besides all other consumers.

    A worker that dies between telling and noting tells it again: listeners know a repetition by
    its id.
    """
    kinds = tuple(kind for kind in KINDS if kind not in _FOR_MACHINES)
    return Consumer("live", kinds, _telling(broadcaster), batch=100)


def _telling(broadcaster: Broadcaster) -> Handler:
    async def tell(unit: UnitOfWork, received: Sequence[Received[Any]]) -> None:
        del unit
        fresh = now() - STALE_AFTER
        for item in received:
            if item.written_at >= fresh:
                await broadcaster.broadcast(item.message, item.event_id)

    return tell


@dataclass
class Subscription:
    """What one listener has not read yet; a full one loses the oldest and says so.

    Args:
        topics: What it listens to; None for everything.
        size: Messages kept.
        lost: Messages that were dropped because it was too slow.
    """

    topics: Collection[str] | None
    size: int
    lost: int = 0
    _queue: asyncio.Queue[Fact] = field(init=False)

    def __post_init__(self) -> None:
        self._queue = asyncio.Queue(self.size)

    def take(self, message: Fact) -> None:
        """Keep a message that is listened to."""
        if self.topics is not None and message.topic not in self.topics:
            return
        if self._queue.full():
            self._queue.get_nowait()
            self.lost += 1
        self._queue.put_nowait(message)

    async def __aiter__(self) -> AsyncIterator[Fact]:
        """Yield messages as they come, without end."""
        while True:
            yield await self._queue.get()


@dataclass
class Listeners:
    """A broadcaster inside one process."""

    _open: list[Subscription] = field(default_factory=list)

    async def broadcast(self, message: Fact, event_id: UUID) -> None:
        """Give a message to everybody who listens; a slow listener delays nobody."""
        del event_id
        for subscription in self._open:
            subscription.take(message)

    @contextmanager
    def listening(
        self, topics: Collection[str] | None = None, *, size: int = 100
    ) -> Iterator[Subscription]:
        """Listen while the block runs.

        Args:
            topics: What to listen to; None for everything.
            size: Unread messages that are kept, at least 1.

        Example:
            with listeners.listening({"alert_triggered"}) as heard:
                async for message in heard:
                    print(message.title)
        """
        subscription = Subscription(topics, size)
        self._open.append(subscription)
        try:
            yield subscription
        finally:
            self._open.remove(subscription)
