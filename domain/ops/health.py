"""Whether the application could work now: what `/readyz` and `tradekeep health` say.

Never shows an error's text: it may hold addresses or SQL.
"""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import text

from domain.db import migrations
from domain.db.connection import Connections
from domain.errors import DatabaseError

_PATIENCE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """The state of what the application needs.

    Args:
        database: ``ok``, ``slow`` (no answer within a second) or ``unavailable``.
        migrations: ``ok``, ``pending`` or ``unknown``.
    """

    database: str
    migrations: str

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
    return Readiness("ok", "ok" if stored == migrations.head() else "pending")


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
