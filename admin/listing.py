"""Reads one page of a list: keyset walks, filters, estimated counts. No OFFSET, no COUNT."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, text
from starlette.datastructures import QueryParams

from admin.addressing import identifier
from admin.fields import label_of
from admin.naming import Names, names_of
from admin.records import RecordView
from admin.rendering import NOTHING, Cell, show, zone_of
from domain.db.unit import Unit
from domain.errors import InvalidData

PAGE_SIZE: Final = 50
LIST_TIMEOUT_MS: Final = 3_000
"""A list that needs longer asks for a narrower filter instead of keeping the server busy."""

_PROSE: Final = 600
"""Characters of a text that a list shows where texts are what it is read for."""

_CURSORS: Final = frozenset({"after", "before"})


@dataclass(frozen=True, slots=True)
class Listing:
    """What the query string asks of a list; unknown parameters are ignored.

    Args:
        view: The table.
        params: The query string.
        zone: The reader's time zone, in which days begin.
    """

    view: RecordView
    params: QueryParams
    zone: str = "UTC"

    def statement(self, unit: Unit) -> Select[Any]:
        """Return the filtered and ordered statement.

        Raises:
            InvalidData: A filter's value is none.
        """
        return self.view.base(unit).where(*self.conditions()).order_by(*self.ordering())

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions of search, filters and dates.

        Raises:
            InvalidData: A filter's value is none.
        """
        values = {item.name: item.read for item in self.view.fields(self.view.filters)}
        found = [
            getattr(self.view.model, name) == read(self.params[name])
            for name, read in values.items()
            if self.params.get(name)
        ]
        found += [getattr(self.view.model, name) == value for name, value in self.keys().items()]
        if self.view.search and self.params.get("q", "").strip():
            found.append(self.view.search_condition(_clean(self.params["q"])))
        return found + self._dates()

    def keys(self) -> dict[str, Any]:
        """Return the foreign keys that narrow the list, by attribute.

        Raises:
            InvalidData: One of them is no key.
        """
        given = {name: self.params.get(name) for name in self.view.keys}
        return {name: self._key(name, value) for name, value in given.items() if value}

    def _key(self, name: str, value: str) -> Any:
        column = self.view.mapper.column_attrs[name].columns[0]
        if not isinstance(column.type, Uuid):
            return _clean(value)
        try:
            return UUID(value)
        except ValueError:
            raise InvalidData(name, value, "be a record's id") from None

    def _dates(self) -> list[ColumnElement[bool]]:
        if not self.view.time_column:
            return []
        column = getattr(self.view.model, self.view.time_column)
        found = []
        if start := self.params.get("from"):
            found.append(column >= self._bound("from", start))
        if end := self.params.get("to"):
            found.append(column < self._bound("to", end, days=1))
        return found

    def _bound(self, name: str, value: str, *, days: int = 0) -> date:
        """Return the day, or the instant at which it begins for the reader."""
        try:
            day = date.fromisoformat(value) + timedelta(days=days)
            if self.view.is_day(self.view.time_column):
                return day
            return datetime.combine(day, time(0), zone_of(self.zone)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise InvalidData(name, value, "be a day such as 2026-01-31") from None

    # ── order ────────────────────────────────────────────────────────────────────────────────

    def ordering(self) -> list[Any]:
        """Return the view's order, turned around when the query string says so."""
        columns, is_descending = self.view.order, self.is_descending
        return [column.desc() if is_descending else column.asc() for column in columns]

    @property
    def is_descending(self) -> bool:
        """Whether the newest or last comes first."""
        chosen = self.params.get("sort", "")
        if chosen.lstrip("-") != self.view.order[0].key:
            return self.view.is_newest_first
        return chosen.startswith("-")

    @property
    def columns(self) -> Sequence[str]:
        """The view's columns without what the list is narrowed to: it is the same in each line."""
        keys = self.keys()
        known = {relation for key, relation in self.view.relations().items() if key in keys}
        return [name for name in self.view.columns if name not in known and name not in keys]

    def heads(self, *, is_sortable: bool = True) -> list["Head"]:
        """Return the columns' headings.

        Args:
            is_sortable: Whether the heading of the order turns it around.
        """
        return [self._head(name, is_sortable=is_sortable) for name in self.columns]

    def _head(self, name: str, *, is_sortable: bool) -> "Head":
        order, link = "", ""
        if is_sortable and name == self.view.order[0].key:
            order = "descending" if self.is_descending else "ascending"
            link = self.link(sort=name if self.is_descending else f"-{name}")
        kind = "number" if self.view.is_number(name) else ""
        return Head(label_of(name), self.view.help_of(name), kind, order, link)

    # ── links ────────────────────────────────────────────────────────────────────────────────

    @property
    def is_filtered(self) -> bool:
        """Whether anything narrows the list."""
        names = {*self.view.filters, *self.view.keys}
        names |= {"q"} if self.view.search else set()
        names |= {"from", "to"} if self.view.time_column else set()
        return any(self.params.get(name) for name in names)

    def link(self, **changes: str | None) -> str:
        """Return the query string with these parameters changed and the cursors dropped."""
        kept = {name: value for name, value in self.params.items() if name not in _CURSORS}
        kept |= {name: value for name, value in changes.items() if value is not None}
        for name, value in changes.items():
            if value is None:
                kept.pop(name, None)
        return f"?{urlencode({name: value for name, value in kept.items() if value})}"


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a column.

    Args:
        label: What people read.
        help: What the column means.
        kind: ``number`` when its values are aligned right.
        order: ascending or descending when the list is ordered by it.
        link: Turns the order around; empty where no index serves it.
    """

    label: str
    help: str
    kind: str
    order: str
    link: str


@dataclass(frozen=True, slots=True)
class Chip:
    """A record that the list is narrowed to.

    Args:
        label: What it is.
        text: Its name.
        link: The list without it.
    """

    label: str
    text: str
    link: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list.

    Args:
        link: The record's page.
        cells: One a column.
    """

    link: str
    cells: Sequence[Cell]

    @property
    def lead(self) -> int:
        """Index of the cell that leads to the record, -1 when all lead elsewhere."""
        free = (at for at, cell in enumerate(self.cells) if not cell.link)
        return next(free, -1)


@dataclass(frozen=True, slots=True)
class ListPage:
    """What the list template shows.

    Args:
        rows: The lines.
        chips: Records that the list is narrowed to.
        after: Link to the next page, empty on the last.
        before: Link to the previous page, empty on the first.
        about: Number of records in words, estimated unless they are all here.
    """

    rows: Sequence[Row]
    chips: Sequence[Chip]
    after: str
    before: str
    about: str


async def read_page(unit: Unit, listing: Listing, root: str, *, size: int = PAGE_SIZE) -> ListPage:
    """Return the page that `listing` asks for.

    Args:
        unit: Any unit.
        listing: What is asked for.
        root: Where the admin is mounted.
        size: How many records a page has.

    Raises:
        InvalidData: A filter's value or a cursor is wrong.
        QueryTimeout: No index serves this combination; narrower filters help.
    """
    view = listing.view
    await unit.session.execute(text(f"SET LOCAL statement_timeout = {LIST_TIMEOUT_MS}"))
    page = await view.rows(unit).page(
        listing.statement(unit),
        limit=size,
        after=listing.params.get("after") or None,
        before=listing.params.get("before") or None,
    )
    names = await names_of(unit, view, page.items, listing.columns)
    chips = await _chips(unit, listing)
    is_all = page.after is None and page.before is None
    return ListPage(
        rows=[_row(listing, record, names, root) for record in page.items],
        chips=chips,
        after="" if page.after is None else listing.link(after=page.after),
        before="" if page.before is None else listing.link(before=page.before),
        about=f"{len(page.items):,}" if is_all else await _about(unit, listing),
    )


def _row(listing: Listing, record: Any, names: Names, root: str) -> Row:
    view = listing.view
    relations = {relation: key for key, relation in view.relations().items()}
    cells = []
    for name in listing.columns:
        key = relations.get(name, name)
        value = getattr(record, name)
        if name in relations and value is not None:
            cells.append(names.cell(key, getattr(record, key), root, text=view.title_of(value)))
        elif (key, value) in names and not isinstance(value, str):
            cells.append(names.cell(key, value, root))
        else:
            # Codes such as USD say what they are: a column of links to them would be noise.
            cells.append(_cell(listing, name, value))
    return Row(f"{root}/{view.identity}/details/{identifier(view, record)}", cells)


def _cell(listing: Listing, name: str, value: Any) -> Cell:
    if value is None and listing.view.is_number(name):
        return Cell(NOTHING, "number none")
    if name in listing.view.prose and isinstance(value, str) and value:
        cut = value if len(value) <= _PROSE else f"{value[: _PROSE - 1]}…"
        return Cell(cut, "prose")
    return show(value, name, listing.zone)


async def _chips(unit: Unit, listing: Listing) -> list[Chip]:
    keys = listing.keys()
    names = await names_of(unit, listing.view, [keys], list(keys))
    return [
        Chip(label_of(name), names.text(name, value), listing.link(**{name: None}))
        for name, value in keys.items()
    ]


async def _about(unit: Unit, listing: Listing) -> str:
    """Return an estimate from the statistics: it costs the same for any number of rows."""
    if listing.is_filtered:
        return ""
    found = await unit.session.execute(
        text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(:name)"),
        {"name": listing.view.table.fullname},
    )
    count = found.scalar_one_or_none() or -1
    return "" if count < 0 else f"about {count:,}"


def _clean(value: str) -> str:
    if "\x00" in value or len(value) > 200:  # noqa: PLR2004 - a search, not a document
        raise InvalidData("q", value, "be at most 200 characters without NUL")
    return value
