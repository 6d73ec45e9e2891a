"""The hub: however many subscribers a process has, Redis sees one connection.

Channels are counted: the first subscriber subscribes, the last one unsubscribes. Pub/sub forgets
what is published while a connection is down, so after each reconnection every subscriber gets a
`Gap`. On a cluster one connection to any node is enough, because PUBLISH reaches all nodes;
redis-py's sharded pub/sub asks its nodes in turn, each with its own wait, and holds one connection
a node.
"""

import asyncio
import contextlib
import logging
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self

from redis.exceptions import RedisError

from domain.cache.client import Client
from domain.realtime.subscriptions import MOST_WAITING, Message, Subscription

_log: Final = logging.getLogger(__name__)
_MOST_IN_ONE_COMMAND: Final = 500


@dataclass(frozen=True, slots=True)
class Timing:
    """How a hub treats its connection; seconds.

    Args:
        heartbeat: Pause between pings; two of them without any answer end the connection.
        connect: A connection that is not ready by then is given up.
        confirm: How long `subscribe` waits for the server's word before it leaves the rest to the
            gap that follows a reconnection.
        first_pause: Pause after the first failure; it doubles with each further one.
        longest_pause: No pause is longer.
    """

    heartbeat: float = 5.0
    connect: float = 5.0
    confirm: float = 1.0
    first_pause: float = 0.05
    longest_pause: float = 5.0


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """What a hub has done since it was made.

    Args:
        channels: Channels that somebody listens to now.
        subscribers: Subscriptions that are open now.
        received: Messages from the server or, in memory, from publishers.
        dropped: Messages that open subscriptions lost because they were slow.
        conflated: Messages that newer ones of the same channel replaced.
        reconnections: Connections after the first one.
        is_connected: Whether messages arrive now.
    """

    channels: int
    subscribers: int
    received: int
    dropped: int
    conflated: int
    reconnections: int
    is_connected: bool


@dataclass(eq=False)
class _Channel:
    subscribers: set[Subscription] = field(default_factory=set)
    live: asyncio.Event = field(default_factory=asyncio.Event)
    was_lost: bool = False


def nothing_conflates(_: str) -> bool:
    """Keep every message of every channel."""
    return False


class Hub(ABC):
    """Hands messages to subscribers in this process; use it as an async context manager.

    Args:
        conflates: Whether of a channel only the newest message counts for who is slow.
    """

    def __init__(self, *, conflates: Callable[[str], bool] = nothing_conflates) -> None:
        self._conflates = conflates
        self._channels: dict[str, _Channel] = {}
        self._open: set[Subscription] = set()
        self._received = 0
        self._gone: Counter[str] = Counter()
        self._is_closed = False

    async def subscribe(self, *channels: str, limit: int = MOST_WAITING) -> Subscription:
        """Return a subscription to `channels`; what is published from now on arrives there.

        So subscribe first and read the snapshot then: nothing falls between the two.

        Args:
            *channels: Full names.
            limit: Messages that may wait.
        """
        subscription = Subscription(self._join, self._leave, conflates=self._conflates, limit=limit)
        self._open.add(subscription)
        if self._is_closed:
            subscription.end()
        try:
            await self._join(subscription, channels)
        except BaseException:
            subscription.end()
            self._forget(subscription, channels)
            raise
        return subscription

    async def aclose(self) -> None:
        """End every subscription and let go of the connection."""
        self._is_closed = True
        for subscription in self._open:
            subscription.end()

    def statistics(self) -> HubStatistics:
        """Return what the hub has done."""
        return HubStatistics(
            channels=len(self._channels),
            subscribers=len(self._open),
            received=self._received,
            dropped=self._gone["dropped"] + sum(item.dropped for item in self._open),
            conflated=self._gone["conflated"] + sum(item.conflated for item in self._open),
            reconnections=self._reconnections,
            is_connected=self._is_connected,
        )

    def deliver(self, channel: str, data: bytes) -> int:
        """Hand a message to those who listen to `channel`; return how many they are."""
        self._received += 1
        found = self._channels.get(channel)
        if found is None:
            return 0
        message = Message(channel, data)
        for subscription in found.subscribers:
            subscription.put(message)
        return len(found.subscribers)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    @property
    @abstractmethod
    def _reconnections(self) -> int: ...

    @property
    @abstractmethod
    def _is_connected(self) -> bool: ...

    @abstractmethod
    async def _opened(self, channels: Iterable[str], joined: Iterable[_Channel]) -> None:
        """Get messages of `channels`, the new ones, and wait until all of `joined` are live."""

    @abstractmethod
    def _deserted(self, channels: Iterable[str]) -> None:
        """Get no more messages of these channels."""

    async def _join(self, subscription: Subscription, names: Iterable[str]) -> None:
        fresh, joined = [], []
        for name in names:
            if name not in self._channels:
                self._channels[name] = _Channel()
                fresh.append(name)
            channel = self._channels[name]
            channel.subscribers.add(subscription)
            subscription.channels.add(name)
            joined.append(channel)
        await self._opened(fresh, joined)

    async def _leave(self, subscription: Subscription, names: Iterable[str]) -> None:
        self._forget(subscription, names)

    def _forget(self, subscription: Subscription, names: Iterable[str]) -> None:
        deserted = []
        for name in names:
            subscription.channels.discard(name)
            channel = self._channels.get(name)
            if channel is None:
                continue
            channel.subscribers.discard(subscription)
            if not channel.subscribers:
                del self._channels[name]
                deserted.append(name)
        if not subscription.channels and subscription in self._open and subscription.is_ended:
            self._open.discard(subscription)
            self._gone.update(dropped=subscription.dropped, conflated=subscription.conflated)
        if deserted:
            self._deserted(deserted)


class MemoryHub(Hub):
    """A hub for one process without Redis."""

    @property
    def _reconnections(self) -> int:
        return 0

    @property
    def _is_connected(self) -> bool:
        return not self._is_closed

    async def _opened(self, channels: Iterable[str], joined: Iterable[_Channel]) -> None:
        del channels
        for channel in joined:
            channel.live.set()

    def _deserted(self, channels: Iterable[str]) -> None:
        pass


class RedisHub(Hub):
    """A hub on one connection to Redis or Valkey, made with the first subscription.

    Args:
        client: A client for blocking use; closed by whoever made it.
        conflates: See `Hub`.
        timing: Heartbeat, patience and pauses.
    """

    def __init__(
        self,
        client: Client,
        *,
        conflates: Callable[[str], bool] = nothing_conflates,
        timing: Timing | None = None,
    ) -> None:
        super().__init__(conflates=conflates)
        self._client = client
        self._timing = timing or Timing()
        self._commands: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._unconfirmed: Counter[str] = Counter()
        self._connections = 0
        self._connected = False
        self._heard_at = 0.0
        self._running: asyncio.Task[None] | None = None

    @property
    def _reconnections(self) -> int:
        return max(self._connections - 1, 0)

    @property
    def _is_connected(self) -> bool:
        return self._connected

    async def aclose(self) -> None:
        """End every subscription, close the connection, and wait until no task is left."""
        await super().aclose()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def _opened(self, channels: Iterable[str], joined: Iterable[_Channel]) -> None:
        if self._is_closed:
            return
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="hub")
        for name in channels:
            self._commands.put_nowait(("SUBSCRIBE", name))
        waiting = [channel for channel in joined if not channel.live.is_set()]
        try:
            async with asyncio.timeout(self._timing.confirm):
                for channel in waiting:
                    await channel.live.wait()
        except TimeoutError:
            for channel in waiting:
                channel.was_lost = channel.was_lost or not channel.live.is_set()

    def _deserted(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._commands.put_nowait(("UNSUBSCRIBE", channel))

    async def _run(self) -> None:
        failures = 0
        while True:
            before = self._connections
            try:
                await self._converse()
            except* (RedisError, OSError) as group:
                _log.warning("the hub lost its connection: %s", _first(group))
            except* Exception:  # noqa: BLE001 - whatever the driver does, listeners must not wait for ever
                _log.exception("the hub lost its connection")
            self._lose()
            failures = 0 if self._connections > before else failures + 1
            await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        doubled: float = self._timing.first_pause * 2 ** min(failures, 30)
        longest = min(doubled, self._timing.longest_pause)
        # All processes lost the server at one instant: they must not come back at one.
        return longest * random.uniform(0.5, 1)  # noqa: S311 - no secret

    async def _converse(self) -> None:
        """Connect, subscribe to everything, and carry messages until the connection is lost."""
        async with asyncio.timeout(self._timing.connect):
            await self._client.initialize()
        # A fresh one each time: redis-py's own reconnection is silent, and silence hides a gap.
        pubsub: Any = self._client.pubsub()
        try:
            async with asyncio.timeout(self._timing.connect):
                await pubsub.execute_command("PING")
            self._connections += 1
            self._heard_at = asyncio.get_running_loop().time()
            self._restart_commands()
            self._connected = True
            async with asyncio.TaskGroup() as both:
                both.create_task(self._read(pubsub), name="hub reader")
                both.create_task(self._write(pubsub), name="hub writer")
        finally:
            self._connected = False
            with contextlib.suppress(RedisError, OSError):
                await pubsub.aclose()

    def _restart_commands(self) -> None:
        self._commands = asyncio.Queue()
        self._unconfirmed.clear()
        for name in self._channels:
            self._commands.put_nowait(("SUBSCRIBE", name))

    def _lose(self) -> None:
        for channel in self._channels.values():
            channel.was_lost = channel.was_lost or channel.live.is_set()
            channel.live.clear()

    async def _read(self, pubsub: Any) -> None:
        loop = asyncio.get_running_loop()
        while True:
            answer = await pubsub.get_message(timeout=None)
            self._heard_at = loop.time()
            if answer is None:
                continue
            if answer["type"] == "message":
                self.deliver(answer["channel"].decode(), answer["data"])
            elif answer["type"] == "subscribe":
                self._confirm(answer["channel"].decode())

    def _confirm(self, name: str) -> None:
        # An earlier SUBSCRIBE may be answered after a later UNSUBSCRIBE was sent.
        self._unconfirmed[name] -= 1
        channel = self._channels.get(name)
        if channel is None or self._unconfirmed[name] > 0:
            return
        del self._unconfirmed[name]
        channel.live.set()
        if channel.was_lost:
            channel.was_lost = False
            for subscription in channel.subscribers:
                subscription.miss([name])

    async def _write(self, pubsub: Any) -> None:
        """Send what is asked, and a ping when nothing is; fail when the server is silent."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(self._timing.heartbeat):
                    first = await self._commands.get()
            except TimeoutError:
                if loop.time() - self._heard_at > 2 * self._timing.heartbeat:
                    raise ConnectionError("no answer to a ping") from None
                await pubsub.execute_command("PING")
                continue
            for verb, names in self._gathered(first):
                if verb == "SUBSCRIBE":
                    self._unconfirmed.update(names)
                await pubsub.execute_command(verb, *names)

    def _gathered(self, first: tuple[str, str]) -> list[tuple[str, list[str]]]:
        """Return all that is asked, in order; neighbours of one kind in one command."""
        asked = [first]
        while not self._commands.empty():
            asked.append(self._commands.get_nowait())
        commands: list[tuple[str, list[str]]] = []
        for verb, name in asked:
            if (
                not commands
                or commands[-1][0] != verb
                or len(commands[-1][1]) >= _MOST_IN_ONE_COMMAND
            ):
                commands.append((verb, []))
            commands[-1][1].append(name)
        return commands


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
