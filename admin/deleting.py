"""What a deletion would take along, and what forbids it; read from the foreign keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ForeignKeyConstraint, func, literal, select

from admin.records import REFERENCES, RecordView
from domain.db.unit import Unit

_COUNTED: Final = 1_000
"""Enough to know that it is a lot; a full count would read every row."""


@dataclass(frozen=True, slots=True)
class Dependents:
    """Records of one table that refer to the record.

    Args:
        label: What they are.
        count: How many, in words.
        is_obstacle: True when they forbid the deletion, False when they go with it.
    """

    label: str
    count: str
    is_obstacle: bool


async def dependents_of(unit: Unit, view: RecordView, record: Any) -> Sequence[Dependents]:
    """Return what refers to `record`, obstacles first."""
    found = []
    for key in _keys_to(view):
        pairs = [(element.parent, element.column.key) for element in key.elements]
        where = [column == getattr(record, name) for column, name in pairs]
        some = select(literal(1)).select_from(key.table).where(*where).limit(_COUNTED + 1)
        count = await unit.session.scalar(select(func.count()).select_from(some.subquery()))
        if count:
            target = REFERENCES.get(key.table.fullname)
            label = target.name_plural if target else str(key.table.name).replace("_", " ")
            words = f"{count:,}" if count <= _COUNTED else f"more than {_COUNTED:,}"
            found.append(Dependents(label, words, (key.ondelete or "").upper() != "CASCADE"))
    return sorted(found, key=lambda item: (not item.is_obstacle, item.label))


def _keys_to(view: RecordView) -> Iterator[ForeignKeyConstraint]:
    for table in view.table.metadata.tables.values():
        for key in table.foreign_key_constraints:
            if key.referred_table is view.table:
                yield key
