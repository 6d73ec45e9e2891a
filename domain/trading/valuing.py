"""Values portfolios: marks open positions, and rebuilds the equity curve from facts and prices.

Amounts of other currencies are converted at the day's rate; a day without a rate uses the last
one before it. What has no price counts at the price of its last trade.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Self
from uuid import UUID

from sqlalchemy import delete, update

from domain.db.bulk import any_of
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.market.models import CorporateAction, Instrument, LatestPrice
from domain.market.repositories import BarRepository, FxRateRepository
from domain.money import exact, quantized
from domain.trading.keys import BookKey
from domain.trading.ledger import Book, Ledger
from domain.trading.models import (
    CashMovement,
    CashStatus,
    EquitySnapshot,
    Portfolio,
    Position,
    PositionStatus,
    Trade,
    TradeStatus,
)
from domain.trading.streams import Stream, terms_of
from domain.trading.terms import CashKind, CashModel, TradeKind
from domain.trading.valuation import CashFlow, Holding, Mark, equity_curve

CONTRIBUTIONS: Final = frozenset(
    {CashKind.DEPOSIT, CashKind.WITHDRAWAL, CashKind.TRANSFER, CashKind.OPENING_BALANCE}
)
"""Cash that owners bring or take: it is no profit."""

_DAY: Final = timedelta(days=1)
_LOOK_BACK: Final = timedelta(days=10)
_LONG_AGO: Final = datetime(1900, 1, 1, tzinfo=UTC)
_FAR_AHEAD: Final = datetime(9999, 1, 1, tzinfo=UTC)
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


async def mark_positions(unit: UnitOfWork) -> int:
    """Give every open position of the scope the newest price; return how many changed."""
    newest = (
        update(Position)
        .where(
            Position.instrument_id == LatestPrice.instrument_id,
            Position.status == PositionStatus.OPEN,
            Position.current_price.is_distinct_from(LatestPrice.price),
        )
        .values(current_price=LatestPrice.price, marked_at=LatestPrice.time)
    )
    result = await unit.session.execute(newest, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE's cursor result


async def refresh_equity(unit: UnitOfWork, portfolio: Portfolio, *, until: date) -> int:
    """Rebuild the daily equity curve of `portfolio` from its first fact to `until`.

    A point stands at the end of a UTC day: the midnight that follows it.

    Args:
        unit: A transaction.
        portfolio: Which portfolio.
        until: The last day, included.

    Returns:
        How many points were written.

    Raises:
        InvalidData: A currency has no exchange rate into the base currency at all.
    """
    await unit.session.execute(
        delete(EquitySnapshot).where(
            EquitySnapshot.user_id == portfolio.user_id,
            EquitySnapshot.portfolio_id == portfolio.id,
        )
    )
    facts = await _Facts.load(unit, portfolio)
    first = facts.first_day()
    if first is None or first > until:
        return 0
    times = [_end_of(first + _DAY * number) for number in range((until - first).days + 1)]
    parts = [
        await _in_base(unit, portfolio.base_currency, _Strand(facts, currency), times)
        for currency in sorted(facts.currencies())
    ]
    rows = [_snapshot(portfolio, at, points) for at, *points in zip(times, *parts, strict=True)]
    await unit[EquitySnapshot].insert_many(rows)
    return len(rows)


def _end_of(day: date) -> datetime:
    return datetime.combine(day + _DAY, time(0), UTC)


@dataclass(frozen=True, slots=True)
class _Facts:
    portfolio: Portfolio
    trades: Sequence[Trade]
    cash: Sequence[CashMovement]
    instruments: Mapping[UUID, Instrument]
    actions: Sequence[CorporateAction]
    closes: Sequence[tuple[UUID, datetime, Decimal]]

    @classmethod
    async def load(cls, unit: UnitOfWork, portfolio: Portfolio) -> Self:
        trades = await unit[Trade].all(
            unit[Trade].query(
                Trade.portfolio_id == portfolio.id,
                Trade.status == TradeStatus.BOOKED,
                Trade.kind != TradeKind.BUST,
            )
        )
        cash = await unit[CashMovement].all(
            unit[CashMovement].query(
                CashMovement.portfolio_id == portfolio.id,
                CashMovement.status == CashStatus.BOOKED,
            )
        )
        instruments = await unit[Instrument].many({trade.instrument_id for trade in trades})
        actions = await unit[CorporateAction].all(
            unit[CorporateAction].query(CorporateAction.instrument_id == any_of(instruments))
        )
        start = min((trade.executed_at for trade in trades), default=_LONG_AGO) - _LOOK_BACK
        bars = unit.repository(BarRepository)
        closes = await bars.closes(instruments, start=start, end=_FAR_AHEAD)
        return cls(portfolio, trades, cash, instruments, actions, closes)

    def first_day(self) -> date | None:
        times = [trade.executed_at for trade in self.trades]
        times += [movement.effective_at for movement in self.cash]
        return min(times).date() if times else None

    def currencies(self) -> set[str]:
        return {movement.currency for movement in self.cash} | {
            trade.currency for trade in self.trades
        }


class _Strand:
    """One currency's part of a portfolio's history."""

    def __init__(self, facts: _Facts, currency: str) -> None:
        self.currency = currency
        self.cash = [item for item in facts.cash if item.currency == currency]
        self.trades = [item for item in facts.trades if item.currency == currency]
        self._facts = facts
        self._books = {BookKey.of(trade).book: trade.instrument_id for trade in self.trades}
        self.terms = {
            book: terms_of(facts.portfolio, facts.instruments[instrument_id])
            for book, instrument_id in self._books.items()
        }
        self.holdings: list[Holding] = []
        self.costs: list[tuple[datetime, str, Decimal]] = []
        self._replay()

    def _replay(self) -> None:
        facts = self._facts
        stream = Stream(facts.portfolio, self.trades, facts.actions, facts.instruments)
        ledger = Ledger(self.terms)
        for event in sorted(stream.events(), key=lambda item: item.order):
            for name in ledger.apply(event):
                self._note(event.order[0], name, ledger.books[name])

    def _note(self, at: datetime, name: str, book: Book) -> None:
        cycle = book.cycle
        quantity = cycle.quantity if cycle else _ZERO
        value = cycle.open_value if cycle else _ZERO
        fees = cycle.open_fees if cycle else _ZERO
        unpaid = value if self.terms[name].cash_model is CashModel.MARGINED else _ZERO
        self.holdings.append(Holding(at, name, quantity, unpaid))
        with exact():
            self.costs.append((at, name, value - unpaid + fees))

    def marks(self) -> Iterator[Mark]:
        """Yield the prices of the last trades, and the closes once their day is over."""
        for trade in self.trades:
            yield Mark(trade.executed_at, BookKey.of(trade).book, trade.price)
        books = defaultdict(list)
        for book, instrument_id in self._books.items():
            books[instrument_id].append(book)
        for instrument_id, start, close in self._facts.closes:
            for book in books.get(instrument_id, ()):
                yield Mark(start + _DAY, book, close)


@dataclass(frozen=True, slots=True)
class _Point:
    cash: Decimal
    position_value: Decimal
    cost: Decimal
    contributions: Decimal


async def _in_base(
    unit: UnitOfWork, base: str, strand: _Strand, times: Sequence[datetime]
) -> list[_Point]:
    """Return the strand's points at `times`, in the portfolio's base currency."""
    flows = [CashFlow(item.effective_at, item.amount) for item in strand.cash]
    brought = [
        CashFlow(item.effective_at, item.amount)
        for item in strand.cash
        if item.kind in CONTRIBUTIONS
    ]
    points = equity_curve(
        times, flows, holdings=strand.holdings, marks=strand.marks(), terms=strand.terms
    )
    contributions = equity_curve(times, brought)
    costs = _running(strand.costs, times)
    rates = await _rates(unit, strand.currency, base, times)
    with exact():
        return [
            _Point(
                cash=quantized(point.cash * rate),
                position_value=quantized(point.position_value * rate),
                cost=quantized(cost * rate),
                contributions=quantized(paid.cash * rate),
            )
            for point, paid, cost, rate in zip(points, contributions, costs, rates, strict=True)
        ]


def _running(
    costs: Sequence[tuple[datetime, str, Decimal]], times: Sequence[datetime]
) -> list[Decimal]:
    """Return what all positions together cost at each of `times`, both in order of time."""
    held: dict[str, Decimal] = {}
    waiting = deque(costs)
    totals = []
    for at in times:
        while waiting and waiting[0][0] <= at:
            _, name, cost = waiting.popleft()
            held[name] = cost
        with exact():
            totals.append(sum(held.values(), _ZERO))
    return totals


async def _rates(
    unit: UnitOfWork, currency: str, base: str, times: Sequence[datetime]
) -> list[Decimal]:
    if currency == base:
        return [_ONE] * len(times)
    fixings = deque(await unit.repository(FxRateRepository).history(currency, base))
    if not fixings:
        raise InvalidData("fx_rate", f"{currency}/{base}", "be known to value the portfolio")
    rate = fixings[0][1]
    rates = []
    for at in times:
        # The day that ends at `at` is the one before it.
        while fixings and fixings[0][0] < at.date():
            rate = fixings.popleft()[1]
        rates.append(rate)
    return rates


def _snapshot(portfolio: Portfolio, at: datetime, points: Sequence[_Point]) -> dict[str, Any]:
    with exact():
        cash = sum((point.cash for point in points), _ZERO)
        value = sum((point.position_value for point in points), _ZERO)
        cost = sum((point.cost for point in points), _ZERO)
        contributions = sum((point.contributions for point in points), _ZERO)
        return {
            "user_id": portfolio.user_id,
            "portfolio_id": portfolio.id,
            "time": at,
            "currency": portfolio.base_currency,
            "equity": cash + value,
            "cash": cash,
            "position_value": value,
            "unrealized_pnl": value - cost,
            "realized_pnl": cash + cost - contributions,
            "net_contributions": contributions,
        }
