"""How much waits: what a graph or an alarm should look at."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from domain.clock import now
from domain.db.unit import Unit


@dataclass(frozen=True, slots=True)
class Backlog:
    """What has not been delivered.

    Args:
        waiting: Messages that not every consumer has handled or failed on.
        oldest_at: When the oldest of them was written, UTC; None when nothing waits.
        retrying: Deliveries that failed and are tried again.
        dead: Deliveries that were given up.
        notices: Notices that have not left and are due.
        failed_notices: Notices that were given up.
        at: When this was counted, UTC.
    """

    waiting: int
    oldest_at: datetime | None
    retrying: int
    dead: int
    notices: int
    failed_notices: int
    at: datetime

    @property
    def age_seconds(self) -> int:
        """How long the oldest message has waited, seconds; 0 when nothing waits."""
        if self.oldest_at is None:
            return 0
        return max(0, int((self.at - self.oldest_at).total_seconds()))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        given = asdict(self) | {"age_seconds": self.age_seconds}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in given.items()
        }


async def backlog(unit: Unit) -> Backlog:
    """Count what waits; one statement over partial indexes.

    Args:
        unit: A trusted or staff unit.
    """
    row = (await unit.session.execute(_COUNTED)).mappings().one()
    return Backlog(**row, at=now())


_COUNTED: Final = text(
    """
SELECT (SELECT count(*) FROM messaging.outbox WHERE published_at IS NULL) AS waiting,
       (SELECT min(created_at) FROM messaging.outbox WHERE published_at IS NULL) AS oldest_at,
       count(*) FILTER (WHERE dead_at IS NULL) AS retrying,
       count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
       (SELECT count(*) FROM messaging.notifications
         WHERE status = 'pending' AND coalesce(next_attempt_at, created_at) <= now()) AS notices,
       (SELECT count(*) FROM messaging.notifications WHERE status = 'failed') AS failed_notices
  FROM messaging.failed_deliveries
"""
)
