"""Streams: what must arrive at a consumer at least once, kept until it was handled.

A consumer group shares the work; what a dead consumer left is claimed by another; what fails again
and again ends in the dead-letter stream with its error. The commands are those of Redis 7 and
Valkey 8. Streams carry news to dashboards and programs: facts whose loss would cost money are in
PostgreSQL's outbox, and `Broadcaster` is how its relay hands them on.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
from redis.exceptions import RedisError, ResponseError

from domain.cache.client import Client
from domain.cache.keys import Keyspace
from domain.clock import now
from domain.errors import InvalidData
from domain.realtime.publishing import Publisher, Update
from domain.realtime.reaching import reaching_redis

_log: Final = logging.getLogger(__name__)

MOST_KEPT: Final = 100_000
"""Entries a stream keeps, about; older ones are trimmed."""

_LONGEST_BLOCK: Final = 5.0
_MOST_DEAD: Final = 10_000
_LONGEST_ERROR: Final = 500


class Event(msgspec.Struct, frozen=True):
    """What travels on a channel of events.

    Args:
        event_id: Lets consumers know a repetition.
        topic: What happened.
        at: When it was announced, UTC.
        data: The payload as it was given, JSON.
        user_id: The tenant; None: everybody.
    """

    event_id: str
    topic: str
    at: datetime
    data: msgspec.Raw
    user_id: UUID | None = None


class Broadcaster(Protocol):
    """Tells dashboards and programs what happened."""

    async def broadcast(
        self,
        topic: str,
        user_id: UUID | None,
        payload: Mapping[str, Any] | bytes,
        event_id: UUID | str,
    ) -> None:
        """Tell one tenant, or everybody when `user_id` is None; staff see all of it.

        Args:
            topic: What happened, for example ``alert_triggered``.
            user_id: Whom it concerns.
            payload: A JSON object, or its bytes; Decimals become strings.
            event_id: Lets consumers know a repetition.

        Raises:
            Unavailable: It may not have arrived: tell it again.
            InvalidData: The payload is no JSON object.
        """


class RedisBroadcaster:
    """Appends to the topic's stream, then publishes.

    Args:
        client: A client for ordinary commands; closed by whoever made it.
        keys: The keyspace.
        most_kept: About how many entries a topic's stream keeps.
    """

    def __init__(self, client: Client, keys: Keyspace, *, most_kept: int = MOST_KEPT) -> None:
        self._client, self._keys, self._most_kept = client, keys, most_kept

    async def broadcast(
        self,
        topic: str,
        user_id: UUID | None,
        payload: Mapping[str, Any] | bytes,
        event_id: UUID | str,
    ) -> None:
        """Tell one tenant, or everybody; see `Broadcaster`."""
        event = event_of(topic, user_id, payload, event_id)
        encoded = msgspec.json.encode(event)
        pipeline: Any = self._client.pipeline(transaction=False)
        pipeline.xadd(
            self._keys.stream(topic), _fields(event), maxlen=self._most_kept, approximate=True
        )
        for channel in _channels(self._keys, event):
            # By a script, because its key says to which node of a cluster it goes.
            pipeline.eval("return redis.call('PUBLISH', KEYS[1], ARGV[1])", 1, channel, encoded)
        with reaching_redis():
            await pipeline.execute()


class MemoryBroadcaster:
    """Publishes in this process; there is no stream.

    Args:
        publisher: Tells everybody.
        keys: The keyspace.
    """

    def __init__(self, publisher: Publisher, keys: Keyspace) -> None:
        self._publisher, self._keys = publisher, keys

    async def broadcast(
        self,
        topic: str,
        user_id: UUID | None,
        payload: Mapping[str, Any] | bytes,
        event_id: UUID | str,
    ) -> None:
        """Tell one tenant, or everybody; see `Broadcaster`."""
        event = event_of(topic, user_id, payload, event_id)
        encoded = msgspec.json.encode(event)
        await self._publisher.publish(
            [Update(channel, encoded) for channel in _channels(self._keys, event)]
        )


def event_of(
    topic: str, user_id: UUID | None, payload: Mapping[str, Any] | bytes, event_id: UUID | str
) -> Event:
    """Return the event that says this.

    Raises:
        InvalidData: The payload is no JSON object.
    """
    try:
        data = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, TypeError, UnicodeDecodeError) as error:
        raise InvalidData("payload", payload, f"be a JSON object: {error}") from None
    return Event(str(event_id), topic, now(), msgspec.Raw(data), user_id)


def _channels(keys: Keyspace, event: Event) -> list[str]:
    return [keys.events(event.topic, event.user_id), keys.staff_events(event.topic)]


def _fields(event: Event) -> dict[Any, Any]:
    owner = {} if event.user_id is None else {"user_id": str(event.user_id)}
    written = {"event_id": event.event_id, "at": event.at.isoformat(), "payload": bytes(event.data)}
    return written | owner


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry of a stream, handed to a consumer.

    Args:
        id: Its place in the stream.
        fields: What was appended.
        deliveries: How many times it was handed out, this time included.
    """

    id: str
    fields: Mapping[str, bytes]
    deliveries: int

    @property
    def event_id(self) -> str:
        """By it a repetition is known."""
        return self.fields["event_id"].decode()

    @property
    def user_id(self) -> UUID | None:
        """The tenant, for a tenant's event."""
        owner = self.fields.get("user_id")
        return None if owner is None else UUID(owner.decode())

    @property
    def payload(self) -> Any:
        """The payload, decoded."""
        return msgspec.json.decode(self.fields["payload"])


Handler = Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How a consumer waits; seconds.

    Args:
        block: How long one read waits for entries, at most 5.
        idle: After this long without an acknowledgement an entry is handed out again.
        deliveries: An entry that fails this often goes to the dead letters.
        batch: Entries of one read.
        longest_pause: The longest pause while Redis cannot be reached.

    Raises:
        InvalidData: `block` is not above 0 and at most 5.
    """

    block: float = 2.0
    idle: float = 30.0
    deliveries: int = 5
    batch: int = 100
    longest_pause: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.block <= _LONGEST_BLOCK:
            raise InvalidData(
                "block", self.block, f"be above 0, at most {_LONGEST_BLOCK:g} seconds"
            )


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind.

    Args:
        waiting: Entries that were never handed out; None when the server cannot tell.
        pending: Entries that were handed out and not acknowledged.
        dead: Entries among the dead letters.
    """

    waiting: int | None
    pending: int
    dead: int


@dataclass(slots=True)
class Tally:
    """What a consumer has done.

    Args:
        handled: Entries handled and acknowledged.
        failed: Times that the handler raised.
        claimed: Entries taken over after they were idle.
        dead: Entries moved to the dead letters.
        trimmed: Entries that were trimmed from the stream before they were handled.
    """

    handled: int = 0
    failed: int = 0
    claimed: int = 0
    dead: int = 0
    trimmed: int = 0


@dataclass(eq=False)
class Consumer:
    """One member of a consumer group. It handles entries one after the other.

    Args:
        client: A client for blocking use, of this consumer alone; closed by whoever made it.
        keys: The keyspace.
        topic: Whose stream.
        group: The group that shares the work; made from the stream's beginning when missing.
        name: This member's name, not used by another one.
        handle: Handles an entry; what it raises makes the entry come back later.
        patience: Waiting and giving up.
    """

    client: Client
    keys: Keyspace
    topic: str
    group: str
    name: str
    handle: Handler
    patience: Patience = field(default_factory=Patience)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._stream = self.keys.stream(self.topic)
        self._dead = self.keys.dead_letters(self.topic)
        self._stopping = asyncio.Event()
        self._failures = 0
        self._claimed_at: float | None = None

    def stop(self) -> None:
        """Let `run` end after the entry it handles now, within the blocking time."""
        self._stopping.set()

    async def run(self) -> None:
        """Handle entries until `stop`; what was read and not begun is left for the others."""
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(None) as watch:
                    await self._turn(watch)
                self._failures = 0
            except (RedisError, OSError) as error:
                _log.warning("stream %s: %s", self._stream, type(error).__name__)
                await self._recover(error)
        await self._leave()

    async def lag(self) -> Lag:
        """Return how far the group is behind.

        Raises:
            Unavailable: Redis could not be asked.
        """
        with reaching_redis():
            await self._ensure_group()
            groups = await self.client.xinfo_groups(self._stream)
            dead = await self.client.xlen(self._dead)
        mine = next(item for item in groups if _text(item["name"]) == self.group)
        return Lag(mine.get("lag"), mine["pending"], dead)

    async def _turn(self, watch: asyncio.Timeout) -> None:
        """Read once and handle what came."""
        # Only the commands are watched: a handler may take its time.
        loop = asyncio.get_running_loop()
        watch.reschedule(loop.time() + self.patience.block + _LONGEST_BLOCK)
        if self._failures or self._claimed_at is None:
            await self._ensure_group()
        deliveries = await self._claim() if self._is_claim_due(loop.time()) else []
        deliveries = deliveries or await self._read()
        for delivery in deliveries:
            if self._stopping.is_set():
                return
            watch.reschedule(None)
            error = await self._attempt(delivery)
            watch.reschedule(loop.time() + _LONGEST_BLOCK)
            await self._settle(delivery, error)

    def _is_claim_due(self, instant: float) -> bool:
        pause = min(self.patience.idle / 2, _LONGEST_BLOCK)
        if self._claimed_at is not None and instant - self._claimed_at < pause:
            return False
        self._claimed_at = instant
        return True

    async def _ensure_group(self) -> None:
        try:
            await self.client.xgroup_create(self._stream, self.group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _read(self) -> Sequence[Delivery]:
        found: Any = await self.client.xreadgroup(
            self.group,
            self.name,
            {self._stream: ">"},
            count=self.patience.batch,
            block=int(self.patience.block * 1_000),
        )
        return [_delivery(ident, fields, 1) for _, entries in found for ident, fields in entries]

    async def _claim(self) -> Sequence[Delivery]:
        """Take over what was not acknowledged for too long, this member's own failures too."""
        idle = int(self.patience.idle * 1_000)
        answer: Any = await self.client.xautoclaim(
            self._stream, self.group, self.name, idle, "0-0", count=self.patience.batch
        )
        self.tally.trimmed += len(answer[2]) if len(answer) > 2 else 0  # noqa: PLR2004 - its third part
        claimed = [item for item in answer[1] if item[1] is not None]
        if not claimed:
            return []
        counts = await self._counts(claimed[0][0], claimed[-1][0], len(claimed))
        self.tally.claimed += len(claimed)
        return [_delivery(ident, fields, counts.get(ident, 1)) for ident, fields in claimed]

    async def _counts(self, first: bytes, last: bytes, count: int) -> Mapping[bytes, int]:
        pending: Any = await self.client.xpending_range(
            self._stream, self.group, min=first, max=last, count=count, consumername=self.name
        )
        return {item["message_id"]: item["times_delivered"] for item in pending}

    async def _attempt(self, delivery: Delivery) -> str | None:
        """Handle an entry; return what went wrong."""
        if delivery.deliveries > self.patience.deliveries:
            return f"not answered in {delivery.deliveries - 1} deliveries"
        try:
            await self.handle(delivery)
        except Exception as error:  # noqa: BLE001 - a handler may fail in any way; the rest flows
            self.tally.failed += 1
            _log.warning("stream %s: entry %s failed", self._stream, delivery.id, exc_info=True)
            return f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
        return None

    async def _settle(self, delivery: Delivery, error: str | None) -> None:
        if error is None:
            await self.client.xack(self._stream, self.group, delivery.id)
            self.tally.handled += 1
        elif delivery.deliveries >= self.patience.deliveries:
            await self._bury(delivery, error)
            self.tally.dead += 1

    async def _bury(self, delivery: Delivery, error: str) -> None:
        about = {
            "id": delivery.id,
            "group": self.group,
            "error": error,
            "deliveries": delivery.deliveries,
            "died_at": now().isoformat(),
        }
        entry: Any = {**delivery.fields, **about}
        async with self.client.pipeline(transaction=True) as pipeline:
            pipeline.xadd(self._dead, entry, maxlen=_MOST_DEAD, approximate=True)
            pipeline.xack(self._stream, self.group, delivery.id)
            await pipeline.execute()

    async def _recover(self, error: Exception) -> None:
        self._failures += 1
        if "NOGROUP" in str(error):
            # The server forgot everything: `_turn` makes the group again, at once.
            return
        longest = min(0.05 * 2 ** min(self._failures, 30), self.patience.longest_pause)
        pause = longest * random.uniform(0.5, 1)  # noqa: S311 - no secret
        try:
            async with asyncio.timeout(pause):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _leave(self) -> None:
        """Take this member off the list, unless it holds entries: they would be lost."""
        try:
            async with asyncio.timeout(_LONGEST_BLOCK):
                pending: Any = await self.client.xpending_range(
                    self._stream, self.group, min="-", max="+", count=1, consumername=self.name
                )
                if not pending:
                    await self.client.xgroup_delconsumer(self._stream, self.group, self.name)
        except (RedisError, OSError) as error:
            _log.warning("stream %s: left without notice: %s", self._stream, type(error).__name__)


def _delivery(ident: Any, fields: Mapping[bytes, bytes], deliveries: int) -> Delivery:
    return Delivery(_text(ident), {_text(name): item for name, item in fields.items()}, deliveries)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
