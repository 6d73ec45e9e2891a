"""A trade on its way into a book: signed, valued, and shrinking as it closes lots."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, Self

from domain.trading.ledger.events import Fill, Order, Terms, booked_value
from domain.trading.ledger.lots import LotOrigin, signed_value
from domain.trading.ledger.splits import share
from domain.trading.terms import Side, TradeKind

_ORIGINS: Final = {
    TradeKind.ASSIGNMENT: LotOrigin.ASSIGNMENT,
    TradeKind.EXERCISE: LotOrigin.EXERCISE,
    TradeKind.TRANSFER_IN: LotOrigin.TRANSFER,
    TradeKind.OPENING_BALANCE: LotOrigin.OPENING_BALANCE,
    TradeKind.CONVERSION_IN: LotOrigin.CONVERSION,
    TradeKind.ADJUSTMENT: LotOrigin.ADJUSTMENT,
}


@dataclass(slots=True)
class Leg:
    """What is left to book of a trade. All arithmetic runs inside `domain.money.exact()`.

    Attributes:
        key: Key of the trade.
        lot_key: Key of the lot that the rest of it opens.
        order: Order of the event.
        quantity: Signed; negative sells.
        value: Signed like v(quantity, price).
        fees: Fees to allocate.
        acquired_at: When the holding period of an opened lot begins.
        sequence: The acquiring trade's sequence.
        origin: What opens the lot.
        parent: The lot that an opened lot continues.
    """

    key: str
    lot_key: str
    order: Order
    quantity: Decimal
    value: Decimal
    fees: Decimal
    acquired_at: datetime
    sequence: int
    origin: LotOrigin = LotOrigin.TRADE
    parent: str | None = None

    @classmethod
    def of(cls, fill: Fill, terms: Terms, *, buys: bool) -> Self:
        """Return the leg of a trade.

        Raises:
            InvalidData: The value reaches 10^20, or an inverse contract has no positive price.
        """
        value = booked_value(_unsigned_value(fill, terms), "gross_amount")
        return cls(
            fill.key,
            fill.key,
            fill.order,
            fill.quantity if buys else -fill.quantity,
            value if buys else -value,
            fill.fees,
            fill.executed_at,
            fill.sequence,
            _ORIGINS.get(fill.kind, LotOrigin.TRADE),
        )

    def take(self, quantity: Decimal) -> tuple[Decimal, Decimal]:
        """Take `quantity`, signed like the leg, off and return its share of value and fees."""
        value = share(self.value, quantity, self.quantity)
        fees = share(self.fees, quantity, self.quantity)
        self.quantity -= quantity
        self.value -= value
        self.fees -= fees
        return value, fees

    def split_off(self, quantity: Decimal) -> Self:
        """Take `quantity` off as a leg of its own: the closing part of a flip."""
        value, fees = self.take(quantity)
        return replace(self, quantity=quantity, value=value, fees=fees)


def buys(fill: Fill) -> bool:
    """Return whether the trade is a purchase."""
    return fill.side == Side.BUY


def _unsigned_value(fill: Fill, terms: Terms) -> Decimal:
    """Return v(quantity, price) of the unsigned quantity, before rounding.

    The broker's gross amount wins. For an inverse contract the price is positive, so the sign of
    the amount carries no information and the broker may state it either way.
    """
    gross = fill.gross_amount
    if gross is None:
        return signed_value(terms, fill.quantity, fill.price)
    return -abs(gross) if terms.inverse else gross
