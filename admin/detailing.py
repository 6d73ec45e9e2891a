"""Reads everything that the page of one record shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from admin.addressing import identifier
from admin.fields import label_of
from admin.naming import Names, names_of
from admin.records import RecordView
from admin.rendering import Cell, show
from domain.db.unit import Unit
from domain.errors import NotFound

_BOOKKEEPING: Final = ("id", "version", "created_at", "updated_at", "booked_at")
_WIDE: Final = "json"


@dataclass(frozen=True, slots=True)
class Line:
    """One value of a record.

    Args:
        name: The attribute.
        label: What people read.
        help: What it means.
        cell: The value.
    """

    name: str
    label: str
    help: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class Details:
    """The page of one record.

    Args:
        record: The record.
        title: Its name.
        key: Its key as it stands in addresses.
        groups: (heading, lines): what it says, how it is kept, long structures.
        related: (label, link) of lists that belong to it.
    """

    record: Any
    title: str
    key: str
    groups: Sequence[tuple[str, Sequence[Line]]]
    related: Sequence[tuple[str, str]]


async def read_details(unit: Unit, view: RecordView, key: Any, *, zone: str, root: str) -> Details:
    """Return the page of the record with this key.

    Raises:
        NotFound: There is none.
    """
    options = view.loading(list(view.relations().values()))
    record = await view.rows(unit).find(key, *options)
    if record is None:
        raise NotFound(f"{view.name} was not found")
    names = await names_of(unit, view, [record], view.visible())
    lines = [_line(view, record, name, names, zone=zone, root=root) for name in view.visible()]
    own = identifier(view, record)
    return Details(
        record=record,
        title=view.heading(record),
        key=own,
        groups=_grouped(lines),
        related=[
            (label, f"{root}/{identity}/list?{column}={own}")
            for label, identity, column in view.related
        ],
    )


def _grouped(lines: Sequence[Line]) -> list[tuple[str, Sequence[Line]]]:
    wide = [line for line in lines if line.cell.kind == _WIDE]
    kept = [line for line in lines if line.name in _BOOKKEEPING]
    rest = [line for line in lines if line not in wide and line not in kept]
    groups = [("", rest), ("Documents", wide), ("Record", kept)]
    return [(heading, group) for heading, group in groups if group]


def _line(  # noqa: PLR0913 - where a value stands and who reads it
    view: RecordView, record: Any, name: str, names: Names, *, zone: str, root: str
) -> Line:
    value = getattr(record, name)
    cell = show(value, name, zone, whole=True)
    if (name, value) in names:
        cell = names.cell(name, value, root)
    return Line(name, label_of(name), view.help_of(name), cell)
