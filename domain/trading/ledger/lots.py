"""What the ledger keeps: lots, closures, carries and cycles. Data and derived prices, no booking.

Lots and cycles are live: their book changes them as events arrive. Closures and carries are
facts. Quantities are signed (short is negative); values follow v(q, p) = q * multiplier * p,
for inverse contracts -q * multiplier / p, so a long linear lot has a positive value and a long
inverse lot a negative one. Everything is exact to 18 decimals.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final, TypeAlias

from domain.errors import InvalidData
from domain.money import CONTEXT, QUANTUM
from domain.trading.ledger.events import Order, Terms
from domain.trading.terms import Side

Residue: TypeAlias = tuple[Fraction, Fraction]
"""What 18 decimals cannot hold of two quantities after a split: 10 shares at 1:3 are 10/3.

With it the opposite split restores the quantities exactly. Trades work on the 18 decimals that
everybody sees and never on the residue, so selling what is shown closes the position.
"""

ZERO: Final = Decimal(0)


class LotOrigin(StrEnum):
    """What opened a lot."""

    TRADE = "trade"
    ASSIGNMENT = "assignment"
    EXERCISE = "exercise"
    CONVERSION = "conversion"
    TRANSFER = "transfer"
    OPENING_BALANCE = "opening_balance"
    ADJUSTMENT = "adjustment"


@dataclass(slots=True, kw_only=True)
class Lot:
    """What one trade opened, or one conversion carried, and what is left of it.

    Attributes:
        key: The opening trade's key; for a carried lot ``key_in/parent``.
        cycle: Number of the cycle that the lot belongs to.
        opening_key: Key of the trade that brought the lot into this book.
        origin: What opened it.
        parent: Key of the lot (in the book that it left) that a carried lot continues.
        acquired_at: When the holding period began; a carried lot keeps its parent's.
        sequence: The acquiring trade's sequence, carried like `acquired_at`. Lots are ordered by
            (acquired_at, sequence, key).
        opened_at: When the lot came into this book.
        quantity_opened: Signed, in today's units (splits scale it).
        quantity_remaining: Signed; 0 once closed.
        value_opened: Signed value at the opening.
        value_remaining: What is left of it; under the average method the lot's share of the pool.
        fees_opened: Fees at the opening.
        fees_remaining: What is left of them.
        closed_at: When nothing was left; None while open.
        residue: Of quantity_opened and quantity_remaining; None when there is none.
    """

    key: str
    cycle: int
    opening_key: str
    origin: LotOrigin
    acquired_at: datetime
    sequence: int
    opened_at: datetime
    quantity_opened: Decimal
    quantity_remaining: Decimal
    value_opened: Decimal
    value_remaining: Decimal
    fees_opened: Decimal
    fees_remaining: Decimal
    parent: str | None = None
    closed_at: datetime | None = None
    residue: Residue | None = None

    @property
    def order(self) -> Order:
        """The lot's place among lots: by acquisition, not by arrival in this book."""
        return (self.acquired_at, self.sequence, self.key)


@dataclass(frozen=True, slots=True)
class Closure:
    """A piece of a lot matched with a closing trade.

    Attributes:
        lot_key: The lot.
        closing_key: The trade that closed this piece.
        cycle: Number of the cycle.
        quantity: Signed like the lot, in the units of the closing day.
        open_value: Value of the piece at the opening, in the lot's sign.
        close_value: Value of the piece at the closing, in the lot's sign.
        open_fees: The piece's share of the opening fees.
        close_fees: The piece's share of the closing trade's fees.
        acquired_at: When the holding period began.
        closed_at: When the closing trade was executed.
    """

    lot_key: str
    closing_key: str
    cycle: int
    quantity: Decimal
    open_value: Decimal
    close_value: Decimal
    open_fees: Decimal
    close_fees: Decimal
    acquired_at: datetime
    closed_at: datetime

    @property
    def gross(self) -> Decimal:
        """Profit before fees: close value - open value, for long, short and inverse alike."""
        return CONTEXT.subtract(self.close_value, self.open_value)

    @property
    def net(self) -> Decimal:
        """Profit after the opening and the closing fees of this piece."""
        return CONTEXT.subtract(self.gross, CONTEXT.add(self.open_fees, self.close_fees))


@dataclass(frozen=True, slots=True)
class Carry:
    """A piece of a lot that left at cost: nothing was realized.

    Attributes:
        lot_key: The lot that it left.
        key: The trade that took it: the outgoing trade of a conversion or transfer, or the
            option's closing trade of an assignment.
        cycle: Number of the cycle that it left.
        quantity: Signed like the lot; 0 for a spin-off, where only basis leaves.
        value: Open value that left.
        fees: Open fees that left.
        carried_at: When.
        target: Key of the lot that continues it, of the stock trade that took over the premium,
            or None when it left the portfolio.
    """

    lot_key: str
    key: str
    cycle: int
    quantity: Decimal
    value: Decimal
    fees: Decimal
    carried_at: datetime
    target: str | None = None


@dataclass(slots=True, kw_only=True)
class Cycle:
    """One position from flat to flat.

    Attributes:
        terms: How the book is reckoned.
        number: 1 for the book's first cycle.
        side: BUY for a long cycle, SELL for a short one.
        opened_at: When it opened.
        opening_key: The trade that opened it.
        last_key: The last trade that touched it.
        last_order: Order of the last event that touched it, splits included.
        closed_at: When it became flat; None while open.
        quantity: Signed open quantity.
        peak_quantity: Largest unsigned quantity so far, in today's units.
        open_value: Signed value of the open lots.
        open_fees: Fees of the open lots.
        realized_gross: Sum of the closures' gross.
        realized_fees: Sum of the closures' opening and closing fees.
        closed_quantity: Sum of the closures' quantities, signed, in today's units.
        closed_value: Sum of the closures' close values.
        residue: Of peak_quantity and closed_quantity; None when there is none.
    """

    terms: Terms
    number: int
    side: Side
    opened_at: datetime
    opening_key: str
    last_key: str
    last_order: Order
    closed_at: datetime | None = None
    quantity: Decimal = ZERO
    peak_quantity: Decimal = ZERO
    open_value: Decimal = ZERO
    open_fees: Decimal = ZERO
    realized_gross: Decimal = ZERO
    realized_fees: Decimal = ZERO
    closed_quantity: Decimal = ZERO
    closed_value: Decimal = ZERO
    residue: Residue | None = None

    @property
    def realized_net(self) -> Decimal:
        """Realized profit after the fees of what was closed."""
        return CONTEXT.subtract(self.realized_gross, self.realized_fees)

    @property
    def entry_price(self) -> Decimal | None:
        """Average entry price of what is open, when flat of all that was closed; 18 decimals.

        Harmonic for inverse contracts, because value and not price adds up. None when nothing was
        closed: all of it left at cost.
        """
        if self.quantity:
            return average_price(self.terms, self.quantity, self.open_value)
        entered = CONTEXT.subtract(self.closed_value, self.realized_gross)
        return average_price(self.terms, self.closed_quantity, entered)

    @property
    def exit_price(self) -> Decimal | None:
        """Average closing price in today's units, rounded to 18 decimals; None before the first."""
        return average_price(self.terms, self.closed_quantity, self.closed_value)


def signed_value(terms: Terms, quantity: Decimal, price: Decimal) -> Decimal:
    """Return v(quantity, price), unrounded. Runs inside `domain.money.exact()`.

    Args:
        terms: Multiplier and direction of the quotation.
        quantity: Signed quantity.
        price: Price per unit of the underlying.

    Returns:
        quantity * multiplier * price, for inverse contracts -quantity * multiplier / price.

    Raises:
        InvalidData: The price of an inverse contract is not positive.

    Source: BitMEX, "Inverse Perpetual": profit = contracts * multiplier * (1/entry - 1/exit).
    """
    if not terms.inverse:
        return quantity * price * terms.multiplier
    if price <= 0:
        raise InvalidData("price", str(price), "be positive for an inverse contract")
    return -quantity * terms.multiplier / price


def average_price(terms: Terms, quantity: Decimal, value: Decimal) -> Decimal | None:
    """Return the price at which `quantity` has `value`: the inverse of v(q, p).

    Args:
        terms: Multiplier and direction of the quotation.
        quantity: Signed quantity.
        value: Signed value.

    Returns:
        value / (quantity * multiplier), for inverse contracts -quantity * multiplier / value,
        rounded half-even to 18 decimals; None where no price has that value.
    """
    if not quantity or (terms.inverse and not value):
        return None
    size = CONTEXT.multiply(quantity, terms.multiplier)
    price = (
        CONTEXT.divide(CONTEXT.minus(size), value) if terms.inverse else CONTEXT.divide(value, size)
    )
    return price.quantize(QUANTUM, context=CONTEXT)


def carried_key(key_in: str, parent: str) -> str:
    """Return the key of the lot that continues `parent` after the trade `key_in` brought it."""
    return f"{key_in}/{parent}"


def residue_text(residue: Residue | None) -> str | None:
    """Write a residue for storage, such as ``1/3000000000000000000 0``.

    Example:
        >>> residue_text((Fraction(1, 3), Fraction(0)))
        '1/3 0'
    """
    return None if residue is None else f"{residue[0]} {residue[1]}"


def parse_residue(text: str | None) -> Residue | None:
    """Read what `residue_text` wrote.

    Example:
        >>> parse_residue("1/3 0")
        (Fraction(1, 3), Fraction(0, 1))
    """
    if text is None:
        return None
    first, second = text.split(" ")
    return (Fraction(first), Fraction(second))
