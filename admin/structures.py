"""Reads JSON as people do: pairs, lists and tables instead of braces.

What stands in a page is bounded: a structure that is deep or long is left to its JSON.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from admin.fields import label_of
from admin.rendering import NOTHING, Cell, number

_DEEPEST: Final = 5
_MOST: Final = 200
_WIDEST: Final = 12
_WORD: Final = 24
"""Longer texts are sentences: they stand in lines of their own."""

_DECIMAL: Final = re.compile(r"-?\d{1,20}\.\d{1,20}")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value."""

    cell: Cell
    kind: str = "leaf"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Named parts."""

    parts: Sequence[tuple[str, Any]]
    kind: str = "pairs"


@dataclass(frozen=True, slots=True)
class Items:
    """Parts in order."""

    parts: Sequence[Any]
    kind: str = "items"


@dataclass(frozen=True, slots=True)
class Grid:
    """Records of the same kind, one a line."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    kind: str = "grid"


Node = Leaf | Pairs | Items | Grid


def structure(value: Any) -> Node | None:
    """Return how a JSON value is read; None when it is too large or too deep to be."""
    return _node(value, 0) if _is_small(value, 0) else None


def _is_small(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    parts = list(value.values()) if isinstance(value, dict) else value
    if depth > _DEEPEST or len(parts) > _MOST:
        return False
    return all(_is_small(part, depth + 1) for part in parts)


def _node(value: Any, depth: int) -> Node:
    if isinstance(value, dict) and value:
        return Pairs([(label_of(key), _node(part, depth + 1)) for key, part in value.items()])
    if isinstance(value, list) and value:
        return _grid(value) or _items(value, depth)
    return Leaf(leaf(value))


def _items(values: list[Any], depth: int) -> Node:
    texts = [] if any(isinstance(value, dict | list) for value in values) else values
    if texts and all(len(leaf(value).text) <= _WORD for value in texts):
        return Leaf(Cell(", ".join(leaf(value).text for value in texts)))
    return Items([_node(value, depth + 1) for value in values])


def _grid(values: list[Any]) -> Grid | None:
    """Return a table of objects that hold plain values under few names."""
    if len(values) < 2 or not all(_is_flat(value) for value in values):  # noqa: PLR2004 - one object is no table
        return None
    names = list(dict.fromkeys(name for value in values for name in value))
    if len(names) > _WIDEST:
        return None
    # JSONB keeps no order of names: what things are called comes before their numbers.
    names.sort(key=lambda name: leaf(values[0].get(name)).kind.startswith("number"))
    rows = [[leaf(value.get(name)) for name in names] for value in values]
    return Grid([label_of(name) for name in names], rows)


def _is_flat(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and not any(isinstance(part, dict | list) for part in value.values())
    )


def leaf(value: Any) -> Cell:
    """Return a plain value; amounts are kept as text in JSON, and are numbers here."""
    if value is None or value in ("", [], {}):
        return Cell(NOTHING, "none")
    if isinstance(value, bool):
        return Cell("yes" if value else "no", "word")
    if isinstance(value, int):
        return Cell(str(value), "number")
    if isinstance(value, float | Decimal):
        return Cell(str(value), "number")
    text = str(value)
    return number(Decimal(text)) if _DECIMAL.fullmatch(text) else Cell(text)
