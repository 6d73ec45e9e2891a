"""The cells of tables as HTML: written here because a page has hundreds of them.

A template's macro costs several times as much for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from markupsafe import Markup

from admin.rendering import Cell

_ONWARD: Final = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
_CLASSES: Final = frozenset({"time", "prose"})


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
    return Markup(_column(cell, link, more, attribute=_attribute("data-live", live)))  # noqa: S704 - escaped


def lines(rows: Sequence[Row], form: str = "", editing: Mapping[int, str] | None = None) -> Markup:
    """Return the lines of a table.

    Args:
        rows: The records.
        form: The form that chosen records are sent with; empty where none are chosen.
        editing: Attributes that are changed in the list, by their place in a line.
    """
    found = [_line(row, form, editing or {}) for row in rows]
    return Markup("\n".join(found))  # noqa: S704 - every part is escaped


def _line(row: Row, form: str, editing: Mapping[int, str]) -> str:
    last = len(row.cells) - 1
    cells = [_pick(row.key, form)] if form else []
    for place, cell in enumerate(row.cells):
        link = row.link if place == row.lead else ""
        more = row.link if place == last and row.lead < 0 else ""
        name = editing.get(place, "")
        attribute, change = _editing(row.link, name) if name else ("", "")
        cells.append(_column(cell, link, more, attribute=attribute, change=change))
    return f"<tr>{''.join(cells)}</tr>"


def _pick(key: str, form: str) -> str:
    return (
        f'<td class="pick"><input type="checkbox" name="key" value="{escape(key)}" '
        f'form="{escape(form)}" aria-label="Choose this record"></td>'
    )


def _editing(link: str, name: str) -> tuple[str, str]:
    """Return the attribute and the link of a cell that is changed in its list."""
    cells, form = link.replace("/details/", "/cells/"), link.replace("/details/", "/edit/")
    attribute = _attribute("data-cell", f"{cells}?field={name}")
    goal = escape(f"{form}#{name}")
    return attribute, f' <a class="edit-cell" href="{goal}" aria-label="Change">✎</a>'


def _column(cell: Cell, link: str, more: str, *, attribute: str = "", change: str = "") -> str:
    kind = "number" if cell.kind.startswith("number") else cell.kind
    shown = f' class="{kind}"' if kind == "number" or kind in _CLASSES else ""
    opener = (
        f' <a class="open" href="{escape(more)}" aria-label="Open">{_ONWARD}</a>' if more else ""
    )
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
