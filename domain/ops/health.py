"""Whether the application could work now: what `/readyz` and `tradekeep health` say.

Never shows an error's text: it may hold addresses or SQL.
"""

import asyncio
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sqlalchemy import text

from domain.cache.breaker import BreakerState
from domain.cache.pending import lag
from domain.database import Database
from domain.db import migrations
from domain.db.connection import Connections
from domain.errors import DatabaseError, Unavailable

_PATIENCE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """The state of what the application needs.

    Args:
        database: ``ok``, ``slow`` (no answer within a second) or ``unavailable``.
        migrations: ``ok``, ``pending`` or ``unknown``.
        cache: ``ok``, ``off``, ``bypassed`` (it did not answer lately) or ``unavailable``. Reads
            load without it, so the application stays ready.
        cache_pending: Transactions whose invalidations wait for the cache's server.
        cache_warning: What is wrong with the server's settings.
    """

    database: str
    migrations: str
    cache: str = "off"
    cache_pending: int | None = None
    cache_warning: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether requests can be served."""
        return self.database == "ok" and self.migrations == "ok"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {"ready": self.is_ready, **asdict(self)}


async def readiness(db: Connections[Any, Any]) -> Readiness:
    """Ask the database, for one second at most."""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            stored = await _revision(db)
    except TimeoutError:
        return Readiness("slow", "unknown")
    except DatabaseError:
        return Readiness("unavailable", "unknown")
    state = Readiness("ok", "ok" if stored == migrations.head() else "pending")
    if not isinstance(db, Database) or not db.cache.is_kept:
        return state
    return replace(state, **await _cache(db, is_migrated=state.is_ready))


async def _cache(db: Database, *, is_migrated: bool) -> dict[str, Any]:
    """Return the cache's part of the report."""
    pending = None
    if is_migrated:
        async with db.read(system="health") as unit:
            pending = (await lag(unit))["pending"]
    try:
        policies = await db.cache.eviction_policies()
    except Unavailable:
        is_open = db.cache.breaker is not BreakerState.CLOSED
        return {"cache": "bypassed" if is_open else "unavailable", "cache_pending": pending}
    return {"cache": "ok", "cache_pending": pending, "cache_warning": _warning(policies)}


def _warning(policies: Collection[str]) -> str | None:
    evicting = sorted(name for name in policies if name.startswith("allkeys"))
    if not evicting:
        return None
    # An evicted write intent lets a reader store what was true before a commit.
    return f"maxmemory-policy is {', '.join(evicting)}: set volatile-lru or noeviction"


async def _revision(db: Connections[Any, Any]) -> str | None:
    async with db.read_engine.connect() as connection:
        exists = await connection.execute(
            text("SELECT to_regclass('public.tradekeep_alembic_version') IS NOT NULL")
        )
        if not exists.scalar_one():
            return None
        found = await connection.execute(
            text("SELECT version_num FROM public.tradekeep_alembic_version")
        )
        return found.scalar_one_or_none()
