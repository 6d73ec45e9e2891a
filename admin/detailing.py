"""Reads everything that the page of one record shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from admin.addressing import identifier
from admin.fields import LONG_TEXTS, label_of
from admin.listing import Head, Listing
from admin.markup import Row
from admin.naming import Names, names_of
from admin.paging import read_page
from admin.records import RecordView, Related, view_named
from admin.rendering import Cell, show
from admin.structures import Node, structure
from admin.translating import gettext
from domain.db.unit import Unit
from domain.errors import NotFound

PART_SIZE: Final = 20
"""Lines of a list that stand on the page of the record it belongs to."""

_BOOKKEEPING: Final = frozenset(
    {
        "id",
        "version",
        "xid",
        "cluster",
        "created_at",
        "updated_at",
        "booked_at",
        "ingested_at",
        "refreshed_at",
        "content_hash",
        "dedupe_key",
        "event_id",
        "fingerprint",
        "labels_hash",
        "object_key",
        "return_order",
        "sha256",
        "subject_id",
    }
)
"""What machines need: it stands at the end of the page."""

_LONG_TEXT: Final = 100
"""Characters that stand beside a label; half of them where people write in several lines."""


@dataclass(frozen=True, slots=True)
class Line:
    """One value of a record.

    Args:
        name: The attribute.
        label: What people read.
        help: What it means.
        cell: The value.
        node: How a structure is read; None for everything else.
    """

    name: str
    label: str
    help: str
    cell: Cell
    node: Node | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is no value."""
        return self.cell.kind == "none"

    @property
    def is_wide(self) -> bool:
        """Whether it needs the width of the page: a structure, or a text to be read."""
        if self.cell.kind == "json":
            return True
        most = _LONG_TEXT // 2 if self.name in LONG_TEXTS else _LONG_TEXT
        is_text = self.cell.kind == "" and not self.cell.link
        return is_text and (len(self.cell.text) > most or "\n" in self.cell.text)


@dataclass(frozen=True, slots=True)
class Part:
    """The first lines of a list that belongs to the record.

    Args:
        label: What the list is here.
        link: The whole list.
        heads: Its headings.
        rows: Its lines.
        is_all: Whether these are all.
    """

    label: str
    link: str
    heads: Sequence[Head]
    rows: Sequence[Row]
    is_all: bool


@dataclass(frozen=True, slots=True)
class Details:
    """The page of one record.

    Args:
        record: The record.
        title: Its name.
        key: Its key as it stands in addresses.
        lines: What it says.
        wide: Texts and structures that need the width of the page.
        empty: What was left out.
        kept: How the record is kept.
        related: (label, link) of lists that belong to it.
        parts: Those of them that stand on the page.
    """

    record: Any
    title: str
    key: str
    lines: Sequence[Line]
    wide: Sequence[Line]
    empty: Sequence[Line]
    kept: Sequence[Line]
    related: Sequence[tuple[str, str]]
    parts: Sequence[Part]


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
    said = [line for line in lines if line.name not in _BOOKKEEPING and not line.is_empty]
    own = identifier(view, record)
    return Details(
        record=record,
        title=view.heading(record),
        key=own,
        lines=[line for line in said if not line.is_wide],
        wide=[line for line in said if line.is_wide],
        empty=[line for line in lines if line.name not in _BOOKKEEPING and line.is_empty],
        kept=[line for line in lines if line.name in _BOOKKEEPING],
        related=[
            (
                gettext(item.label),
                f"{root}/{item.identity}/list?{urlencode(_narrowed(item, record, own))}",
            )
            for item in view.related
            if view_named(item.identity)
        ],
        parts=await _parts(unit, view, record, zone=zone, root=root),
    )


async def _parts(unit: Unit, view: RecordView, record: Any, *, zone: str, root: str) -> list[Part]:
    parts = []
    for item in view.related:
        other = view_named(item.identity) if item.is_shown else None
        if other is not None:
            query = _narrowed(item, record, identifier(view, record))
            listing = Listing(other, QueryParams(query), zone)
            page = await read_page(unit, listing, root, size=PART_SIZE)
            link = f"{root}/{item.identity}/list?{urlencode(query)}"
            if page.rows:
                heads = listing.heads(is_sortable=False)
                parts.append(
                    Part(gettext(item.label), link, heads, page.rows, is_all=not page.after)
                )
    return parts


def _narrowed(item: Related, record: Any, own: str) -> dict[str, str]:
    """Return the query of a related list."""
    query = {item.key: own} if item.key else {}
    shared = {name: getattr(record, name) for name in item.same}
    return query | {name: str(value) for name, value in shared.items() if value is not None}


def _line(  # noqa: PLR0913 - where a value stands and who reads it
    view: RecordView, record: Any, name: str, names: Names, *, zone: str, root: str
) -> Line:
    value = getattr(record, name)
    cell = show(value, name, zone, whole=True)
    if (name, value) in names:
        cell = names.cell(name, value, root)
    node = None if cell.tree is None else structure(cell.tree)
    return Line(name, label_of(name), view.help_of(name), cell, node)
