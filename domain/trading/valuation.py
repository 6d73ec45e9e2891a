"""What positions are worth and how a portfolio did: pure arithmetic on amounts and times.

Nothing here reads a database, a clock or a price source; nothing here books. All amounts are
exact decimals rounded half-even to 18 decimals where a division forces it, all times aware UTC.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import pairwise
from operator import attrgetter
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from domain.errors import InvalidData
from domain.money import exact, quantized
from domain.trading.ledger import Terms, signed_value

Series: TypeAlias = Sequence[tuple[datetime, Decimal]]
"""Values by time, oldest first."""

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_PLAIN: Final = Terms()


@dataclass(frozen=True, slots=True)
class Unrealized:
    """Profit that a closing at the mark would realize.

    Attributes:
        gross: Before fees.
        net: After the fees that were paid to open.
    """

    gross: Decimal
    net: Decimal


@dataclass(frozen=True, slots=True)
class Exposure:
    """How much of the market a portfolio holds.

    Attributes:
        long: Sum of the long notionals; not negative.
        short: Sum of the short notionals; not positive.
        gross: long - short.
        net: long + short.
    """

    long: Decimal
    short: Decimal
    gross: Decimal
    net: Decimal


@dataclass(frozen=True, slots=True)
class CashFlow:
    """Cash that moved.

    Attributes:
        at: When.
        amount: Signed; positive came in.
    """

    at: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Holding:
    """A position from an instant on, until the next one of the same instrument.

    Attributes:
        at: From when.
        instrument: Any name, the same as in the prices.
        quantity: Signed; 0 once flat.
        unpaid: Open value that was never paid in cash: the position's open value when only
            profit moves cash (margined), 0 when the whole value did (upfront).
    """

    at: datetime
    instrument: str
    quantity: Decimal
    unpaid: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Mark:
    """A price from an instant on, until the next one of the same instrument.

    Attributes:
        at: From when.
        instrument: Any name, the same as in the holdings.
        price: Price per unit of the underlying.
    """

    at: datetime
    instrument: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """What a portfolio was worth.

    Attributes:
        at: When.
        cash: Sum of the cash movements until then.
        position_value: Market value of the positions, less what of it was never paid.
        equity: cash + position_value.
        unpriced: Instruments held without any price until then; they count nothing.
    """

    at: datetime
    cash: Decimal
    position_value: Decimal
    equity: Decimal
    unpriced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawdown:
    """A fall from a peak.

    Attributes:
        amount: Peak - trough, positive.
        ratio: amount / peak, 0.25 for a quarter.
        peak_at: When the peak was reached.
        trough_at: When the lowest value after it was reached.
    """

    amount: Decimal
    ratio: Decimal
    peak_at: datetime
    trough_at: datetime


@dataclass(frozen=True, slots=True)
class Profit:
    """Profit that was realized.

    Attributes:
        at: When the closing trade was executed.
        gross: Before fees.
        fees: Opening and closing fees of what was closed.
    """

    at: datetime
    gross: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class MonthlyProfit:
    """What a month realized.

    Attributes:
        month: Its first day.
        gross: Before fees.
        fees: Opening and closing fees.
        net: gross - fees.
        count: How many profits there were.
    """

    month: date
    gross: Decimal
    fees: Decimal
    net: Decimal
    count: int


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """A position from flat to flat.

    Attributes:
        opened_at: When it opened.
        closed_at: When it became flat.
        gross: Profit before fees.
        fees: All its fees.
    """

    opened_at: datetime
    closed_at: datetime
    gross: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingRecord:
    """How round trips went, after fees.

    Attributes:
        count: How many.
        wins: How many earned something.
        losses: How many lost something; the rest broke even.
        net: Sum of the net profits.
        win_rate: wins / count; None without round trips.
        average_win: Mean net profit of the wins; None without one.
        average_loss: Mean net profit of the losses, negative; None without one.
        profit_factor: Net profit of the wins / net loss of the losses; None without a loss.
        expectancy: net / count, the mean net profit; None without round trips.
        average_holding: Mean time from opening to closing; None without round trips.
    """

    count: int
    wins: int
    losses: int
    net: Decimal
    win_rate: Decimal | None
    average_win: Decimal | None
    average_loss: Decimal | None
    profit_factor: Decimal | None
    expectancy: Decimal | None
    average_holding: timedelta | None


def market_value(
    quantity: Decimal,
    price: Decimal,
    *,
    multiplier: Decimal = _ONE,
    inverse: bool = False,
) -> Decimal:
    """Return the signed value v(quantity, price) of a position at a price.

    Args:
        quantity: Signed quantity.
        price: Price per unit of the underlying.
        multiplier: Units of the underlying per contract.
        inverse: Whether the contract is settled in the currency that it prices.

    Returns:
        quantity * multiplier * price, for inverse contracts -quantity * multiplier / price (a
        long inverse position owes the base currency, so its value is negative).

    Raises:
        InvalidData: The price of an inverse contract, or a multiplier, is not positive.

    Example:
        >>> market_value(Decimal(-3), Decimal("1.25"), multiplier=Decimal(100))
        Decimal('-375.00')
    """
    with exact():
        terms = Terms(multiplier=multiplier, inverse=inverse)
        return quantized(signed_value(terms, quantity, price))


def unrealized(value: Decimal, open_value: Decimal, open_fees: Decimal = _ZERO) -> Unrealized:
    """Return the profit of a position at its market value.

    Args:
        value: Its market value.
        open_value: Its open value, signed alike.
        open_fees: The fees paid to open what is open.

    Returns:
        gross = value - open_value, for long, short and inverse alike; net = gross - open_fees.
    """
    with exact():
        gross = value - open_value
        return Unrealized(gross=gross, net=gross - open_fees)


def notional(
    quantity: Decimal,
    price: Decimal,
    *,
    multiplier: Decimal = _ONE,
    inverse: bool = False,
) -> Decimal:
    """Return the market value in the direction of the position: positive for long.

    It differs from `market_value` only for inverse contracts, whose value has the other sign.
    """
    value = market_value(quantity, price, multiplier=multiplier, inverse=inverse)
    return -value if inverse else value


def exposure(notionals: Iterable[Decimal]) -> Exposure:
    """Return the exposure of positions.

    Args:
        notionals: Signed notionals in one currency, as `notional` returns them.
    """
    long = short = _ZERO
    with exact():
        for value in notionals:
            long += max(value, _ZERO)
            short += min(value, _ZERO)
        return Exposure(long=long, short=short, gross=long - short, net=long + short)


def convert(amount: Decimal, rate: Decimal) -> Decimal:
    """Return `amount` in another currency, to 18 decimals.

    Args:
        amount: In the currency that is given.
        rate: Units of the wanted currency for one unit of the given one.

    Raises:
        InvalidData: `rate` is not positive.

    Example:
        >>> convert(Decimal("100"), Decimal("1.0867"))
        Decimal('108.6700')
    """
    if rate <= 0:
        raise InvalidData("rate", str(rate), "be positive")
    with exact():
        return quantized(amount * rate)


def equity_curve(
    times: Iterable[datetime],
    cash: Iterable[CashFlow],
    *,
    holdings: Iterable[Holding] = (),
    marks: Iterable[Mark] = (),
    terms: Mapping[str, Terms] | None = None,
) -> list[EquityPoint]:
    """Return what the portfolio was worth at each of `times`.

    Args:
        times: The instants asked for, such as daily closes.
        cash: All cash movements, in one currency and any order.
        holdings: All changes of positions, in any order. Of two at the same instant and in the
            same instrument the later given counts.
        marks: All prices, likewise.
        terms: Multiplier and direction of quotation by instrument; plain shares when missing.

    Returns:
        One point for each distinct time, oldest first. What happened at an instant counts at it.

    Raises:
        InvalidData: An inverse contract has a price that is not positive.
    """
    flows, held, priced = _Stream(cash), _Stream(holdings), _Stream(marks)
    balance = _ZERO
    positions: dict[str, Holding] = {}
    prices: dict[str, Decimal] = {}
    points = []
    with exact():
        for at in sorted(set(times)):
            balance += sum((flow.amount for flow in flows.until(at)), _ZERO)
            positions.update((holding.instrument, holding) for holding in held.until(at))
            prices.update((mark.instrument, mark.price) for mark in priced.until(at))
            positions = {name: holding for name, holding in positions.items() if holding.quantity}
            worth, unpriced = _position_value(positions.values(), prices, terms or {})
            points.append(EquityPoint(at, balance, worth, balance + worth, unpriced))
    return points


def growth(points: Series, flows: Iterable[CashFlow] = ()) -> list[tuple[datetime, Decimal]] | None:
    """Return what one unit of money became, whatever was paid in or out on the way.

    The return of a period is (end - flows) / start - 1: a flow counts at the end of its period.
    With a point at the instant of every flow, valued with the flow, that is exact; otherwise it
    is the end-of-day convention. A period that starts with nothing earns on its flows instead.

    Args:
        points: Equity by time, oldest first.
        flows: External flows, deposits positive and withdrawals negative, in any order. What
            lies before the first or after the last point does not matter.

    Returns:
        The chain-linked index, 1 at the first point, to 18 decimals; None when there is no point
        or a period starts with a debt, where no return is defined.

    Source: CFA Institute, Global Investment Performance Standards (GIPS) 2020: time-weighted
        returns are the geometrically linked returns of the sub-periods between external flows.
    """
    if not points:
        return None
    stream = _Stream(flows)
    stream.until(points[0][0])
    level = _ONE
    index = [(points[0][0], level)]
    with exact():
        for (_, start), (at, end) in pairwise(points):
            paid_in = sum((flow.amount for flow in stream.until(at)), _ZERO)
            factor = growth_factor(start, end, paid_in)
            if factor is None:
                return None
            level *= factor
            index.append((at, quantized(level)))
    return index


def growth_factor(start: Decimal, end: Decimal, paid_in: Decimal = _ZERO) -> Decimal | None:
    """Return what one unit of money became in a period, in the caller's decimal context.

    Args:
        start: Equity before the period.
        end: Equity after it.
        paid_in: External flows of the period, as if they came at its end.

    Returns:
        None where no return is defined: the period starts with a debt, or something came of
        nothing.
    """
    if start > 0:
        return (end - paid_in) / start
    if start == 0 and paid_in > 0:
        return end / paid_in
    return _ONE if start == end == paid_in == 0 else None


def time_weighted_return(points: Series, flows: Iterable[CashFlow] = ()) -> Decimal | None:
    """Return the time-weighted return over `points`, 0.10 for ten percent.

    Args and conventions are those of `growth`.

    Returns:
        The last level of `growth` - 1, or None where that is undefined.
    """
    index = growth(points, flows)
    with exact():
        return None if index is None else index[-1][1] - 1


def max_drawdown(points: Series) -> Drawdown | None:
    """Return the deepest fall from a running peak, by ratio; the earliest of equally deep ones.

    Deposits hide falls and withdrawals look like them: give it `growth` when there are flows.

    Args:
        points: Equity or growth by time, oldest first.

    Returns:
        The drawdown, or None when nothing ever fell below a positive peak.

    Source: Magdon-Ismail and Atiya, "Maximum Drawdown", Risk 17(10), 2004.
    """
    deepest: Drawdown | None = None
    with exact():
        peak_at, peak = points[0] if points else (None, _ZERO)
        for at, value in points:
            if peak_at is None or value > peak:
                peak_at, peak = at, value
            elif peak > 0 and value < peak:
                fall = peak - value
                ratio = quantized(fall / peak)
                if deepest is None or ratio > deepest.ratio:
                    deepest = Drawdown(fall, ratio, peak_at, at)
    return deepest


def profit_by_month(profits: Iterable[Profit], *, zone: tzinfo = UTC) -> list[MonthlyProfit]:
    """Return what each month realized, oldest first; months without a profit are absent.

    Args:
        profits: Realized profits in one currency, in any order.
        zone: Whose calendar decides the month.
    """
    months: dict[date, list[Profit]] = {}
    for profit in profits:
        month = profit.at.astimezone(zone).date().replace(day=1)
        months.setdefault(month, []).append(profit)
    with exact():
        return [_month(month, months[month]) for month in sorted(months)]


def trading_record(trips: Iterable[RoundTrip]) -> TradingRecord:
    """Return win rate, profit factor, expectancy and holding time of closed positions.

    Args:
        trips: Closed positions with profits in one currency.

    Source: Van K. Tharp, "Trade Your Way to Financial Freedom": expectancy is the mean result
        of a trade. Here it is in money, not in multiples of the initial risk.
    """
    trips = list(trips)
    with exact():
        results = [trip.gross - trip.fees for trip in trips]
        won = [result for result in results if result > 0]
        lost = [result for result in results if result < 0]
        held = sum((trip.closed_at - trip.opened_at for trip in trips), timedelta())
        return TradingRecord(
            count=len(trips),
            wins=len(won),
            losses=len(lost),
            net=sum(results, _ZERO),
            win_rate=_ratio(Decimal(len(won)), Decimal(len(trips))),
            average_win=_mean(won),
            average_loss=_mean(lost),
            profit_factor=_ratio(sum(won, _ZERO), -sum(lost, _ZERO)),
            expectancy=_mean(results),
            average_holding=held / len(trips) if trips else None,
        )


class _Dated(Protocol):
    @property
    def at(self) -> datetime: ...


_AnyDated = TypeVar("_AnyDated", bound=_Dated)


class _Stream(Generic[_AnyDated]):
    """Dated items, handed out once, in order of time."""

    def __init__(self, items: Iterable[_AnyDated]) -> None:
        self._items = sorted(items, key=attrgetter("at"))
        self._next = 0

    def until(self, at: datetime) -> Sequence[_AnyDated]:
        """Return the items up to and at `at` that were not handed out yet."""
        start = self._next
        while self._next < len(self._items) and self._items[self._next].at <= at:
            self._next += 1
        return self._items[start : self._next]


def _position_value(
    holdings: Iterable[Holding], prices: Mapping[str, Decimal], terms: Mapping[str, Terms]
) -> tuple[Decimal, tuple[str, ...]]:
    """Return the positions' value and the names of those without a price."""
    total = _ZERO
    unpriced = []
    for holding in holdings:
        name = holding.instrument
        if name in prices:
            value = signed_value(terms.get(name, _PLAIN), holding.quantity, prices[name])
            total += quantized(value) - holding.unpaid
        else:
            unpriced.append(name)
    return total, tuple(sorted(unpriced))


def _month(month: date, profits: Sequence[Profit]) -> MonthlyProfit:
    gross = sum((profit.gross for profit in profits), _ZERO)
    fees = sum((profit.fees for profit in profits), _ZERO)
    return MonthlyProfit(month, gross, fees, gross - fees, len(profits))


def _ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    return quantized(part / whole) if whole else None


def _mean(values: Sequence[Decimal]) -> Decimal | None:
    return _ratio(sum(values, _ZERO), Decimal(len(values)))
