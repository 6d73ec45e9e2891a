"""Reads one page of a list: keyset walks, names of referenced records. No OFFSET, no COUNT."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import defer

from admin.addressing import identifier
from admin.conditions import Condition, Group, written
from admin.counting import Count, count_roughly, measured, require_order
from admin.fields import label_of
from admin.listing import Listing
from admin.markup import Row
from admin.naming import Names, names_of
from admin.phrasing import group_in_words, in_words, titles_in
from admin.rendering import NOTHING, Cell, show
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
    unit: Unit, listing: Listing, root: str, *, size: int = PAGE_SIZE, is_measured: bool = True
) -> ListPage:
    """Return the page that `listing` asks for.

    Args:
        unit: Any unit.
        listing: What is asked for.
        root: Where the admin is mounted.
        size: How many records a page has.
        is_measured: Whether to estimate how many records there are.

    Raises:
        InvalidData: A filter's value, an order or a cursor is wrong.
        QueryTimeout: No index serves this combination; narrower filters help.
    """
    await unit.session.execute(text(f"SET LOCAL statement_timeout = {LIST_TIMEOUT_MS}"))
    expected = await measured(unit, listing) if is_measured else None
    if expected is not None:
        require_order(listing, expected.rows)
    page = await _walk(unit, listing, size)
    names = await names_of(unit, listing.view, page.items, listing.columns)
    found = ListPage(
        rows=[_row(listing, record, names, root) for record in page.items],
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
    key = identifier(view, record)
    return Row(f"{root}/{view.identity}/details/{key}", cells, key)


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
