"""The order of a list: which columns, which way, and whether the table can be walked so."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ARRAY, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB

from admin.indexes import Order, serves
from admin.records import RecordView
from domain.db.page import Through
from domain.errors import InvalidData

SMALL: Final = 50_000
"""Records that may be sorted without an index: some 50 ms."""

_MOST_KEYS: Final = 4
_UNORDERED: Final = (JSONB, ARRAY, LargeBinary)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column that a list is sorted by.

    Args:
        name: The attribute.
        is_descending: Whether the largest comes first.
    """

    name: str
    is_descending: bool

    def __str__(self) -> str:
        return f"-{self.name}" if self.is_descending else self.name

    @property
    def turned(self) -> "SortKey":
        """The same column the other way."""
        return SortKey(self.name, not self.is_descending)


def is_ordered(view: RecordView, name: str) -> bool:
    """Return whether the values of an attribute have an order that people see."""
    attribute = view.mapper.column_attrs.get(name)
    if attribute is None:
        return _named_by(view, name) is not None
    return name in view.visible() and not isinstance(attribute.columns[0].type, _UNORDERED)


def _named_by(view: RecordView, name: str) -> Any:
    """Return the column that names the record behind a relation of the list, if one column does."""
    keys = [key for key, relation in view.relations().items() if relation == name]
    target = view.targets().get(keys[0]) if keys and name in view.columns else None
    if target is None or not target.search:
        return None
    (column,) = target.search[0].property.columns
    return target.search[0] if isinstance(column.type, Text) else None


def _column(view: RecordView, name: str) -> Any:
    """Return what the list is sorted by: a column, or the name behind a relation."""
    own = getattr(view.model, name)
    return own if name in view.mapper.column_attrs else Through(own, _named_by(view, name))


def read_keys(view: RecordView, text: str) -> tuple[SortKey, ...]:
    """Return the columns of ``-executed_at,price``.

    Raises:
        InvalidData: A column is none, or has no order.
    """
    if not text:
        return ()
    names = text.split(",")
    if len(names) > _MOST_KEYS:
        raise InvalidData("sort", text, f"have at most {_MOST_KEYS} columns")
    keys = [SortKey(name.removeprefix("-"), name.startswith("-")) for name in names]
    for key in keys:
        if not is_ordered(view, key.name):
            raise InvalidData("sort", key.name, f"be a column of {view.name_plural} with an order")
    if len({key.name for key in keys}) < len(keys):
        raise InvalidData("sort", text, "name each column once")
    return tuple(keys)


def own_keys(view: RecordView) -> tuple[SortKey, ...]:
    """Return the view's own order."""
    return tuple(SortKey(column.key, view.is_newest_first) for column in view.order)


def completed(view: RecordView, keys: Sequence[SortKey]) -> tuple[SortKey, ...]:
    """Return `keys`; the first column of the view's own order turns all of it around."""
    own = [column.key for column in view.order]
    if len(keys) == 1 and keys[0].name == own[0]:
        return tuple(SortKey(name, keys[0].is_descending) for name in own)
    return tuple(keys)


def clauses(view: RecordView, keys: Sequence[SortKey]) -> list[Any]:
    """Return the ORDER BY; records without a value stand at the end, whichever way."""
    found = []
    for key in keys:
        column = _column(view, key.name)
        ordered = column.desc() if key.is_descending else column.asc()
        found.append(ordered.nulls_last() if _is_nullable(view, key.name) else ordered)
    return found


def is_served(view: RecordView, keys: Sequence[SortKey], fixed: Collection[str]) -> bool:
    """Return whether an index gives this order, with the columns `fixed` equal in all rows."""
    if tuple(keys) in (own_keys(view), tuple(key.turned for key in own_keys(view))):
        return True
    columns = view.mapper.column_attrs
    if any(key.name not in columns for key in keys):
        return False
    stored = [
        Order(
            columns[key.name].columns[0].name,
            key.is_descending,
            is_plain=not (key.is_descending and _is_nullable(view, key.name)),
        )
        for key in keys
    ]
    return serves(view.table, {columns[name].columns[0].name for name in fixed}, stored)


def words_of(keys: Sequence[SortKey]) -> str:
    """Return the keys as they stand in an address."""
    return ",".join(str(key) for key in keys)


def places(keys: Sequence[SortKey]) -> Mapping[str, tuple[int, SortKey]]:
    """Return the place of each column, from 1, with its direction."""
    return {key.name: (place, key) for place, key in enumerate(keys, start=1)}


def _is_nullable(view: RecordView, name: str) -> bool:
    attribute = view.mapper.column_attrs.get(name)
    if attribute is None:
        return bool(_column(view, name).is_nullable)
    return bool(attribute.columns[0].nullable)
