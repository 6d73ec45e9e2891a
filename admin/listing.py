"""What an address asks of a list: filters, order, columns. `admin.paging` reads the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid
from starlette.datastructures import QueryParams
from starlette.requests import Request

from admin.conditions import (
    PARAMETER,
    Condition,
    Group,
    meaning,
    read,
)
from admin.days import days_of, instants_of
from admin.fields import label_of
from admin.ordering import (
    SMALL,
    SortKey,
    clauses,
    completed,
    is_ordered,
    is_served,
    own_keys,
    places,
    read_keys,
    words_of,
)
from admin.records import RecordView
from admin.signing_in import staff_of
from admin.translating import gettext
from domain.db.types import UtcDateTime
from domain.db.unit import Unit
from domain.errors import InvalidData

_CURSORS: Final = frozenset({"after", "before", "at", "count"})
"""Parameters of one page of a list, which its links drop."""
_MOST_COLUMNS: Final = 40


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

    @classmethod
    def of_text(cls, view: RecordView, query: str, zone: str) -> "Listing":
        """Return the list of a query string."""
        return cls(view, QueryParams(query), zone)

    def statement(self, unit: Unit) -> Select[Any]:
        """Return the filtered and ordered statement.

        Raises:
            InvalidData: A filter's value is none.
        """
        return self.view.base(unit).where(*self.conditions()).order_by(*self.ordering())

    def validate(self) -> None:
        """Judge everything that the query string asks.

        Raises:
            InvalidData: A filter, the order or a column is none.
        """
        self.conditions()
        self.ordering()
        _ = self.columns

    # ── filters ──────────────────────────────────────────────────────────────────────────────

    def conditions(self, *, without: str = "") -> list[ColumnElement[bool]]:
        """Return the conditions of search, filters and dates.

        Args:
            without: A filter that is left out.

        Raises:
            InvalidData: A filter's value is none.
        """
        given = {**self.keys(), **self.choices()}
        found = [
            getattr(self.view.model, name) == value
            for name, value in given.items()
            if name != without
        ]
        if self.view.search and self.params.get("q", "").strip():
            found.append(self.view.search_condition(_clean(self.params["q"])))
        if self.group.parts:
            found.append(meaning(self.view, self.group, self.zone))
        return found + self._dates()

    @property
    def group(self) -> Group:
        """The conditions on any column.

        Raises:
            InvalidData: They cannot be read.
        """
        return read(self.params.get(PARAMETER, ""))

    def choices(self) -> dict[str, Any]:
        """Return the words of closed vocabularies that narrow the list, by attribute.

        Raises:
            InvalidData: One of them is no word.
        """
        fields = self.view.fields([name for name in self.view.filters if self.params.get(name)])
        return {item.name: item.read(self.params[item.name]) for item in fields}

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

    def fixed(self) -> set[str]:
        """Return the attributes that are equal in every record of the list."""
        plain = [part for part in self.group.parts if isinstance(part, Condition)]
        same = {part.name for part in plain if part.operator == "is" and self._is_point(part.name)}
        return {*self.keys(), *self.choices()} | (same if self.group.word == "and" else set())

    def _is_point(self, name: str) -> bool:
        """Return whether "is" means one value; for a time it may be a whole day."""
        attribute = self.view.mapper.column_attrs.get(name)
        return attribute is not None and not isinstance(attribute.columns[0].type, UtcDateTime)

    def _dates(self) -> list[ColumnElement[bool]]:
        if not self.view.time_column:
            return []
        column = getattr(self.view.model, self.view.time_column)
        found = []
        if start := self.params.get("from"):
            found.append(column >= self._span("from", start)[0])
        if end := self.params.get("to"):
            found.append(column < self._span("to", end)[1])
        return found

    def _span(self, name: str, value: str) -> tuple[date, date]:
        """Return a day and the next one, or the instants at which they begin for the reader."""
        if self.view.is_day(self.view.time_column):
            return days_of(name, value)
        return instants_of(name, value, self.zone)

    # ── order ────────────────────────────────────────────────────────────────────────────────

    def ordering(self) -> list[Any]:
        """Return the ORDER BY.

        Raises:
            InvalidData: A column of the order is none.
        """
        return clauses(self.view, self.sort_keys)

    @property
    def sort_keys(self) -> tuple[SortKey, ...]:
        """The columns that the list is sorted by.

        Raises:
            InvalidData: One of them is none.
        """
        asked = read_keys(self.view, self.params.get("sort", ""))
        return completed(self.view, asked) if asked else own_keys(self.view)

    @property
    def is_in_time(self) -> bool:
        """Whether the list is in the order of its days, so that one can jump to a day."""
        return bool(self.view.time_column) and self.sort_keys[0].name == self.view.time_column

    def jump(self) -> list[ColumnElement[bool]]:
        """Return the condition that begins the list at the day ``at``.

        Raises:
            InvalidData: It is no day, or the list is in another order.
        """
        day = self.params.get("at", "")
        if not day:
            return []
        if not self.is_in_time:
            raise InvalidData("at", day, "be given for a list that is sorted by its time")
        column = getattr(self.view.model, self.view.time_column)
        start, end = self._span("at", day)
        return [column < end if self.sort_keys[0].is_descending else column >= start]

    # ── columns ──────────────────────────────────────────────────────────────────────────────

    @property
    def columns(self) -> Sequence[str]:
        """The chosen columns; else the view's, without what the list is narrowed to.

        Raises:
            InvalidData: A chosen column is none.
        """
        if chosen := self.params.get("columns", ""):
            return self._chosen(chosen)
        keys = self.keys()
        known = {relation for key, relation in self.view.relations().items() if key in keys}
        return [name for name in self.view.columns if name not in known and name not in keys]

    def _chosen(self, text: str) -> Sequence[str]:
        names = list(dict.fromkeys(text.split(",")))
        known = set(self.offered())
        for name in names:
            if name not in known:
                raise InvalidData("columns", name, f"be a column of {self.view.name_plural}")
        return names[:_MOST_COLUMNS]

    def offered(self) -> list[str]:
        """Return every column that may be shown: the view's own first, secrets never."""
        relations = self.view.relations()
        named = {key for key, relation in relations.items() if relation in self.view.columns}
        rest = [name for name in self.view.visible() if name not in named]
        return list(dict.fromkeys([*self.view.columns, *rest]))

    def heads(self, *, expected: int | None = None, is_sortable: bool = True) -> list["Head"]:
        """Return the columns' headings.

        Args:
            expected: About how many records the list has.
            is_sortable: Whether headings sort the list.
        """
        return [self._head(name, expected, is_sortable=is_sortable) for name in self.columns]

    def _head(self, name: str, expected: int | None, *, is_sortable: bool) -> "Head":
        kind = "number" if self.view.is_number(name) else ""
        head = Head(label_of(name), self.view.help_of(name), kind)
        if not is_sortable:
            return head
        place, key = places(self.sort_keys).get(name, (0, SortKey(name, is_descending=True)))
        order = ("descending" if key.is_descending else "ascending") if place else ""
        if why := self._why_not(name, expected):
            return head.sorted(order=order, why=why, place=place)
        asked = read_keys(self.view, self.params.get("sort", ""))
        others = [key.turned if item.name == name else item for item in asked]
        if name not in {item.name for item in asked}:
            others.append(SortKey(name, is_descending=False))
        alone = key.turned if place else SortKey(name, is_descending=False)
        return head.sorted(
            order=order,
            place=place if len(asked) > 1 else 0,
            link=self.link(sort=str(alone)),
            more=self.link(sort=words_of(others)) if asked and len(others) > 1 else "",
        )

    def _why_not(self, name: str, expected: int | None) -> str:
        """Return why a list cannot be sorted by a column; empty when it can."""
        if not is_ordered(self.view, name):
            is_column = name in self.view.mapper.column_attrs
            return (
                gettext("Such values have no order.")
                if is_column
                else gettext("Names of other records.")
            )
        if is_served(
            self.view, completed(self.view, [SortKey(name, is_descending=False)]), self.fixed()
        ):
            return ""
        if expected is not None and expected <= SMALL:
            return ""
        return gettext(
            "No index serves this order: narrow the list to %(count)s records to sort by it.",
            count=f"{SMALL:,}",
        )

    # ── links ────────────────────────────────────────────────────────────────────────────────

    @property
    def is_filtered(self) -> bool:
        """Whether anything narrows the list."""
        names = {*self.view.filters, *self.view.keys, PARAMETER}
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
        return f"?{urlencode({name: value for name, value in kept.items() if value}, safe=_PLAIN)}"

    def kept(self, *dropped: str) -> list[tuple[str, str]]:
        """Return the parameters that a form of this list carries on, without `dropped`."""
        gone = {*_CURSORS, *dropped}
        return [(name, value) for name, value in self.params.items() if value and name not in gone]


_PLAIN: Final = ":,()|"
"""Marks of conditions that an address may hold as they are: people read them."""


def listing_of(request: Request, view: RecordView) -> Listing:
    """Return the list that a request asks for."""
    return Listing(view, request.query_params, staff_of(request).user.timezone)


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a column.

    Args:
        label: What people read.
        help: What the column means.
        kind: ``number`` when its values are aligned right.
        order: ascending or descending when the list is ordered by it.
        link: Sorts by this column, or turns it around; empty where nothing serves it.
        more: Sorts by this column after those that are sorted by already.
        why: Why the list cannot be sorted by it.
        place: Its place among several columns that the list is sorted by; else 0.
    """

    label: str
    help: str
    kind: str
    order: str = ""
    link: str = ""
    more: str = ""
    why: str = ""
    place: int = 0

    def sorted(self, **how: Any) -> "Head":
        """Return the heading with what sorting by it needs."""
        return replace(self, **how)


def _clean(value: str) -> str:
    if "\x00" in value or len(value) > 200:  # noqa: PLR2004 - a search, not a document
        raise InvalidData("q", value, "be at most 200 characters without NUL")
    return value
