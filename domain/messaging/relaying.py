"""Delivers what waits in the outbox: at least once, with exactly one effect, in order of keys.

A consumer's effects and the note that it handled a message are one transaction, so a process that
dies at any instant has either done both or neither. There is no cursor: ids count up before
commits happen, and a message that is committed late would be behind it. What a consumer has not
noted waits for it.

Messages of one key are handled by one worker at a time: a transaction first takes the lock of
each key and then reads again what still waits, because what it saw before it had the lock may be
done by now. A message that fails holds the later ones of its key, for that consumer alone, until
it was handled or is dead.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Row, Text, bindparam, text

from domain.db.connection import Connections
from domain.db.unit import UnitOfWork
from domain.errors import CheckFailed, ConflictingTrade, InvalidData, RejectedValue, Unavailable
from domain.messaging.consuming import Consumer, Patience, Received
from domain.messaging.messages import Fact, decoded
from domain.messaging.redacting import reason_of

WINDOW: Final = 2_000
"""Waiting messages that are looked at, at once."""

_LOOKS: Final = 3
_SETTLED_AT_ONCE: Final = 1_000
# Trying again does not make a wrong value right.
_HOPELESS: Final = (InvalidData, ConflictingTrade, CheckFailed, RejectedValue)
_LOG: Final = logging.getLogger("tradekeep.messaging")


class Waiting(NamedTuple):
    """A message that a consumer has not handled.

    Args:
        id: Its number.
        lane: Its tenant and key; its own id when it has no key.
    """

    id: int
    lane: str


@dataclass
class Relay:
    """Hands waiting messages to consumers; any number of workers may do so at once.

    Args:
        db: An open database.
        consumers: All that there are: a message is published when each of its consumers is done.
        patience: Time-outs and pauses.
    """

    db: Connections[Any, Any]
    consumers: Sequence[Consumer]
    patience: Patience = field(default_factory=Patience)
    is_stopping: bool = False

    async def deliver(self, consumer: Consumer) -> int:
        """Hand one window of waiting messages to a consumer; return how many left the queue.

        Raises:
            Unavailable: The database cannot be reached; nothing was counted as a failure.
        """
        busy: list[str] = []
        for _ in range(_LOOKS):
            waiting = await self._look(consumer, busy)
            done = await self._hand_over(consumer, waiting)
            if done or not waiting:
                return done
            # Others have these keys; behind them there may be keys that nobody has.
            busy += {item.lane for item in waiting}
        return 0

    async def settle(self) -> int:
        """Mark messages as published that every consumer has handled or failed; return how many.

        What a consumer failed on is kept beside the outbox and is tried from there.
        """
        pairs = [(topic, item.name) for item in self.consumers for topic in item.topics]
        given = {
            "topics": [topic for topic, _ in pairs],
            "names": [name for _, name in pairs],
            "limit": _SETTLED_AT_ONCE,
        }
        async with self.db.transaction(system="relay") as unit:
            result = await unit.session.execute(_SETTLE, given)
        return int(result.rowcount)

    async def _look(self, consumer: Consumer, busy: list[str]) -> list[Waiting]:
        given = {"consumer": consumer.name, "topics": consumer.topics, "busy": busy}
        async with self.db.read(system=f"consumer {consumer.name}") as unit:
            found = await unit.session.execute(_LOOK, given | {"window": WINDOW})
        return [Waiting(*row) for row in found]

    async def _hand_over(self, consumer: Consumer, waiting: Sequence[Waiting]) -> int:
        done, blocked = 0, set[str]()
        for chunk in _chunks(waiting, consumer.batch):
            if self.is_stopping:
                break
            done += await self._deliver(consumer, chunk, blocked)
        return done

    async def _deliver(
        self, consumer: Consumer, chunk: Sequence[Waiting], blocked: set[str]
    ) -> int:
        """Deliver together; what fails is halved until the failing message is alone."""
        free = [item for item in chunk if item.lane not in blocked]
        if not free:
            return 0
        try:
            return await self._attempt(consumer, free, blocked)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its message's failure
            if len(free) == 1:
                is_dead = await self._fail(consumer, free[0], error)
                blocked |= set() if is_dead else {free[0].lane}
                return 0 if is_dead is None else 1
        half = len(free) // 2
        first = await self._deliver(consumer, free[:half], blocked)
        return first + await self._deliver(consumer, free[half:], blocked)

    async def _attempt(
        self, consumer: Consumer, chunk: Sequence[Waiting], blocked: set[str]
    ) -> int:
        async with self.db.transaction(system=f"consumer {consumer.name}") as unit:
            mine = await _lock(unit, consumer, {item.lane for item in chunk})
            blocked |= {item.lane for item in chunk} - mine
            ids = [item.id for item in chunk if item.lane in mine]
            rows = await _still_waiting(unit, consumer, ids)
            received = [item for row in rows if (item := await self._read(unit, consumer, row))]
            if received:
                await self._handle(unit, consumer, received)
                await _note(unit, consumer, received)
                await _forgive(unit, consumer, received)
        return len(rows)

    async def _handle(
        self, unit: UnitOfWork, consumer: Consumer, received: Sequence[Received[Any]]
    ) -> None:
        limit = self.patience.timeout
        try:
            async with asyncio.timeout(limit):
                await consumer.handle(unit, received)
                await unit.flush()
        except TimeoutError:
            raise TimeoutError(f"handling took longer than {limit:g} s") from None

    async def _read(
        self, unit: UnitOfWork, consumer: Consumer, row: Row[Any]
    ) -> Received[Any] | None:
        """Return the message in a row; what is none is dead at once."""
        try:
            message = decoded({**row.payload, "type": row.topic})
            _check_author(message, row.user_id)
        except InvalidData as error:
            await self._store_failure(unit, consumer, row.id, error)
            return None
        return Received(message, row.id, row.event_id, row.created_at, row.has_failed)

    async def _fail(self, consumer: Consumer, item: Waiting, error: Exception) -> bool | None:
        """Keep the failure and return whether the message is dead; None: others have it by now."""
        _LOG.warning("%s failed on message %d: %s", consumer.name, item.id, reason_of(error))
        async with self.db.transaction(system=f"consumer {consumer.name}") as unit:
            if not await _lock(unit, consumer, {item.lane}):
                return None
            return await self._store_failure(unit, consumer, item.id, error)

    async def _store_failure(
        self, unit: UnitOfWork, consumer: Consumer, number: int, error: Exception
    ) -> bool | None:
        given = {
            "consumer": consumer.name,
            "id": number,
            "error": reason_of(error),
            "is_hopeless": isinstance(error, _HOPELESS),
            "most": self.patience.attempts,
            "first": self.patience.first_pause,
            "longest": self.patience.longest_pause,
        }
        is_dead: bool | None = (await unit.session.execute(_FAIL, given)).scalar()
        return is_dead


def _check_author(message: Fact, author: UUID | None) -> None:
    """Refuse what a tenant says in another's name: its policy guards the column alone."""
    named = getattr(message, "user_id", None)
    if author is not None and named != author:
        raise InvalidData("userId", str(named), "be the user whose message it is")


async def _lock(unit: UnitOfWork, consumer: Consumer, lanes: set[str]) -> set[str]:
    """Take the locks of these keys that nobody has, until the transaction ends."""
    given = {"consumer": consumer.name, "lanes": sorted(lanes)}
    return set((await unit.session.execute(_LOCK, given)).scalars())


async def _still_waiting(
    unit: UnitOfWork, consumer: Consumer, ids: list[int]
) -> Sequence[Row[Any]]:
    found = await unit.session.execute(_STILL_WAITING, {"consumer": consumer.name, "ids": ids})
    return found.all()


async def _note(unit: UnitOfWork, consumer: Consumer, received: Sequence[Received[Any]]) -> None:
    """Note messages as handled; the unique key refuses what was noted meanwhile."""
    events = [str(item.event_id) for item in received]
    await unit.session.execute(_NOTE, {"consumer": consumer.name, "events": events})


async def _forgive(unit: UnitOfWork, consumer: Consumer, received: Sequence[Received[Any]]) -> None:
    """Forget the failures of messages that were handled after all."""
    ids = [item.number for item in received if item.has_failed]
    if ids:
        await unit.session.execute(_RECOVERED, {"consumer": consumer.name, "ids": ids})


def _chunks(waiting: Sequence[Waiting], size: int) -> Iterator[Sequence[Waiting]]:
    return (waiting[start : start + size] for start in range(0, len(waiting), size))


# A tenant chooses the keys of its messages: they must hold up nobody else's.
_KEY: Final = "(coalesce(o.user_id::text || '|', '') || o.key)"
_LANE: Final = f"coalesce({_KEY}, o.event_id::text)"
# LIMIT keeps these look-ups by key: the planner would hash every note ever made instead.
_IS_NOTED: Final = (
    "LATERAL (SELECT true AS found FROM messaging.processed_messages p"
    " WHERE p.consumer = {consumer} AND p.message_id = o.event_id::text LIMIT 1) noted ON true"
)
_HELD: Final = f"""EXISTS (
  SELECT FROM messaging.failed_deliveries h
   WHERE h.consumer = :consumer AND h.key = {_KEY} AND h.message_id < o.id AND h.dead_at IS NULL)"""
_TEXTS: Final = ARRAY(Text())

_LOOK: Final = text(
    f"""
SELECT id, lane FROM (
  (SELECT o.id, {_LANE} AS lane
     FROM messaging.outbox o LEFT JOIN {_IS_NOTED.format(consumer=":consumer")}
    WHERE o.published_at IS NULL AND o.topic = ANY (:topics) AND noted.found IS NULL
      AND NOT EXISTS (SELECT FROM messaging.failed_deliveries f
                       WHERE f.consumer = :consumer AND f.message_id = o.id)
      AND NOT {_HELD} AND {_LANE} <> ALL (:busy)
    ORDER BY o.id LIMIT :window)
  UNION ALL
  (SELECT o.id, {_LANE}
     FROM messaging.failed_deliveries f JOIN messaging.outbox o ON o.id = f.message_id
    WHERE f.consumer = :consumer AND f.dead_at IS NULL AND f.next_attempt_at <= now()
      AND NOT {_HELD} AND {_LANE} <> ALL (:busy)
    ORDER BY f.next_attempt_at LIMIT :window)
) AS waiting ORDER BY id
"""  # noqa: S608 - our own fragments
).bindparams(bindparam("topics", type_=_TEXTS), bindparam("busy", type_=_TEXTS))

_LOCK: Final = text(
    "SELECT lane FROM unnest(:lanes) AS lane WHERE pg_try_advisory_xact_lock("
    "hashtextextended('messaging|' || CAST(:consumer AS text) || '|' || lane, 0))"
).bindparams(bindparam("lanes", type_=_TEXTS))

_STILL_WAITING: Final = text(
    f"""
SELECT o.id, o.event_id, o.topic, o.payload, o.user_id, o.created_at,
       f.message_id IS NOT NULL AS has_failed
  FROM messaging.outbox o
  LEFT JOIN messaging.failed_deliveries f ON f.consumer = :consumer AND f.message_id = o.id
  LEFT JOIN {_IS_NOTED.format(consumer=":consumer")}
 WHERE o.id = ANY (:ids) AND noted.found IS NULL
   AND (f.message_id IS NULL OR (f.dead_at IS NULL AND f.next_attempt_at <= now()))
   AND NOT {_HELD}
 ORDER BY o.id
"""  # noqa: S608 - our own fragments
).bindparams(bindparam("ids", type_=ARRAY(BigInteger())))

_NOTE: Final = text(
    "INSERT INTO messaging.processed_messages (consumer, message_id)"
    " SELECT :consumer, unnest(:events)"
).bindparams(bindparam("events", type_=_TEXTS))

_RECOVERED: Final = text(
    "DELETE FROM messaging.failed_deliveries WHERE consumer = :consumer AND message_id = ANY (:ids)"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger())))

_FAIL: Final = text(
    f"""
WITH patience AS (
  SELECT CAST(:first AS float8) AS first, CAST(:longest AS float8) AS longest,
         CAST(:most AS int) AS most, CAST(:is_hopeless AS boolean) AS is_hopeless)
INSERT INTO messaging.failed_deliveries AS f
  (consumer, message_id, topic, key, attempts, last_error, next_attempt_at, dead_at)
SELECT CAST(:consumer AS text), o.id, o.topic, {_KEY}, 1, :error,
       now() + make_interval(secs => least(longest, first) * (0.5 + random() / 2)),
       CASE WHEN is_hopeless OR most <= 1 THEN now() END
  FROM patience CROSS JOIN messaging.outbox o LEFT JOIN {_IS_NOTED.format(consumer=":consumer")}
 WHERE o.id = :id AND noted.found IS NULL
ON CONFLICT (consumer, message_id) DO UPDATE SET
  attempts = f.attempts + 1, last_error = excluded.last_error, failed_at = now(),
  next_attempt_at = now() + make_interval(secs =>
    (SELECT least(longest, first * power(2, least(f.attempts, 60))) FROM patience)
    * (0.5 + random() / 2)),
  dead_at = (SELECT CASE WHEN is_hopeless OR f.attempts + 1 >= most THEN now() END FROM patience)
RETURNING dead_at IS NOT NULL
"""  # noqa: S608 - our own fragments
)

_SETTLE: Final = text(
    f"""
UPDATE messaging.outbox SET published_at = now() WHERE id = ANY (ARRAY(
  SELECT o.id FROM messaging.outbox o
   WHERE o.published_at IS NULL AND NOT EXISTS (
     SELECT FROM unnest(:topics, :names) AS c (topic, name)
       LEFT JOIN {_IS_NOTED.format(consumer="c.name")}
      WHERE c.topic = o.topic AND noted.found IS NULL
        AND NOT EXISTS (SELECT FROM messaging.failed_deliveries f
                         WHERE f.consumer = c.name AND f.message_id = o.id))
   ORDER BY o.id LIMIT :limit FOR UPDATE SKIP LOCKED))
"""  # noqa: S608 - our own fragments
).bindparams(bindparam("topics", type_=_TEXTS), bindparam("names", type_=_TEXTS))
