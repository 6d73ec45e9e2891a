"""Reads one page of a list: keyset walks, names of referenced records. No OFFSET, no COUNT."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import defer

from admin.addressing import identifier
from admin.conditions import Condition, Group, written
from admin.counting import Count, count_roughly, require_order
from admin.fields import label_of
from admin.listing import Listing
from admin.markup import Row
from admin.naming import Names, names_of
from admin.phrasing import group_in_words, in_words, titles_in
from admin.records import RecordView
from admin.rendering import NOTHING, Cell, show
from domain.db.estimating import Estimate
from domain.db.page import Page, encode_cursor, order_keys
from domain.db.unit import Unit

PAGE_SIZE: Final = 50
LIST_TIMEOUT_MS: Final = 3_000
"""A list that needs longer asks for a narrower filter instead of keeping the server busy."""

_PROSE: Final = 600
"""Characters of a text that a list shows where texts are what it is read for."""


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
class ListPage:
    """What the list template shows.

    Args:
        rows: The lines.
        chips: Records that the list is narrowed to.
        after: Link to the next page, empty on the last.
        before: Link to the previous page, empty on the first.
        count: How many records the list has; None when nobody asked.
    """

    rows: Sequence[Row]
    chips: Sequence[Chip]
    after: str
    before: str
    count: Count | None = None


async def read_page(
    unit: Unit,
    listing: Listing,
    root: str,
    *,
    size: int = PAGE_SIZE,
    expected: Estimate | None = None,
) -> ListPage:
    """Return the page that `listing` asks for.

    Args:
        unit: Any unit.
        listing: What is asked for.
        root: Where the admin is mounted.
        size: How many records a page has.
        expected: About how many records there are; None where nobody wants to know.

    Raises:
        InvalidData: A filter's value, an order or a cursor is wrong.
        QueryTimeout: No index serves this combination; narrower filters help.
    """
    await unit.session.execute(text(f"SET LOCAL statement_timeout = {LIST_TIMEOUT_MS}"))
    if expected is not None:
        require_order(listing, expected.rows)
    page = await _walk(unit, listing, size)
    references = [name for name in listing.columns if _is_reference(listing.view, name)]
    names = await names_of(unit, listing.view, page.items, references)
    lines = _Lines(listing, names, root)
    found = ListPage(
        rows=[lines.row(record) for record in page.items],
        chips=await _chips(unit, listing),
        after="" if page.after is None else listing.link(after=page.after),
        before="" if page.before is None else listing.link(before=page.before),
    )
    if page.after is None and page.before is None:
        return replace(found, count=Count(len(page.items), is_exact=True))
    if expected is None:
        return found
    return replace(found, count=await count_roughly(unit, listing, expected))


async def _walk(unit: Unit, listing: Listing, size: int) -> Page[Any]:
    jump = listing.jump()
    rows, statement = listing.view.rows(unit), listing.statement(unit).options(*_unread(listing))
    page = await rows.page(
        statement.where(*jump),
        limit=size,
        after=listing.params.get("after") or None,
        before=listing.params.get("before") or None,
    )
    if jump and page.items and page.before is None:
        # Whoever jumped may walk on both ways.
        keys = order_keys(statement, listing.view.model)
        return replace(page, before=encode_cursor(keys, page.items[0]))
    return page


def _unread(listing: Listing) -> list[Any]:
    """Return options that leave structures in the database which the list does not show."""
    attributes = listing.view.mapper.column_attrs
    return [
        defer(getattr(listing.view.model, attribute.key), raiseload=True)
        for attribute in attributes
        if isinstance(attribute.columns[0].type, JSONB) and attribute.key not in listing.columns
    ]


class _Lines:
    """Turns records into lines; what is the same for every line is found once a page.

    Args:
        listing: The list.
        names: What the records are called that foreign keys lead to.
        root: Where the admin is mounted.
    """

    def __init__(self, listing: Listing, names: Names, root: str) -> None:
        view = listing.view
        self._view, self._zone, self._names, self._root = view, listing.zone, names, root
        self._start = f"{root}/{view.identity}/details/"
        keys = {relation: key for key, relation in view.relations().items()}
        self._cells = [self._cell(name, keys.get(name, "")) for name in listing.columns]

    def row(self, record: Any) -> Row:
        """Return the line of a record."""
        key = identifier(self._view, record)
        return Row(f"{self._start}{key}", [cell(record) for cell in self._cells], key)

    def _cell(self, name: str, key: str) -> Callable[[Any], Cell]:
        """Return what makes the cell of a column, of a relation with its foreign key `key`."""
        if key:
            return partial(self._related, name, key)
        if _is_reference(self._view, name):
            return partial(self._reference, name)
        if name in self._view.prose:
            return partial(self._prose, name)
        return partial(self._plain, name, "number none" if self._view.is_number(name) else "none")

    def _related(self, name: str, key: str, record: Any) -> Cell:
        related = getattr(record, name)
        if related is None:
            return self._reference(key, record)
        title = self._view.title_of(related)
        return self._names.cell(key, getattr(record, key), self._root, text=title)

    def _reference(self, name: str, record: Any) -> Cell:
        value = getattr(record, name)
        if (name, value) in self._names:
            return self._names.cell(name, value, self._root)
        return show(value, name, self._zone)

    def _prose(self, name: str, record: Any) -> Cell:
        value = getattr(record, name)
        if not isinstance(value, str) or not value:
            return show(value, name, self._zone)
        return Cell(value if len(value) <= _PROSE else f"{value[: _PROSE - 1]}…", "prose")

    def _plain(self, name: str, none: str, record: Any) -> Cell:
        value = getattr(record, name)
        return Cell(NOTHING, none) if value is None else show(value, name, self._zone)


def _is_reference(view: RecordView, name: str) -> bool:
    """Return whether a column holds keys that say nothing; codes such as USD need no name."""
    attribute = view.mapper.column_attrs.get(name)
    return attribute is not None and isinstance(attribute.columns[0].type, Uuid)


async def _chips(unit: Unit, listing: Listing) -> list[Chip]:
    keys = listing.keys()
    names = await names_of(unit, listing.view, [keys], list(keys))
    found = [
        Chip(label_of(name), names.text(name, value), listing.link(**{name: None}))
        for name, value in keys.items()
    ]
    group = listing.group
    references = await titles_in(unit, listing.view, group)
    for index, part in enumerate(group.parts):
        rest = Group(group.word, (*group.parts[:index], *group.parts[index + 1 :]))
        link = listing.link(where=written(rest) or None)
        if isinstance(part, Condition):
            found.append(Chip(label_of(part.name), in_words(part, references), link))
        else:
            found.append(Chip("", group_in_words(part, references), link))
    return found
