"""Deletes what was delivered long ago, a few rows at a time: the tables stay as large as that."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text

from domain.clock import now
from domain.db.connection import Connections

_AT_ONCE: Final = 5_000


async def prune(
    db: Connections[Any, Any], keep: timedelta, *, at: datetime | None = None
) -> tuple[int, int]:
    """Delete messages and notes that are older than `keep`.

    Failures on messages whose tenant is gone are deleted too.

    A message stays while it waits or while a delivery of it has failed; so do the notes of it:
    without them a retry by one consumer would reach the others again.

    Args:
        db: An open database.
        keep: How long published messages stay. A sender that repeats itself later than that is
            not recognised.
        at: The instant from which ages count; default now.

    Returns:
        Deleted messages, deleted notes.
    """
    before = {"before": (at or now()) - keep, "limit": _AT_ONCE}
    async with db.transaction(system="pruning") as unit:
        await unit.session.execute(_ORPHANS)
    return await _emptied(db, _MESSAGES, before), await _emptied(db, _NOTES, before)


async def prune_notices(
    db: Connections[Any, Any], keep: timedelta, *, at: datetime | None = None
) -> int:
    """Delete notices that are older than `keep` and do not wait to be sent; return how many."""
    before = {"before": (at or now()) - keep, "limit": _AT_ONCE}
    return await _emptied(db, _NOTICES, before)


async def _emptied(db: Connections[Any, Any], statement: Any, given: dict[str, Any]) -> int:
    total = 0
    while True:
        async with db.transaction(system="pruning") as unit:
            gone = int((await unit.session.execute(statement, given)).rowcount)
        total += gone
        if gone < _AT_ONCE:
            return total


_ORPHANS: Final = text(
    "DELETE FROM messaging.failed_deliveries f"
    " WHERE NOT EXISTS (SELECT FROM messaging.outbox o WHERE o.id = f.message_id)"
)
_MESSAGES: Final = text(
    """
DELETE FROM messaging.outbox WHERE id = ANY (ARRAY(
  SELECT o.id FROM messaging.outbox o
   WHERE o.published_at < :before
     AND NOT EXISTS (SELECT FROM messaging.failed_deliveries f WHERE f.message_id = o.id)
   ORDER BY o.id LIMIT :limit FOR UPDATE SKIP LOCKED))
"""
)
_NOTICES: Final = text(
    """
DELETE FROM messaging.notifications WHERE id = ANY (ARRAY(
  SELECT n.id FROM messaging.notifications n
   WHERE n.created_at < :before AND n.status <> 'pending'
   ORDER BY n.id LIMIT :limit))
"""
)
_NOTES: Final = text(
    """
DELETE FROM messaging.processed_messages d
 USING (SELECT p.consumer, p.message_id FROM messaging.processed_messages p
         WHERE p.processed_at < :before
           AND NOT EXISTS (SELECT FROM messaging.outbox o WHERE o.event_id::text = p.message_id)
         LIMIT :limit) AS old
 WHERE d.consumer = old.consumer AND d.message_id = old.message_id
"""
)
