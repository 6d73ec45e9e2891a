"""How many rows a statement has, by PostgreSQL's own estimate: no row is read.

What is counted exactly lies with the caller; `Repository.count` reads every row.
"""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

_STORED = text(
    """
    SELECT sum(reltuples) FILTER (WHERE relkind <> 'p')::bigint AS rows,
           coalesce(bool_or(reltuples < 0) FILTER (WHERE relkind <> 'p'), true) AS is_unknown
    FROM pg_class
    WHERE oid = to_regclass(:name)
       OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass(:name))
    """
)


class Explain(Executable, ClauseElement):
    """``EXPLAIN (FORMAT JSON)`` of a statement, with its parameters bound."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(Explain)
def _explained(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    return "EXPLAIN (FORMAT JSON) " + compiler.process(element.statement, **options)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the planner expects of a statement.

    Args:
        rows: How many rows it returns.
        cost: What finding all of them costs, in the planner's units: about one a page read.
    """

    rows: int
    cost: float


async def estimate(session: AsyncSession, statement: Select[Any]) -> Estimate:
    """Return how many rows `statement` will have and what they cost, by the planner."""
    found = (await session.execute(Explain(statement.order_by(None)))).scalar_one()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return Estimate(int(plan["Plan Rows"]), float(plan["Total Cost"]))


async def stored_rows(session: AsyncSession, table: str) -> int | None:
    """Return how many rows a table had when it was analyzed last, its partitions included.

    Args:
        session: Any session.
        table: ``schema.name``.

    Returns:
        None while a part of it was never analyzed.
    """
    rows, is_unknown = (await session.execute(_STORED, {"name": table})).one()
    return None if is_unknown else rows
