"""The curve of a portfolio, day by day: equity, profit, growth without deposits, drawdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import Interval, case, func, select

from domain.db.unit import Unit
from domain.money import exact, quantized
from domain.trading.models import EquitySnapshot, Position, PositionStatus
from domain.trading.valuation import CashFlow, TradingRecord, growth

_ONE, _ZERO = Decimal(1), Decimal(0)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a portfolio was worth at the end of a day, in its base currency.

    Attributes:
        at: When, UTC.
        equity: Cash and positions.
        contributed: Deposits less withdrawals to date.
        profit: What the day earned: the change of equity less what was paid in meanwhile.
        level: What one unit of money put in at the beginning became, without deposits and
            withdrawals; None where no return is defined.
        drawdown: Fall below the highest level so far, 0 to -1; None where there is no level.
    """

    at: datetime
    equity: Decimal
    contributed: Decimal
    profit: Decimal
    level: Decimal | None
    drawdown: Decimal | None


async def curve(unit: Unit, portfolio_id: UUID) -> list[CurvePoint]:
    """Return the curve of a portfolio, oldest first; empty before its equity was refreshed."""
    statement = (
        select(EquitySnapshot.time, EquitySnapshot.equity, EquitySnapshot.net_contributions)
        .where(EquitySnapshot.portfolio_id == portfolio_id)
        .order_by(EquitySnapshot.time)
    )
    rows = await unit.session.execute(statement)
    return curve_of([(at, equity, contributed) for at, equity, contributed in rows])


def curve_of(snapshots: Sequence[tuple[datetime, Decimal, Decimal]]) -> list[CurvePoint]:
    """Return the curve through (time, equity, net contributions), oldest first.

    The first point earned what it is worth above what was paid in until then.
    """
    if not snapshots:
        return []
    with exact():
        start = (snapshots[0][0], _ZERO, _ZERO)
        steps = list(pairwise([start, *snapshots]))
        profits = [end[1] - begin[1] - (end[2] - begin[2]) for begin, end in steps]
        flows = [CashFlow(end[0], end[2] - begin[2]) for begin, end in steps]
    levels = growth([(at, equity) for at, equity, _ in snapshots], flows)
    known: Sequence[Decimal | None]
    known = [None] * len(snapshots) if levels is None else [level for _, level in levels]
    return [
        CurvePoint(*snapshot, profit, level, fall)
        for snapshot, profit, level, fall in zip(
            snapshots, profits, known, _falls(known), strict=True
        )
    ]


def _falls(levels: Sequence[Decimal | None]) -> list[Decimal | None]:
    peak, falls = _ZERO, list[Decimal | None]()
    with exact():
        for level in levels:
            peak = peak if level is None else max(peak, level)
            falls.append(None if level is None or peak <= 0 else quantized(level / peak) - _ONE)
    return falls


async def closed_record(unit: Unit, portfolio_id: UUID) -> tuple[str, TradingRecord] | None:
    """Return how the closed positions of a portfolio went, in the currency most of them are in.

    Returns:
        The currency and the record; None while nothing was closed.
    """
    net = Position.realized_gross_pnl - Position.realized_fees
    won, lost = case((net > 0, net)), case((net < 0, net))
    statement = (
        select(
            Position.currency,
            func.count(),
            func.count(won),
            func.count(lost),
            func.sum(net),
            func.coalesce(func.sum(won), 0),
            func.coalesce(func.sum(lost), 0),
            func.avg(Position.closed_at - Position.opened_at, type_=Interval()),
        )
        .where(Position.portfolio_id == portfolio_id, Position.status == PositionStatus.CLOSED)
        .group_by(Position.currency)
        .order_by(func.count().desc(), Position.currency)
        .limit(1)
    )
    row = (await unit.session.execute(statement)).first()
    return None if row is None else (row[0], _record(tuple(row)))


def _record(row: Sequence[Any]) -> TradingRecord:
    _, count, wins, losses, net, won, lost, held = row
    with exact():
        return TradingRecord(
            count=count,
            wins=wins,
            losses=losses,
            net=net,
            win_rate=quantized(Decimal(wins) / count),
            average_win=quantized(won / wins) if wins else None,
            average_loss=quantized(lost / losses) if losses else None,
            profit_factor=quantized(won / -lost) if lost else None,
            expectancy=quantized(net / count),
            average_holding=held,
        )
