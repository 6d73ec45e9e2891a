"""The cells of tables as HTML: written here because a page has hundreds of them.

A template's macro costs several times as much for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from markupsafe import Markup

from admin.rendering import Cell
from admin.translating import gettext, pgettext

_ONWARD: Final = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
_CLASSES: Final = frozenset({"time", "prose"})


@dataclass(frozen=True, slots=True)
class _Said:
    """What the lines of a table say beside their values, asked for once a table."""

    choose: str
    open: str
    change: str

    @classmethod
    def now(cls) -> "_Said":
        """Return it in the language of the request."""
        found = (gettext("Choose this record"), pgettext("a record", "Open"), gettext("Change"))
        return cls(*(escape(text) for text in found))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list.

    Args:
        link: The record's page.
        cells: One a column.
        key: The record's key, as in its address.
    """

    link: str
    cells: Sequence[Cell]
    key: str = ""

    @property
    def lead(self) -> int:
        """Index of the cell that leads to the record, -1 when all lead elsewhere."""
        free = (at for at, cell in enumerate(self.cells) if not cell.link)
        return next(free, -1)


def value(cell: Cell, link: str = "") -> Markup:
    """Return a value: a link where it leads somewhere, the exact value on hover."""
    return Markup(_value(cell, link))  # noqa: S704 - every part is escaped


def column(cell: Cell, link: str = "", more: str = "", live: str = "") -> Markup:
    """Return a value as a cell of a table.

    Args:
        cell: The value.
        link: Where it leads, unless it says so itself.
        more: The record, where no cell of the line leads to it.
        live: The symbol whose live price stands here.
    """
    opener = _opener(more, _Said.now()) if more else ""
    return Markup(_column(cell, link, opener, attribute=_attribute("data-live", live)))  # noqa: S704 - escaped


def lines(rows: Sequence[Row], form: str = "", editing: Mapping[int, str] | None = None) -> Markup:
    """Return the lines of a table.

    Args:
        rows: The records.
        form: The form that chosen records are sent with; empty where none are chosen.
        editing: Attributes that are changed in the list, by their place in a line.
    """
    said = _Said.now()
    found = [_line(row, form, editing or {}, said=said) for row in rows]
    return Markup("\n".join(found))  # noqa: S704 - every part is escaped


def _line(row: Row, form: str, editing: Mapping[int, str], *, said: _Said) -> str:
    last = len(row.cells) - 1
    cells = [_pick(row.key, form, said)] if form else []
    for place, cell in enumerate(row.cells):
        link = row.link if place == row.lead else ""
        opener = _opener(row.link, said) if place == last and row.lead < 0 else ""
        name = editing.get(place, "")
        attribute, change = _editing(row.link, name, said) if name else ("", "")
        cells.append(_column(cell, link, opener, attribute=attribute, change=change))
    return f"<tr>{''.join(cells)}</tr>"


def _pick(key: str, form: str, said: _Said) -> str:
    return (
        f'<td class="pick"><input type="checkbox" name="key" value="{escape(key)}" '
        f'form="{escape(form)}" aria-label="{said.choose}"></td>'
    )


def _opener(link: str, said: _Said) -> str:
    return f' <a class="open" href="{escape(link)}" aria-label="{said.open}">{_ONWARD}</a>'


def _editing(link: str, name: str, said: _Said) -> tuple[str, str]:
    """Return the attribute and the link of a cell that is changed in its list."""
    cells, form = link.replace("/details/", "/cells/"), link.replace("/details/", "/edit/")
    attribute = _attribute("data-cell", f"{cells}?field={name}")
    goal = escape(f"{form}#{name}")
    return attribute, f' <a class="edit-cell" href="{goal}" aria-label="{said.change}">✎</a>'


def _column(cell: Cell, link: str, opener: str, *, attribute: str = "", change: str = "") -> str:
    kind = "number" if cell.kind.startswith("number") else cell.kind
    shown = f' class="{kind}"' if kind == "number" or kind in _CLASSES else ""
    return f"<td{attribute}{shown}>{_value(cell, link)}{opener}{change}</td>"


def _value(cell: Cell, link: str) -> str:
    text, kind = escape(cell.text), escape(cell.kind)
    if cell.kind == "json":
        return f'<pre tabindex="0">{text}</pre>'
    title = _attribute("title", cell.title)
    if goal := link or cell.link:
        return f'<a class="{kind}" href="{escape(goal)}"{title}>{text}</a>'
    return f'<span class="{kind}"{title}>{text}</span>'


def _attribute(name: str, text: str) -> str:
    return f' {name}="{escape(text)}"' if text else ""
