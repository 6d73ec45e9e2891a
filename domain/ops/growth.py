"""How time series have grown: their pieces, the time they span, rows and bytes.

What is done about it is `domain.ops.retention`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import text

from domain.db.connection import Connections
from domain.ops.retention import as_owner


@dataclass(frozen=True, slots=True)
class Growth:
    """One time series as it stands.

    Args:
        table: ``schema.table``.
        form: What its pieces are.
        pieces: How many there are, empty ones too.
        oldest: Start of the oldest piece that takes up space, UTC; None when all are empty.
        newest: End of the newest piece that takes up space, exclusive, UTC.
        rows: Estimate of the last ANALYZE; None where a filled piece had none yet.
        bytes: Size with indexes.
    """

    table: str
    form: Literal["partitions", "hypertable"]
    pieces: int
    oldest: datetime | None
    newest: datetime | None
    rows: int | None
    bytes: int


async def growth(db: Connections[Any, Any]) -> list[Growth]:
    """Return every time series of the database by name; reads the catalog and no row.

    Args:
        db: An open database whose login may become the owner.
    """
    async with as_owner(db) as connection:
        known = (await connection.execute(_SERIES)).all()
        found = []
        for table, is_partitioned in known:
            question = _PARTITIONS if is_partitioned else _CHUNKS
            row = (await connection.execute(question, {"table": table})).one()
            found.append(Growth(table, "partitions" if is_partitioned else "hypertable", *row))
    return found


_SERIES: Final = text(
    "SELECT format('%I.%I', nspname, relname), relkind = 'p' FROM timeseries.registry"
    " JOIN pg_class AS c ON c.oid = relation JOIN pg_namespace AS n ON n.oid = relnamespace"
    " ORDER BY 1"
)
_PARTITIONS: Final = text(
    """
SELECT count(*), min(starts_at) FILTER (WHERE is_filled), max(ends_at) FILTER (WHERE is_filled),
       CASE WHEN bool_and(reltuples >= 0 OR NOT is_filled) IS NOT FALSE
            THEN coalesce(sum(greatest(reltuples, 0)), 0)::bigint END,
       coalesce(sum(pg_total_relation_size(partition)), 0)::bigint
FROM timeseries.partitions JOIN pg_class ON oid = partition,
     LATERAL (SELECT pg_relation_size(partition) > 0 AS is_filled) AS size
WHERE relation = to_regclass(:table)
"""
)
_CHUNKS: Final = text(
    """
SELECT count(*), min(range_start), max(range_end), approximate_row_count(to_regclass(:table)),
       coalesce(hypertable_size(to_regclass(:table)), 0)
FROM timescaledb_information.chunks
WHERE format('%I.%I', hypertable_schema, hypertable_name) = :table
"""
)
