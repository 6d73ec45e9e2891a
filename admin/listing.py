"""Reads one page of a list: keyset walks, filters, estimated counts. No OFFSET, no COUNT."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import ColumnElement, Select, text
from starlette.datastructures import QueryParams

from admin.addressing import identifier
from admin.fields import label_of
from admin.records import RecordView
from admin.rendering import Cell, show
from domain.db.unit import Unit
from domain.errors import InvalidData

PAGE_SIZE: Final = 50
LIST_TIMEOUT_MS: Final = 3_000
"""A list that needs longer asks for a narrower filter instead of keeping the server busy."""

_CURSORS: Final = frozenset({"after", "before"})


@dataclass(frozen=True, slots=True)
class Listing:
    """What the query string asks of a list; unknown parameters are ignored.

    Args:
        view: The table.
        params: The query string.
    """

    view: RecordView
    params: QueryParams

    def statement(self, unit: Unit) -> Select[Any]:
        """Return the filtered and ordered statement.

        Raises:
            InvalidData: A filter's value is none.
        """
        return self.view.base(unit).where(*self.conditions()).order_by(*self.ordering())

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions of search, filters and dates."""
        found = [
            getattr(self.view.model, name) == self.params[name]
            for name in self.view.filters
            if self.params.get(name)
        ]
        found += [
            getattr(self.view.model, name) == _key(name, self.params[name])
            for name in self.view.keys
            if self.params.get(name)
        ]
        if self.view.search and self.params.get("q", "").strip():
            found.append(self.view.search_condition(_clean(self.params["q"])))
        return found + self._dates()

    def _dates(self) -> list[ColumnElement[bool]]:
        if not self.view.time_column:
            return []
        column = getattr(self.view.model, self.view.time_column)
        found = []
        if start := self.params.get("from"):
            found.append(column >= _midnight("from", start))
        if end := self.params.get("to"):
            found.append(column < _midnight("to", end) + timedelta(days=1))
        return found

    def ordering(self) -> list[Any]:
        """Return the order: the chosen sortable column, else the view's own."""
        chosen = self.params.get("sort", "")
        name, is_descending = chosen.lstrip("-"), chosen.startswith("-")
        if name in self.view.sortable:
            column = getattr(self.view.model, name)
            return [column.desc() if is_descending else column.asc()]
        columns = self.view.order
        return [column.desc() if self.view.is_newest_first else column for column in columns]

    @property
    def is_filtered(self) -> bool:
        """Whether anything narrows the list."""
        return bool(self.conditions())

    def link(self, **changes: str | None) -> str:
        """Return the query string with these parameters changed and the cursors dropped."""
        kept = {name: value for name, value in self.params.items() if name not in _CURSORS}
        kept |= {name: value for name, value in changes.items() if value is not None}
        for name, value in changes.items():
            if value is None:
                kept.pop(name, None)
        return f"?{urlencode({name: value for name, value in kept.items() if value})}"

    def chips(self) -> list[tuple[str, str]]:
        """Return (text, link without it) for every foreign key that narrows the list."""
        return [
            (f"{label_of(name)} {self.params[name][-8:]}", self.link(**{name: None}))
            for name in self.view.keys
            if self.params.get(name)
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list.

    Args:
        link: The record's page.
        cells: One a column.
    """

    link: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class ListPage:
    """What the list template shows.

    Args:
        rows: The lines.
        after: Link to the next page, empty on the last.
        before: Link to the previous page, empty on the first.
        about: Estimated number of records, in words.
    """

    rows: Sequence[Row]
    after: str
    before: str
    about: str


async def read_page(unit: Unit, listing: Listing, zone: str, root: str) -> ListPage:
    """Return the page that `listing` asks for.

    Raises:
        InvalidData: A filter's value or a cursor is wrong.
        QueryTimeout: No index serves this combination; narrower filters help.
    """
    await unit.session.execute(text(f"SET LOCAL statement_timeout = {LIST_TIMEOUT_MS}"))
    statement = listing.statement(unit)
    page = await unit[listing.view.model].page(
        statement,
        limit=PAGE_SIZE,
        after=listing.params.get("after") or None,
        before=listing.params.get("before") or None,
    )
    rows = [_row(listing.view, record, zone, root) for record in page.items]
    return ListPage(
        rows=rows,
        after="" if page.after is None else listing.link(after=page.after),
        before="" if page.before is None else listing.link(before=page.before),
        about=await _about(unit, listing),
    )


def _row(view: RecordView, record: Any, zone: str, root: str) -> Row:
    relations = set(view.relations().values())
    cells = []
    for name in view.columns:
        value = getattr(record, name)
        if name in relations:
            cells.append(Cell(str(value)) if value is not None else show(None))
        else:
            cells.append(show(value, name, zone))
    return Row(f"{root}/{view.identity}/details/{identifier(view, record)}", cells)


async def _about(unit: Unit, listing: Listing) -> str:
    """Return an estimate from the statistics: it costs the same for any number of rows."""
    if listing.is_filtered:
        return ""
    table = listing.view.model.__table__.fullname
    found = await unit.session.execute(
        text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(:name)"),
        {"name": table},
    )
    count = found.scalar_one_or_none() or -1
    return "" if count < 0 else f"about {count:,}"


def _clean(value: str) -> str:
    if "\x00" in value or len(value) > 200:  # noqa: PLR2004 - a search, not a document
        raise InvalidData("q", value, "be at most 200 characters without NUL")
    return value


def _key(name: str, value: str) -> Any:
    if not name.endswith("_id"):
        return _clean(value)
    try:
        return UUID(value)
    except ValueError:
        raise InvalidData(name, value, "be a record's id") from None


def _midnight(name: str, value: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(value), time(0), UTC)
    except (ValueError, OverflowError):
        raise InvalidData(name, value, "be a day such as 2026-01-31") from None
