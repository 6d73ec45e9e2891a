"""The data dictionary: every schema, table, view and column as one Markdown page.

Written from the models and their comments alone; ``python -m domain.ops.dictionary`` prints it.
How the tables hang together is told in ``docs/pages/areas``.
"""

import sys
from collections.abc import Iterator
from typing import Final

from sqlalchemy import Column, Table
from sqlalchemy.dialects.postgresql.base import PGDialect

from domain.db.objects import View, declared
from domain.db.types import ClosedText
from domain.schema import AREAS, RIGHTS, metadata

_DIALECT: Final = PGDialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
_INTRODUCTION: Final = """\
# Data dictionary

Every table and column, written from the models by `python -m domain.ops.dictionary`.
A test fails when this page is older than the models.

- Amounts, prices and quantities are unconstrained `numeric`, checked to at most 18 decimals and less than 10^20.
- Times are `timestamp with time zone`, always UTC; names end in `_at` for instants and in `_on` for days.
- `key` marks the primary key, → a foreign key, *generated* a column that PostgreSQL computes, *secret* one that no list, export or read-only role shows.
- A closed vocabulary is text with a CHECK; its words are listed.
- Rights are those of the roles [tradekeep_app](migrations.md#roles) (tenant) and tradekeep_staff; tenants see their own rows only where a table has `user_id`.

What was left out, and why: [decisions](decisions.md#11-what-the-catalogue-had-and-we-do-not)."""  # noqa: E501 - one sentence a line


def render() -> str:
    """Return the page."""
    parts = [_INTRODUCTION]
    for area in AREAS:
        parts.append(f"## {area}")
        tables = (table for table in metadata.tables.values() if table.schema == area)
        parts.extend(_table(table) for table in sorted(tables, key=lambda table: table.name))
        views = (item for item in declared(metadata) if isinstance(item, View))
        parts.extend(_view(view) for view in views if view.schema == area)
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    tenant, staff = (rights or "nothing" for rights in RIGHTS[table.fullname])
    lines = [
        f"### {table.fullname}",
        "",
        f"{table.comment}.",
        f"Tenant: {tenant}. Staff: {staff}.",
        "",
        "| Column | Type | Null | Meaning |",
        "|---|---|---|---|",
        *(_row(column) for column in table.columns),
    ]
    return "\n".join(lines)


def _row(column: Column[object]) -> str:
    kind = column.type.compile(_DIALECT).lower()
    null = "yes" if column.nullable else ""
    meaning = "; ".join(_meaning(column)).replace("|", r"\|")
    return f"| `{column.name}` | {kind} | {null} | {meaning} |"


def _meaning(column: Column[object]) -> Iterator[str]:
    yield column.comment or ""
    if isinstance(column.type, ClosedText):
        yield ", ".join(f"`{word}`" for word in column.type.vocabulary)
    if column.primary_key:
        yield "key"
    targets = {key.target_fullname for key in column.foreign_keys}
    # The tenant's part of composite keys says nothing new about the tenant.
    yield from sorted(f"→ `{name}`" for name in targets if not name.endswith(".user_id"))
    if column.computed is not None:
        yield "*generated*"
    if column.info.get("secret"):
        yield "*secret*"


def _view(view: View) -> str:
    return f"### {view.schema}.{view.name} (view)\n\n{view.comment}."


if __name__ == "__main__":
    sys.stdout.write(render())
