"""The outbox of invalidations: written with the data when the server could not be told.

`replay` takes the stale answers out and then forgets the rows, in this order and in one
transaction: what is interrupted is done again, which harms nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from domain.cache.models import PendingInvalidation
from domain.cache.store import Touched
from domain.db.unit import Unit, UnitOfWork

_BATCH: Final = 200

Remove = Callable[[frozenset[str], frozenset[str]], Awaitable[None]]


def put_off(session: Session, touched: Touched) -> None:
    """Write what is stale beside the data that made it so."""
    row = {"keys": sorted(touched.keys), "tags": sorted(touched.tags)}
    session.execute(insert(PendingInvalidation).values(row).inline())


async def replay(unit: UnitOfWork, remove: Remove, *, wait: bool) -> int:
    """Take stale answers out of the store and forget them; returns how many rows there were.

    Args:
        unit: A transaction of a trusted job.
        remove: Takes answers and tags out; what it raises leaves the rows for the next time.
        wait: Wait for rows that somebody else replays now, instead of leaving them to them.
    """
    batch = (
        select(PendingInvalidation.id)
        .order_by(PendingInvalidation.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=not wait)
    )
    taken = (
        delete(PendingInvalidation)
        .where(PendingInvalidation.id.in_(batch))
        .returning(PendingInvalidation.keys, PendingInvalidation.tags)
        .execution_options(synchronize_session=False)
    )
    rows = (await unit.session.execute(taken)).all()
    keys = frozenset(key for row in rows for key in row[0])
    tags = frozenset(tag for row in rows for tag in row[1])
    if rows:
        await remove(keys, tags)
    return len(rows)


async def lag(unit: Unit) -> dict[str, Any]:
    """Return how many invalidations wait and since when the oldest does."""
    waiting = select(func.count(), func.min(PendingInvalidation.created_at))
    count, oldest = (await unit.session.execute(waiting)).one()
    return {"pending": count, "oldest": oldest}
