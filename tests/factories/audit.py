"""Seals over what a test wrote."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import text

from domain import Database
from domain.audit.models import Seal
from domain.audit.sealing import seal

_SETTLED = text(
    "SELECT coalesce(max(xid), 0) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    " FROM audit.entries WHERE cluster = (SELECT system_identifier FROM pg_control_system())"
)


async def settle(db: Database) -> None:
    """Wait until no transaction of any test on this server is older than what was written here."""
    async with db.read(staff="test") as unit:
        while not (await unit.session.execute(_SETTLED)).scalar_one():
            await asyncio.sleep(0.02)


async def seal_everything(db: Database) -> Sequence[Seal]:
    """Seal all that was written, with one seal."""
    await settle(db)
    return await seal(db)
