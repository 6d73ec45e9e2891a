"""Fixed rules that turn real bars into trades. Pure: the same bars always give the same trades."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from domain.demo.files import DailyBar
from domain.trading.terms import Side

_CLOSE = timedelta(hours=20)
_COMMISSION = Decimal("1.00")
_FEE_RATE = Decimal("0.0000229")
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Order:
    """One execution at a bar's close.

    Args:
        symbol: What to trade.
        side: Direction.
        quantity: Units.
        price: The close.
        executed_at: 20:00 UTC of the day.
        note: Why, for the journal.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    executed_at: datetime
    note: str

    @property
    def commission(self) -> Decimal:
        """A flat dollar."""
        return _COMMISSION

    @property
    def fees(self) -> Decimal:
        """The SEC fee on sells, in cents."""
        if self.side is Side.BUY:
            return Decimal(0)
        return (self.quantity * self.price * _FEE_RATE).quantize(_CENT)


def _order(bar: DailyBar, side: Side, quantity: Decimal, note: str) -> Order:
    return Order(bar.symbol, side, quantity, bar.close, bar.starts_at + _CLOSE, note)


def monthly_saving(bars: Sequence[DailyBar], budget: Decimal) -> Iterator[Order]:
    """Buy whole shares for `budget` on the first trading day of each month, sell a third a year on.

    Args:
        bars: One symbol's bars, by day.
        budget: Quote currency a month.
    """
    held = Decimal(0)
    previous: DailyBar | None = None
    for bar in bars:
        if previous is not None and previous.day.month != bar.day.month:
            shares = (budget / bar.close).quantize(Decimal(1), ROUND_DOWN)
            if shares:
                held += shares
                yield _order(bar, Side.BUY, shares, "monthly saving plan")
            if bar.day.month == 1 and held >= 3:  # noqa: PLR2004 - a third of it
                part = (held / 3).quantize(Decimal(1), ROUND_DOWN)
                held -= part
                yield _order(bar, Side.SELL, part, "yearly rebalancing: a third is sold")
        previous = bar


def crossover(bars: Sequence[DailyBar], size: Decimal) -> Iterator[Order]:
    """Be long above the 50-day average and short below it; every change of sign flips at once.

    Args:
        bars: One symbol's bars, by day.
        size: Units of the position on either side.
    """
    position = Decimal(0)
    window = 50
    for index in range(window, len(bars)):
        bar = bars[index]
        average = sum((past.close for past in bars[index - window : index]), Decimal(0)) / window
        # A band of two percent keeps it from trading every day.
        target = position
        if bar.close > average * Decimal("1.02"):
            target = size
        elif bar.close < average * Decimal("0.98"):
            target = -size
        if target != position:
            side = Side.BUY if target > position else Side.SELL
            reason = "above" if target > 0 else "below"
            yield _order(bar, side, abs(target - position), f"close {reason} the 50-day average")
            position = target


def fractional(bars: Sequence[DailyBar], budget: Decimal) -> Iterator[Order]:
    """Buy a fraction for `budget` every fortnight, take a quarter of the profit after a double.

    Args:
        bars: One pair's bars, by day.
        budget: Quote currency a fortnight.
    """
    held = cost = Decimal(0)
    for bar in bars[::14]:
        amount = (budget / bar.close).quantize(Decimal("0.00000001"), ROUND_DOWN)
        held, cost = held + amount, cost + budget
        yield _order(bar, Side.BUY, amount, "fortnightly purchase")
        if held * bar.close > 2 * cost:
            part = (held / 4).quantize(Decimal("0.00000001"), ROUND_DOWN)
            cost -= cost * part / held
            held -= part
            yield _order(bar, Side.SELL, part, "doubled: a quarter is sold")
