"""The first page, and the page of a portfolio: what it is worth, what it holds, what it earned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.charts import Bars, Line, bar_chart, line_chart
from admin.office import GET, Office
from admin.signing_in import staff_of
from domain.database import Reader
from domain.ops.health import readiness
from domain.trading import reporting
from domain.trading.models import (
    EquitySnapshot,
    ImportBatch,
    LotClosure,
    Portfolio,
    Position,
    PositionStatus,
    Trade,
)

_RECENT: Final = 8
_MOST_PORTFOLIOS: Final = 50
_MOST_MONTHS: Final = 60


@dataclass(frozen=True, slots=True)
class Overview:
    """What the pages show of one portfolio.

    Args:
        portfolio: The portfolio.
        equity: Its curve, if it has one.
        latest: The newest point of the curve.
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
    months: Bars | None
    currency: str
    positions: Sequence[Position]
    trades: Sequence[Trade]
    cash: Sequence[tuple[str, Decimal]]
    kinds: Sequence[Any]


class Dashboard:
    """The pages.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/", self.show, name="index", methods=GET),
            Route("/portfolio/{pk}", self.portfolio, methods=GET),
        ]

    async def show(self, request: Request) -> Response:
        """Show the chosen portfolio, the choice, imports and health."""
        wanted = request.query_params.get("portfolio", "")
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            portfolios = await _portfolios(unit)
            wanted = wanted or str(await _busiest(unit))
            chosen = next((item for item in portfolios if str(item.id) == wanted), None)
            chosen = chosen or next(iter(portfolios), None)
            context: dict[str, Any] = {
                "portfolios": portfolios,
                "overview": None if chosen is None else await _overview(unit, chosen),
                "imports": await _imports(unit),
                "health": await readiness(self.office.db),
            }
        return self.office.pages.render(request, "dashboard.html", context)

    async def portfolio(self, request: Request) -> Response:
        """Show one portfolio."""
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            portfolio = await unit.portfolios.get(uuid_of(request), joinedload(Portfolio.user))
            context = {"overview": await _overview(unit, portfolio)}
        return self.office.pages.render(request, "portfolio.html", context)


async def _portfolios(unit: Reader) -> Sequence[Portfolio]:
    statement = unit.portfolios.query(Portfolio.archived_at.is_(None))
    named = statement.options(joinedload(Portfolio.user)).order_by(Portfolio.id)
    return await unit.portfolios.all(named.limit(_MOST_PORTFOLIOS))


async def _busiest(unit: Reader) -> UUID | None:
    """Return the portfolio that traded last."""
    newest = unit.trades.query().order_by(Trade.executed_at.desc(), Trade.id.desc())
    trade = await unit.trades.first(newest)
    return None if trade is None else trade.portfolio_id


async def _imports(unit: Reader) -> Sequence[ImportBatch]:
    statement = unit.import_batches.query().options(joinedload(ImportBatch.portfolio))
    return await unit.import_batches.all(statement.order_by(ImportBatch.id.desc()).limit(_RECENT))


async def _overview(unit: Reader, portfolio: Portfolio) -> Overview:
    points = await _curve(unit, portfolio.id)
    currency, months = await _months(unit, portfolio)
    cash = await reporting.cash(unit, portfolio)
    return Overview(
        portfolio=portfolio,
        equity=line_chart([(at, equity) for at, equity in points]),
        latest=await _latest(unit, portfolio.id),
        months=bar_chart(months[-_MOST_MONTHS:]),
        currency=currency,
        positions=await _positions(unit, portfolio.id),
        trades=await _trades(unit, portfolio.id),
        cash=_by_currency(cash),
        kinds=cash,
    )


async def _curve(unit: Reader, portfolio_id: UUID) -> list[tuple[datetime, Decimal]]:
    statement = (
        select(EquitySnapshot.time, EquitySnapshot.equity)
        .where(EquitySnapshot.portfolio_id == portfolio_id)
        .order_by(EquitySnapshot.time)
    )
    return [(at, equity) for at, equity in await unit.session.execute(statement)]


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
