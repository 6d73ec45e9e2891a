"""Prices that are comparable across splits, as charts and ranges show them; never for booking.

Stored bars are as traded. A price before a split is divided by its ratio, a volume multiplied, so
that both are in the units of today.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import prod
from typing import Final
from uuid import UUID

from sqlalchemy import select

from domain.db.unit import Unit
from domain.market.models import CorporateAction
from domain.market.terms import CorporateActionKind
from domain.money import exact, quantized

KINDS: Final = (
    CorporateActionKind.SPLIT,
    CorporateActionKind.REVERSE_SPLIT,
    CorporateActionKind.STOCK_DIVIDEND,
)
"""Actions that change how much of an issuer one unit is."""


@dataclass(frozen=True, slots=True)
class Split:
    """A change of units.

    Args:
        ex_on: The first day in new units, by the exchange's calendar.
        ratio: New units for one old one: 4 for a 4:1 split, 1/8 for a reverse split of 8.
    """

    ex_on: date
    ratio: Fraction


@dataclass(frozen=True, slots=True)
class Splits:
    """All splits of an instrument.

    Args:
        items: The splits, in any order.

    Example:
        >>> apple = Splits((Split(date(2020, 8, 31), Fraction(4)),))
        >>> apple.price(Decimal("500.04"), date(2020, 8, 28))
        Decimal('125.01')
        >>> apple.price(Decimal("129.04"), date(2020, 8, 31))
        Decimal('129.04')
    """

    items: tuple[Split, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.items)

    def after(self, day: date) -> Fraction:
        """Return how many units of today one unit of the trading day `day` is."""
        return prod((item.ratio for item in self.items if day < item.ex_on), start=Fraction(1))

    def price(self, price: Decimal, day: date) -> Decimal:
        """Return a price of `day` in units of today; half-even at 18 decimals."""
        return scaled(price, 1 / self.after(day))


def scaled(value: Decimal, factor: Fraction) -> Decimal:
    """Return `value` times `factor`; half-even at 18 decimals."""
    if factor == 1:
        return value
    with exact():
        return quantized(value * factor.numerator / factor.denominator)


async def splits_of(unit: Unit, instrument_id: UUID) -> Splits:
    """Return the splits of an instrument that are registered."""
    action = CorporateAction
    chosen = select(action.ex_on, action.numerator, action.denominator).where(
        action.instrument_id == instrument_id, action.kind.in_(KINDS)
    )
    rows = await unit.session.execute(chosen)
    return Splits(
        tuple(Split(ex_on, Fraction(new, old)) for ex_on, new, old in rows if new and old)
    )
