"""Keyset pages: the cost of a page does not depend on how deep it lies.

The order is taken from the statement itself, the primary key is appended as tie-break, and a
cursor is the opaque encoding of one row's order values. Offsets are never used.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    UnaryExpression,
    and_,
    false,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy import inspect as inspect_mapper
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql import operators

from domain.errors import InvalidCursor, InvalidData

T = TypeVar("T")

MAX_LIMIT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a keyset walk.

    Args:
        items: The rows, in the statement's order.
        after: Cursor for the next page; None on the last.
        before: Cursor for the previous page; None on the first.
    """

    items: Sequence[T]
    after: str | None
    before: str | None


class Through(ScalarSelect[Any]):
    """A column of the record that a relation leads to, as an order that pages can walk.

    No index serves it: it is looked up for every row. The relation must be loaded with the rows.

    Args:
        relation: A relation to one record, such as ``Trade.instrument``.
        column: The other record's column, such as ``Instrument.symbol``.

    Example:
        >>> from domain.market.models import Instrument
        >>> from domain.trading.models import Trade
        >>> Through(Trade.instrument, Instrument.symbol).key
        'instrument.symbol'
    """

    inherit_cache = True

    def __init__(
        self, relation: InstrumentedAttribute[Any], column: InstrumentedAttribute[Any]
    ) -> None:
        other: Any = aliased(column.class_)
        stored = inspect_mapper(other).selectable.c
        pairs = relation.property.local_remote_pairs or ()
        looked_up = select(getattr(other, column.key)).correlate_except(other)
        super().__init__(looked_up.where(*(here == stored[there.key] for here, there in pairs)))
        self.key = f"{relation.key}.{column.key}"
        is_given = all(not here.nullable for here, _ in pairs)
        self.is_nullable = not is_given or bool(column.property.columns[0].nullable)


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One column of an order.

    Args:
        column: The attribute, or the way through a relation.
        descending: Whether the largest comes first.
        nulls_first: Where rows without a value stand; None when every row has one.
    """

    column: InstrumentedAttribute[Any] | Through
    descending: bool
    nulls_first: bool | None = None

    def value_of(self, row: Any) -> Any:
        """Return where a row stands in this order; None where a relation leads nowhere."""
        for name in str(self.column.key).split("."):
            row = None if row is None else getattr(row, name)
        return row

    def clause(self, *, forward: bool) -> UnaryExpression[Any]:
        """Return the ORDER BY element, turned around to walk backwards."""
        ordered = self.column.desc() if self.descending == forward else self.column.asc()
        if self.nulls_first is None:
            return ordered
        return ordered.nulls_first() if self.nulls_first == forward else ordered.nulls_last()

    def equals(self, value: Any) -> ColumnElement[bool]:
        """Return the condition for rows that share `value`."""
        return self.column.is_(None) if value is None else self.column == value

    def passes(self, value: Any, *, forward: bool) -> ColumnElement[bool]:
        """Return the condition for rows that stand behind `value`, in front of it backwards."""
        nulls_follow = self.nulls_first is not None and self.nulls_first != forward
        if value is None:
            return false() if nulls_follow else self.column.is_not(None)
        further = self.column > value if self.descending != forward else self.column < value
        return or_(further, self.column.is_(None)) if nulls_follow else further


def order_keys(statement: Select[Any], model: type[Any]) -> tuple[OrderKey, ...]:
    """Return the statement's order with the primary key appended as tie-break.

    Rows without a value stand where the statement puts them, by default where PostgreSQL does: at
    the end, and descending at the start.

    Raises:
        InvalidData: The order uses an expression or another table's column; a keyset cannot walk
            these.
    """
    keys = [_order_key(clause, model) for clause in statement._order_by_clauses]  # noqa: SLF001 - the only place SQLAlchemy keeps the order
    mapper = inspect_mapper(model)
    seen = {key.column.key for key in keys}
    descending = keys[-1].descending if keys else False
    for column in mapper.primary_key:
        attribute = mapper.get_property_by_column(column)
        if attribute.key not in seen:
            keys.append(OrderKey(getattr(model, attribute.key), descending))
    return tuple(keys)


def _order_key(clause: ColumnElement[Any], model: type[Any]) -> OrderKey:
    descending, nulls_first, column = _direction(clause)
    if isinstance(column, Through):
        place = descending if nulls_first is None else nulls_first
        return OrderKey(column, descending, place if column.is_nullable else None)
    name = getattr(column, "name", None)
    for attribute in inspect_mapper(model).column_attrs:
        stored = attribute.columns[0]
        if name == stored.name and column.shares_lineage(stored):
            if not getattr(stored, "nullable", True):
                return OrderKey(getattr(model, attribute.key), descending)
            place = descending if nulls_first is None else nulls_first
            return OrderKey(getattr(model, attribute.key), descending, place)
    raise InvalidData("order_by", str(column), f"be a column of {model.__name__}")


def _direction(clause: ColumnElement[Any]) -> tuple[bool, bool | None, ColumnElement[Any]]:
    """Return whether the order descends, where it puts NULL when it says so, and what it orders."""
    descending, nulls_first = False, None
    while isinstance(clause, UnaryExpression):
        if clause.modifier in {operators.nulls_first_op, operators.nulls_last_op}:
            nulls_first = clause.modifier is operators.nulls_first_op
        elif clause.modifier in {operators.desc_op, operators.asc_op}:
            descending = clause.modifier is operators.desc_op
        else:
            raise InvalidData("order_by", str(clause), "be plain columns, ascending or descending")
        clause = clause.element
    return descending, nulls_first, clause


def beyond(keys: Sequence[OrderKey], values: Sequence[Any], *, forward: bool) -> Any:
    """Return the condition that selects the rows after (or before) the row with `values`.

    One direction for all columns becomes a row comparison that an index can seek to. Mixed
    directions and NULLs become an OR, bounded on the first column so that the index still seeks.
    """
    has_nulls = any(key.nulls_first is not None for key in keys)
    if len({key.descending for key in keys}) == 1 and not has_nulls:
        columns = tuple_(*(key.column for key in keys))
        compare = operators.gt if keys[0].descending != forward else operators.lt
        return compare(columns, tuple_(*_bound(keys, values)))
    return _mixed(keys, values, forward=forward)


def _mixed(keys: Sequence[OrderKey], values: Sequence[Any], *, forward: bool) -> Any:
    branches = []
    for index, key in enumerate(keys):
        equal = [other.equals(value) for other, value in zip(keys[:index], values, strict=False)]
        branches.append(and_(*equal, key.passes(values[index], forward=forward)))
    first = keys[0]
    if first.nulls_first is not None:
        return or_(*branches)
    bound: Any = operators.ge if first.descending != forward else operators.le
    return and_(bound(first.column, values[0]), or_(*branches))


def _bound(keys: Sequence[OrderKey], values: Sequence[Any]) -> list[Any]:
    return [literal(value, key.column.type) for key, value in zip(keys, values, strict=True)]


_ENCODERS: Final[dict[type, tuple[str, Callable[[Any], Any]]]] = {
    NoneType: ("n", str),
    str: ("s", str),
    int: ("i", str),
    bool: ("b", bool),
    UUID: ("u", str),
    Decimal: ("d", str),
    bytes: ("x", bytes.hex),
    datetime: ("t", datetime.isoformat),
    date: ("a", date.isoformat),
}
_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "s": str,
    "i": int,
    "b": bool,
    "u": UUID,
    "d": Decimal,
    "x": bytes.fromhex,
    "n": lambda _: None,
    "t": datetime.fromisoformat,
    "a": date.fromisoformat,
}


def encode_cursor(keys: Sequence[OrderKey], row: Any) -> str:
    """Return the opaque cursor that stands for `row` in the order `keys`."""
    values = [_encode(key.value_of(row)) for key in keys]
    text = json.dumps([_signature(keys), *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(keys: Sequence[OrderKey], cursor: str) -> tuple[Any, ...]:
    """Return the order values inside `cursor`.

    Raises:
        InvalidCursor: Not a cursor, or one made for another order.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        signature, *pairs = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        values = tuple(_DECODERS[tag](text) for tag, text in pairs)
    except (ValueError, TypeError, KeyError, ArithmeticError, binascii.Error, RecursionError):
        raise InvalidCursor("cursor", cursor, "be a cursor that a page returned") from None
    if signature != _signature(keys) or len(values) != len(keys):
        raise InvalidCursor("cursor", cursor, "belong to the same order")
    pairs_of = zip(keys, values, strict=True)
    if any(value is None and key.nulls_first is None for key, value in pairs_of):
        raise InvalidCursor("cursor", cursor, "be a cursor that a page returned")
    return values


def _encode(value: Any) -> tuple[str, Any]:
    # asyncpg's UUID and our StrEnums are subclasses of what a cursor knows.
    for kind in type(value).__mro__:
        if kind in _ENCODERS:
            tag, encoder = _ENCODERS[kind]
            return tag, encoder(value)
    raise InvalidData("order_by", type(value).__name__, "be text, number, time or key columns")


def _signature(keys: Sequence[OrderKey]) -> str:
    words = {None: "", True: "<", False: ">"}
    text = ",".join(
        f"{key.column.key}{'-' if key.descending else '+'}{words[key.nulls_first]}" for key in keys
    )
    return hashlib.sha256(text.encode()).hexdigest()[:8]
