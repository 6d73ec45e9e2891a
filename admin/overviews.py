"""What pages show of a portfolio: figures, curve, calendar, holdings, trades and cash."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from admin.calendars import Calendar, calendar_of
from admin.charts import Bars, Line, bar_chart, line_chart
from admin.rendering import NOTHING, show
from admin.translating import gettext, marked
from domain.database import Reader
from domain.trading import reporting
from domain.trading.curve import CurvePoint, closed_record, curve
from domain.trading.models import (
    EquitySnapshot,
    LotClosure,
    Portfolio,
    Position,
    PositionStatus,
    Trade,
)
from domain.trading.valuation import TradingRecord

_RECENT: Final = 8
_MOST_MONTHS: Final = 60
_MOST_SLICES: Final = 12


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure about how a portfolio does.

    Args:
        label: What it is.
        text: How it reads.
        kind: positive, negative or nothing.
        help: How it is computed.
    """

    label: str
    text: str
    kind: str
    help: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of what a portfolio holds.

    Args:
        label: The instrument.
        share: Percent of the gross value, 0 to 100.
        amount: Market value in its currency; negative when short.
        currency: That currency.
        position_id: The position.
    """

    label: str
    share: Decimal
    amount: Decimal
    currency: str
    position_id: UUID


@dataclass(frozen=True, slots=True)
class Overview:
    """What the pages show of one portfolio.

    Args:
        portfolio: The portfolio.
        equity: Its curve, if it has one.
        latest: The newest point of the curve.
        calendar: What each day of the last year earned.
        ratios: (label, value, column, meaning) of how it does.
        slices: What it holds, the largest first.
        months: Realized net profit by month of the largest currency.
        currency: That currency.
        positions: Open positions, the largest first.
        trades: The newest trades.
        cash: Cash by currency.
        kinds: Cash by kind and currency.
    """

    portfolio: Portfolio
    equity: Line | None
    latest: EquitySnapshot | None
    calendar: Calendar | None
    ratios: Sequence[Ratio]
    slices: Sequence[Slice]
    months: Bars | None
    currency: str
    positions: Sequence[Position]
    trades: Sequence[Trade]
    cash: Sequence[tuple[str, Decimal]]
    kinds: Sequence[Any]


async def read_overview(unit: Reader, portfolio: Portfolio) -> Overview:
    """Return what the pages show of `portfolio`; its user is loaded."""
    points = await curve(unit, portfolio.id)
    positions = await _positions(unit, portfolio.id)
    currency, months = await _months(unit, portfolio)
    cash = await reporting.cash(unit, portfolio)
    return Overview(
        portfolio=portfolio,
        equity=line_chart([(point.at, point.equity) for point in points]),
        latest=await _latest(unit, portfolio.id),
        calendar=calendar_of([(point.at.date(), point.profit) for point in points[1:]]),
        ratios=[*_of_curve(points), *_of_record(await closed_record(unit, portfolio.id))],
        slices=_slices(positions),
        months=bar_chart(months[-_MOST_MONTHS:]),
        currency=currency,
        positions=positions,
        trades=await _trades(unit, portfolio.id),
        cash=_by_currency(cash),
        kinds=cash,
    )


def _of_curve(points: Sequence[CurvePoint]) -> list[Ratio]:
    """Return the figures of a curve; none without a return."""
    if not points or points[-1].level is None:
        return []
    earned = show((points[-1].level - 1) * 100, "return_pct")
    falls = [(point.drawdown, point.at) for point in points if point.drawdown is not None]
    deepest, at = min(falls)
    now_down = show((falls[-1][0]) * 100, "return_pct")
    deep = show(deepest * 100, "return_pct")
    return [
        Ratio(
            marked("Return"),
            earned.text,
            earned.kind,
            marked("Time-weighted: without deposits (GIPS 2020)"),
        ),
        Ratio(
            marked("Drawdown now"),
            now_down.text,
            now_down.kind,
            marked("Below the highest level so far"),
        ),
        Ratio(
            marked("Deepest drawdown"),
            deep.text,
            deep.kind,
            gettext("Reached on %(day)s", day=f"{at:%Y-%m-%d}"),
        ),
    ]


def _of_record(found: tuple[str, TradingRecord] | None) -> list[Ratio]:
    """Return the figures of the closed positions; none before one was closed."""
    if found is None:
        return []
    currency, record = found
    rate = Decimal(0) if record.win_rate is None else record.win_rate
    factor = NOTHING if record.profit_factor is None else f"{record.profit_factor:.2f}"
    mean = show(record.expectancy, "net")
    return [
        Ratio(
            marked("Closed positions"),
            f"{record.count:,}",
            "",
            gettext("In %(currency)s, flat to flat", currency=currency),
        ),
        Ratio(
            marked("Won"),
            f"{rate * 100:.1f} %",
            "",
            gettext(
                "%(wins)s won, %(losses)s lost",
                wins=f"{record.wins:,}",
                losses=f"{record.losses:,}",
            ),
        ),
        Ratio(marked("Profit factor"), factor, "", marked("Won for one unit lost, after fees")),
        Ratio(
            gettext("Expectancy %(currency)s", currency=currency),
            mean.text,
            mean.kind,
            marked("Mean profit of a closed position"),
        ),
    ]


def _slices(positions: Sequence[Position]) -> list[Slice]:
    """Return the largest positions of the currency that most are valued in, by gross value."""
    valued = [(item, item.market_value) for item in positions if item.market_value]
    if not valued:
        return []
    (currency, _), *_ = Counter(item.currency for item, _ in valued).most_common(1)
    same = [(item, value) for item, value in valued if item.currency == currency]
    gross = sum((abs(value) for _, value in same), Decimal(0))
    return [
        Slice(str(item.instrument), abs(value) * 100 / gross, value, currency, item.id)
        for item, value in same[:_MOST_SLICES]
    ]


async def _latest(unit: Reader, portfolio_id: UUID) -> EquitySnapshot | None:
    snapshots = unit.equity_snapshots
    return await snapshots.first(
        snapshots.query(EquitySnapshot.portfolio_id == portfolio_id).order_by(
            EquitySnapshot.time.desc()
        )
    )


async def _positions(unit: Reader, portfolio_id: UUID) -> Sequence[Position]:
    statement = unit.positions.query(
        Position.portfolio_id == portfolio_id, Position.status == PositionStatus.OPEN
    )
    largest = func.abs(func.coalesce(Position.market_value, Position.open_value)).desc()
    return await unit.positions.all(
        statement.options(joinedload(Position.instrument)).order_by(largest).limit(30)
    )


async def _trades(unit: Reader, portfolio_id: UUID) -> Sequence[Trade]:
    statement = unit.trades.query(Trade.portfolio_id == portfolio_id)
    return await unit.trades.all(
        statement.options(joinedload(Trade.instrument))
        .order_by(Trade.executed_at.desc(), Trade.id.desc())
        .limit(_RECENT)
    )


async def _months(unit: Reader, portfolio: Portfolio) -> tuple[str, list[tuple[date, Decimal]]]:
    """Return realized net profit by month in the currency that most closures are in."""
    month = func.date_trunc("month", func.timezone("UTC", LotClosure.closed_at))
    statement = (
        select(Position.currency, month.label("month"), func.sum(LotClosure.net_pnl), func.count())
        .join(Position, Position.id == LotClosure.position_id)
        .where(Position.portfolio_id == portfolio.id)
        .group_by(Position.currency, month)
        .order_by(month)
    )
    rows = (await unit.session.execute(statement)).all()
    counts: dict[str, int] = {}
    for currency, _, _, count in rows:
        counts[currency] = counts.get(currency, 0) + count
    chosen = max(counts, key=lambda name: counts[name], default=portfolio.base_currency)
    return chosen, _filled({at.date(): net for currency, at, net, _ in rows if currency == chosen})


def _filled(months: dict[date, Decimal]) -> list[tuple[date, Decimal]]:
    """Return every month from the first to the last: one without closures earned nothing."""
    filled, month = [], min(months, default=date.max)
    while month <= max(months, default=date.min):
        filled.append((month, months.get(month, Decimal(0))))
        month = (month + timedelta(days=31)).replace(day=1)
    return filled


def _by_currency(rows: Sequence[Any]) -> list[tuple[str, Decimal]]:
    totals: dict[str, Decimal] = {}
    for row in rows:
        totals[row["currency"]] = totals.get(row["currency"], Decimal(0)) + row["amount"]
    return sorted(totals.items())
