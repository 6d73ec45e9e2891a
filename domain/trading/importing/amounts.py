"""The arithmetic of a row: signed cash becomes gross amounts and prices that fit the database."""

from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.money import checked, exact, quantized
from domain.trading.terms import Side

_ZERO: Final = Decimal(0)


def gross_of(cash: Decimal, side: Side) -> Decimal:
    """Return the value of the unsigned quantity from the cash that it moved.

    The sign of the cash wins over the label: a sell that costs money has a negative value.

    Args:
        cash: Signed: positive came in.
        side: Direction of the trade.

    Example:
        >>> gross_of(Decimal("-930"), Side.BUY), gross_of(Decimal("-5"), Side.SELL)
        (Decimal('930'), Decimal('-5'))
    """
    if not cash:
        return _ZERO
    return cash if side is Side.SELL else -cash


def value_of(quantity: Decimal, price: Decimal, multiplier: Decimal) -> Decimal:
    """Return quantity * price * multiplier, rounded half-even to 18 decimals.

    Raises:
        InvalidData: The product is 10^20 or more.
    """
    with exact():
        return checked(quantized(quantity * price * multiplier), "gross_amount")


def price_of(gross: Decimal, quantity: Decimal, multiplier: Decimal) -> Decimal:
    """Return gross / (quantity * multiplier), rounded half-even to 18 decimals.

    Raises:
        InvalidData: The quotient is 10^20 or more.
    """
    with exact():
        return checked(quantized(gross / (quantity * multiplier)), "price")


def total(*amounts: Decimal) -> Decimal:
    """Return the exact sum.

    Raises:
        InvalidData: The sum is 10^20 or more.
    """
    with exact():
        return checked(sum(amounts, _ZERO), "amount")


def positive(number: Decimal, field: str) -> Decimal:
    """Return `number`.

    Raises:
        InvalidData: It is 0 or negative.
    """
    if number <= 0:
        raise InvalidData(field, f"{number:f}", "be greater than 0")
    return number
