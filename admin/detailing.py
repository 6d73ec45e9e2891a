"""Reads everything that the page of one record shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from admin.addressing import identifier
from admin.fields import label_of
from admin.records import REFERENCES, RecordView
from admin.rendering import Cell, show
from domain.db.unit import Unit
from domain.errors import NotFound

_LAST: Final = ("created_at", "updated_at", "booked_at", "version", "raw", "report", "details")


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
        lines: Values, the important ones first.
        related: (label, link) of lists that belong to it.
    """

    record: Any
    title: str
    key: str
    lines: Sequence[Line]
    related: Sequence[tuple[str, str]]


async def read_details(
    unit: Unit, view: RecordView, key: Any, *, zone: str, root: str
) -> Details:
    """Return the page of the record with this key.

    Raises:
        NotFound: There is none.
    """
    relations = {name: relation for name, relation in view.relations().items() if relation}
    record = await _load(unit, view, key, list(relations.values()))
    own = identifier(view, record)
    names = sorted(view.visible(), key=lambda name: name in _LAST)
    return Details(
        record=record,
        title=view.title(record),
        key=own,
        lines=[_line(view, record, name, relations, zone=zone, root=root) for name in names],
        related=[
            (label, f"{root}/{identity}/list?{column}={own}")
            for label, identity, column in view.related
        ],
    )


async def _load(unit: Unit, view: RecordView, key: Any, relations: Sequence[str]) -> Any:
    record = await unit[view.model].find(key, *view.loading(relations))
    if record is None:
        raise NotFound(f"{view.name} was not found")
    return record


def _line(  # noqa: PLR0913 - where a value stands and who reads it
    view: RecordView,
    record: Any,
    name: str,
    relations: Mapping[str, str],
    *,
    zone: str,
    root: str,
) -> Line:
    value = getattr(record, name)
    cell = show(value, name, zone)
    related = getattr(record, relations[name]) if name in relations else None
    if related is not None:
        identity = REFERENCES.get(type(related).__table__.fullname, "")
        cell = Cell(str(related), link=f"{root}/{identity}/details/{value}" if identity else "")
    elif value is not None and name == "user_id":
        cell = Cell(cell.text, cell.kind, cell.title, f"{root}/users/details/{value}")
    return Line(name, label_of(name), view.help_of(name), cell)

