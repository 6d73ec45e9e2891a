"""Reads what an entry keeps: values of a column as they were, who acted, what went together."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, TypeDecorator, func, select

from domain.audit.models import REDACTED, AuditEntry
from domain.db.types import ClosedText
from domain.db.unit import Unit

_PARSERS: Final[dict[type, Callable[[str], Any]]] = {
    Decimal: Decimal,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    time: time.fromisoformat,
    UUID: UUID,
    bytes: bytes.fromhex,
}


def value_of(column: Column[Any], kept: Any) -> Any:
    """Return a kept value as the model's attribute would hold it.

    A word that the vocabulary no longer has stays text.

    Args:
        column: The column.
        kept: What ``old_values`` or ``new_values`` hold of it.

    Raises:
        ValueError: The column has had another type since.
    """
    if not isinstance(kept, str) or kept == REDACTED:
        return kept
    if isinstance(column.type, ClosedText):
        words = column.type.vocabulary
        return words(kept) if kept in set(words) else kept
    stored = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    parse = _PARSERS.get(stored.python_type)
    return kept if parse is None else parse(kept)


async def went_with(unit: Unit, entry: AuditEntry) -> list[tuple[str, int]]:
    """Return the tables, and how many rows of each, that were deleted together with a row.

    Args:
        unit: Who may see the entries.
        entry: The deletion.
    """
    found = await unit.session.execute(
        select(AuditEntry.table_name, func.count())
        .where(
            AuditEntry.xid == entry.xid,
            AuditEntry.cluster == entry.cluster,
            AuditEntry.action == "delete",
            AuditEntry.id != entry.id,
        )
        .group_by(AuditEntry.table_name)
        .order_by(AuditEntry.table_name)
    )
    return [(table or "", count) for table, count in found]


def actors_who_are_users(entries: Iterable[AuditEntry]) -> set[UUID]:
    """Return the ids of the users among the actors of `entries`."""
    found = set()
    for entry in entries:
        try:
            found.add(UUID(entry.actor))
        except ValueError:
            continue
    return found
