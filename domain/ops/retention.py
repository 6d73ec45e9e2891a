"""Looks after the pieces of time series: makes them ahead, compresses, archives and drops them.

One job does it in this order, so that nothing is dropped before it was archived, which a policy
of the database beside a copying job cannot promise. It runs as the owner, outside transactions:
native partitions are detached without waiting for readers. Whatever breaks it off, the next run
goes on where it stopped.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Table, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.clock import now
from domain.db.connection import Connections
from domain.db.roles import OWNER
from domain.db.timeseries import leaving, room_for, series_of
from domain.errors import InvalidData
from domain.schema import metadata
from domain.settings import Settings


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the rows of a time series stay.

    Args:
        table: ``schema.table``.
        keep: Rows older than this leave, piece by piece: a piece goes when all of it is older.
            None keeps everything.
        archive: The time series that takes them over; None drops them.
        compress_after: Pieces older than this are compressed where the database can; None never.
        grows: New rows come: partitions are made ahead. False for an archive.
    """

    table: str
    keep: timedelta | None = None
    archive: str | None = None
    compress_after: timedelta | None = None
    grows: bool = True


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What was done to one time series.

    Args:
        table: ``schema.table``.
        made: Partitions made ahead.
        compressed: Chunks that were compressed.
        archived: Pieces that moved to the archive.
        dropped: Pieces that were dropped.
    """

    table: str
    made: int = 0
    compressed: int = 0
    archived: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A partition or chunk.

    Args:
        table: The time series it is part of, as ``schema.table``.
        name: Its own name, quoted.
        starts_at: First instant, UTC.
        ends_at: End, exclusive, UTC.
    """

    table: str
    name: str
    starts_at: datetime
    ends_at: datetime


def retention(settings: Settings) -> tuple[Retention, ...]:
    """Return what the settings say about every time series."""
    compress_after = _days(settings.compress_after_days)
    return (
        Retention("market.ticks", _days(settings.keep_ticks_days), None, compress_after),
        Retention(
            "market.bars", _days(settings.keep_bars_days), "market.bars_archive", compress_after
        ),
        Retention("market.bars_archive", None, None, compress_after, grows=False),
        Retention("research.metrics", _days(settings.keep_metrics_days)),
        Retention("audit.entries", _days(settings.keep_audit_days)),
    )


def _days(number: int | None) -> timedelta | None:
    return None if number is None else timedelta(days=number)


async def maintain(
    db: Connections[Any, Any], policies: Sequence[Retention], *, at: datetime | None = None
) -> list[Upkeep]:
    """Make, compress, archive and drop the pieces of time series.

    Args:
        db: An open database whose login may become the owner.
        policies: One a table.
        at: The instant from which ages count, aware; None for now.

    Returns:
        What was done, in the order of `policies`.

    Raises:
        InvalidData: A policy names a table that is no time series.
        LockTimeout: Somebody held a piece for too long; run it again later.
    """
    moment = at or now()
    async with as_owner(db) as connection:
        for policy in policies:
            await _check(connection, policy)
        keeper = await _keeper(connection)
        return [await keeper.look_after(policy, moment) for policy in policies]


async def pieces(connection: AsyncConnection, table: str) -> list[Piece]:
    """Return the partitions or chunks of a time series, oldest first."""
    is_partitioned = await connection.scalar(_IS_PARTITIONED, {"table": table})
    found = await connection.execute(_PARTITIONS if is_partitioned else _CHUNKS, {"table": table})
    return [Piece(table, *row) for row in found]


@asynccontextmanager
async def as_owner(db: Connections[Any, Any]) -> AsyncIterator[AsyncConnection]:
    """Yield a connection of the owner on which every statement is a transaction of its own."""
    async with db.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f"SET ROLE {OWNER}"))
        try:
            # Behind a statement that waits for a lock everybody else waits too.
            await connection.execute(text(f"SET lock_timeout = '{_PATIENCE}'"))
            await connection.execute(text("SET statement_timeout = '1h'"))
            yield connection
        finally:
            # A connection with another role and other limits is no connection for the pool.
            await connection.invalidate()


async def _check(connection: AsyncConnection, policy: Retention) -> None:
    for table in filter(None, (policy.table, policy.archive)):
        if not await connection.scalar(_IS_SERIES, {"table": table}):
            raise InvalidData("table", table, "be a time series of this database")


async def _keeper(connection: AsyncConnection) -> "_Partitions | _Hypertables":
    if await connection.scalar(_HAS_TIMESCALE):
        return _Hypertables(connection)
    return _Partitions(connection)


@dataclass
class _Partitions:
    """Native partitions."""

    connection: AsyncConnection

    async def look_after(self, policy: Retention, moment: datetime) -> Upkeep:
        finished = await self._finish_interrupted(policy)
        old = await _older(self.connection, policy, moment)
        for piece in old:
            await self._detach(piece)
            await self._put_away(policy, piece)
        ahead = {"table": policy.table, "at": moment, "ahead": _AHEAD if policy.grows else None}
        made = await self.connection.scalar(_MAKE_AHEAD, ahead)
        return _upkeep(policy, left=finished + len(old), made=made or 0)

    async def _finish_interrupted(self, policy: Retention) -> int:
        pending = await self.connection.execute(_PENDING, {"table": policy.table})
        for (name,) in pending:
            await self._run(f"ALTER TABLE {policy.table} DETACH PARTITION {name} FINALIZE")
        detached = await self.connection.execute(_DETACHED, {"mark": leaving(policy.table)})
        left = [Piece(policy.table, *row) for row in detached]
        for piece in left:
            await self._put_away(policy, piece)
        return len(left)

    async def _detach(self, piece: Piece) -> None:
        # Read by the run after one that broke off between here and there.
        bounds = f"{leaving(piece.table)}{piece.starts_at.isoformat()}/{piece.ends_at.isoformat()}"
        await self._run(f"COMMENT ON TABLE {piece.name} IS '{bounds}'")
        # Its locks hold up nobody who reads or writes, and rows are out of sight when it gives up.
        await self._run(f"SET lock_timeout = '{_DETACH_PATIENCE}'")
        await self._run(f"ALTER TABLE {piece.table} DETACH PARTITION {piece.name} CONCURRENTLY")
        await self._run(f"SET lock_timeout = '{_PATIENCE}'")

    async def _put_away(self, policy: Retention, piece: Piece) -> None:
        if policy.archive is None:
            await self._run(f"DROP TABLE {piece.name}")
            return
        overlaps = {"archive": policy.archive, "start": piece.starts_at, "end": piece.ends_at}
        async with _transaction(self.connection):
            if await self.connection.scalar(_OVERLAPS, overlaps):
                await _copy(self.connection, piece.name, policy.archive)
                await self._run(f"DROP TABLE {piece.name}")
            else:
                await self._attach(piece, policy.archive)

    async def _attach(self, piece: Piece, archive: str) -> None:
        """Let a detached partition change its parent: no row is read or written."""
        names = {"piece": piece.name, "archive": archive}
        for old, new in await self.connection.execute(_SAME_CHECKS, names):
            await self._run(f'ALTER TABLE {piece.name} RENAME CONSTRAINT "{old}" TO "{new}"')
        await self._run(
            f"ALTER TABLE {archive} ATTACH PARTITION {piece.name} FOR VALUES"
            f" FROM ('{piece.starts_at.isoformat()}') TO ('{piece.ends_at.isoformat()}')"
        )
        await self._run(f"COMMENT ON TABLE {piece.name} IS NULL")
        own_checks = await self.connection.execute(_OWN_CHECKS, {"piece": piece.name})
        for (name,) in own_checks:
            await self._run(f'ALTER TABLE {piece.name} DROP CONSTRAINT "{name}"')

    async def _run(self, statement: str) -> None:
        await self.connection.exec_driver_sql(statement)


@dataclass
class _Hypertables:
    """Chunks of TimescaleDB."""

    connection: AsyncConnection

    async def look_after(self, policy: Retention, moment: datetime) -> Upkeep:
        old = await _older(self.connection, policy, moment)
        for piece in old:
            await self._retire(policy, piece)
        compressed = await self._compress(policy, moment)
        return _upkeep(policy, left=len(old), compressed=compressed)

    async def _retire(self, policy: Retention, piece: Piece) -> None:
        times = {"start": piece.starts_at, "end": piece.ends_at}
        async with _transaction(self.connection):
            # A late row in a chunk that was just copied would be dropped with it.
            lock = f"LOCK TABLE {piece.name} IN EXCLUSIVE MODE"
            await self.connection.exec_driver_sql(lock)
            if policy.archive:
                await _copy(self.connection, piece.name, policy.archive)
            await self.connection.execute(_DROP_CHUNK, {"table": policy.table, **times})

    async def _compress(self, policy: Retention, moment: datetime) -> int:
        if policy.compress_after is None:
            return 0
        before = {"table": policy.table, "at": moment - policy.compress_after}
        chunks = (await self.connection.execute(_UNCOMPRESSED, before)).scalars().all()
        for chunk in chunks:
            await self.connection.execute(_COMPRESS, {"chunk": chunk})
        return len(chunks)


def _upkeep(policy: Retention, *, left: int, made: int = 0, compressed: int = 0) -> Upkeep:
    archived, dropped = (left, 0) if policy.archive else (0, left)
    return Upkeep(policy.table, made, compressed, archived, dropped)


async def _older(connection: AsyncConnection, policy: Retention, moment: datetime) -> list[Piece]:
    if policy.keep is None:
        return []
    found = await pieces(connection, policy.table)
    return [piece for piece in found if piece.ends_at <= moment - policy.keep]


@asynccontextmanager
async def _transaction(connection: AsyncConnection) -> AsyncIterator[None]:
    """Open a transaction on a connection in autocommit."""
    await connection.exec_driver_sql("BEGIN")
    try:
        yield
    except BaseException:
        await connection.exec_driver_sql("ROLLBACK")
        raise
    await connection.exec_driver_sql("COMMIT")


async def _copy(connection: AsyncConnection, source: str, archive: str) -> None:
    """Copy a piece's rows into the archive; a row that is there already gives way to the later."""
    table = metadata.tables[archive]
    await _make_room(connection, source, table)
    given = [column for column in table.columns if column.computed is None]
    listed = ", ".join(f'"{column.name}"' for column in given)
    rows = text(f"SELECT {listed} FROM {source}").columns(*given)  # noqa: S608 - names of the catalog
    statement = insert(table).from_select([column.name for column in given], rows)
    values = {
        column.name: statement.excluded[column.name] for column in given if not column.primary_key
    }
    await connection.execute(
        statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
    )


async def _make_room(connection: AsyncConnection, source: str, table: Table) -> None:
    """Make partitions for every day of `source`: there may be room for its ends alone."""
    if grows := series_of(table):
        days = await connection.execute(text(_DAYS.format(by=grows.by, source=source)))
        if room := room_for(table, days.scalars()):
            await connection.execute(*room)


_AHEAD: Final = 3
_PATIENCE: Final = "5s"
_DETACH_PATIENCE: Final = "5min"
_DAYS: Final = "SELECT DISTINCT date_trunc('day', \"{by}\", 'UTC') FROM {source}"
_IS_SERIES: Final = text(
    "SELECT EXISTS (SELECT FROM timeseries.registry WHERE relation = to_regclass(:table))"
)
_HAS_TIMESCALE: Final = text(
    "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')"
)
_IS_PARTITIONED: Final = text("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(:table)")
_PARTITIONS: Final = text(
    "SELECT partition::text, starts_at, ends_at FROM timeseries.partitions"
    " WHERE relation = to_regclass(:table) ORDER BY starts_at"
)
_CHUNKS: Final = text(
    "SELECT format('%I.%I', chunk_schema, chunk_name), range_start, range_end"
    " FROM timescaledb_information.chunks"
    " WHERE format('%I.%I', hypertable_schema, hypertable_name) = :table ORDER BY range_start"
)
_MAKE_AHEAD: Final = text(
    "SELECT timeseries.ensure(relation, ARRAY("
    "SELECT CAST(CAST(:at AS timestamptz) + n * every AS date)"
    " FROM generate_series(0, CAST(:ahead AS integer)) AS n))"
    " FROM timeseries.registry"
    " WHERE relation = to_regclass(:table) AND CAST(:ahead AS integer) IS NOT NULL"
)
_PENDING: Final = text(
    "SELECT inhrelid::regclass::text FROM pg_inherits"
    " WHERE inhparent = to_regclass(:table) AND inhdetachpending"
)
_DETACHED: Final = text(
    """
SELECT name, split_part(bounds, '/', 1)::timestamptz, split_part(bounds, '/', 2)::timestamptz
FROM (SELECT oid::regclass::text AS name,
             substr(obj_description(oid, 'pg_class'), length(:mark) + 1) AS bounds
      FROM pg_class
      WHERE relnamespace = 'ts_parts'::regnamespace AND relkind = 'r' AND NOT relispartition
        AND starts_with(obj_description(oid, 'pg_class'), :mark)) AS detached
"""
)
_OVERLAPS: Final = text(
    "SELECT EXISTS (SELECT FROM timeseries.partitions WHERE relation = to_regclass(:archive)"
    " AND starts_at < :end AND ends_at > :start)"
)
# A partition must have its parent's checks under the parent's names.
_SAME_CHECKS: Final = text(
    """
SELECT p.conname, a.conname FROM pg_constraint AS p JOIN pg_constraint AS a
  ON a.contype = 'c' AND pg_get_constraintdef(a.oid) = pg_get_constraintdef(p.oid)
WHERE p.contype = 'c' AND p.conrelid = to_regclass(:piece) AND a.conrelid = to_regclass(:archive)
  AND p.conname <> a.conname
"""
)
# DETACH CONCURRENTLY leaves the old bounds behind as a check.
_OWN_CHECKS: Final = text(
    "SELECT conname FROM pg_constraint"
    " WHERE conrelid = to_regclass(:piece) AND contype = 'c' AND coninhcount = 0"
)
_DROP_CHUNK: Final = text(
    "SELECT drop_chunks(to_regclass(:table), older_than => CAST(:end AS timestamptz),"
    " newer_than => CAST(:start AS timestamptz))"
)
# Debian's build of TimescaleDB cannot compress: there nothing is enabled.
_UNCOMPRESSED: Final = text(
    "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks AS c"
    " JOIN timescaledb_information.hypertables AS h USING (hypertable_schema, hypertable_name)"
    " WHERE format('%I.%I', hypertable_schema, hypertable_name) = :table"
    " AND h.compression_enabled AND NOT is_compressed AND range_end <= :at ORDER BY range_start"
)
_COMPRESS: Final = text("SELECT compress_chunk(CAST(:chunk AS regclass))")
