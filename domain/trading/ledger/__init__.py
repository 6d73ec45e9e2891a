"""Trades become positions, lots and profit: the pure heart of the product.

Fills, splits, conversions and assignments go in, in any arrival order; lots, closures and
flat-to-flat cycles come out, exact to 18 decimals. No database, no clock, no settings:
`domain.trading.recording` books with it.

Example:
    >>> from datetime import UTC, datetime
    >>> from decimal import Decimal
    >>> from domain.trading.ledger import Fill, replay
    >>> from domain.trading.terms import Side
    >>> day = datetime(2024, 3, 1, 15, tzinfo=UTC)
    >>> state = replay([
    ...     Fill("a", Side.BUY, Decimal(10), Decimal("190.25"), fees=Decimal(1), executed_at=day),
    ...     Fill("b", Side.SELL, Decimal(4), Decimal("200.25"), executed_at=day, sequence=1),
    ... ])
    >>> print(state.quantity, state.realized_gross.normalize(), state.realized_fees.normalize())
    6 4E+1 0.4
"""

from domain.trading.ledger.book import Book
from domain.trading.ledger.events import (
    CASHLESS_KINDS,
    LEAVING_KINDS,
    ONLY_CLOSING_KINDS,
    Assignment,
    Conversion,
    Event,
    Fill,
    Order,
    Split,
    Terms,
)
from domain.trading.ledger.lots import (
    Carry,
    Closure,
    Cycle,
    Lot,
    LotOrigin,
    Residue,
    average_price,
    carried_key,
    parse_residue,
    residue_text,
    signed_value,
)
from domain.trading.ledger.outcome import Changes, State
from domain.trading.ledger.replaying import Ledger, ordered, replay

__all__ = [
    "CASHLESS_KINDS",
    "LEAVING_KINDS",
    "ONLY_CLOSING_KINDS",
    "Assignment",
    "Book",
    "Carry",
    "Changes",
    "Closure",
    "Conversion",
    "Cycle",
    "Event",
    "Fill",
    "Ledger",
    "Lot",
    "LotOrigin",
    "Order",
    "Residue",
    "Split",
    "State",
    "Terms",
    "average_price",
    "carried_key",
    "ordered",
    "parse_residue",
    "replay",
    "residue_text",
    "signed_value",
]
