"""Cached answers about portfolios: ledger facts only, never a price.

A price would make every holder's answer stale. What positions are worth is computed on reading,
from cached quotes: `domain.trading.overview`.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from sqlalchemy import func, select

from domain.cache import Rows, Tier, cached
from domain.cache.selecting import all_as, first_as, select_as
from domain.db.unit import ReadUnit
from domain.trading.models import (
    CashMovement,
    CashStatus,
    Portfolio,
    Position,
    PositionStatus,
    Trade,
    TradeStatus,
)
from domain.trading.terms import CostBasisMethod, PositionMode, Side, TradeKind

_MARKS = ("current_price", "marked_at", "updated_at")
_NEWEST_TRADES = 100


class PortfolioFacts(msgspec.Struct, frozen=True):
    """What a portfolio is."""

    id: UUID
    name: str
    base_currency: str
    cost_basis_method: CostBasisMethod
    position_mode: PositionMode
    inception_at: datetime | None
    archived_at: datetime | None


class PositionFacts(msgspec.Struct, frozen=True):
    """An open position as the ledger knows it; `quantity` and `open_value` are signed."""

    id: UUID
    instrument_id: UUID
    strategy: str | None
    position_ref: str | None
    side: str
    quantity: Decimal
    multiplier: Decimal
    is_inverse: bool
    currency: str
    entry_price: Decimal | None
    open_value: Decimal
    open_fees: Decimal
    realized_pnl: Decimal
    opened_at: datetime
    leverage: Decimal | None
    confidence: Decimal | None


class Balance(msgspec.Struct, frozen=True):
    """Cash in one currency."""

    currency: str
    amount: Decimal


class PortfolioLedger(msgspec.Struct, frozen=True):
    """What the ledger knows of a portfolio, at one state of the database."""

    portfolio: PortfolioFacts
    positions: tuple[PositionFacts, ...]
    cash: tuple[Balance, ...]


class TradeFacts(msgspec.Struct, frozen=True):
    """One execution."""

    id: UUID
    instrument_id: UUID
    kind: TradeKind
    side: Side | None
    quantity: Decimal
    price: Decimal
    gross_amount: Decimal
    currency: str
    commission: Decimal
    fees: Decimal
    fee_currency: str
    executed_at: datetime
    strategy: str | None
    position_ref: str | None
    source: str
    external_id: str | None


@cached(
    tier=Tier.WARM,
    stale_by=[
        Rows(Portfolio, portfolio_id="id"),
        Rows(Position, portfolio_id="portfolio_id").ignoring(*_MARKS),
        Rows(CashMovement, portfolio_id="portfolio_id"),
    ],
)
async def portfolio_ledger(unit: ReadUnit, portfolio_id: UUID) -> PortfolioLedger | None:
    """Return a portfolio with its open positions and its cash, or None."""
    statement = select_as(PortfolioFacts, Portfolio).where(Portfolio.id == portfolio_id)
    portfolio = await first_as(unit, PortfolioFacts, statement)
    if portfolio is None:
        return None
    totals = (
        select(CashMovement.currency, func.sum(CashMovement.amount))
        .where(CashMovement.portfolio_id == portfolio_id, CashMovement.status == CashStatus.BOOKED)
        .group_by(CashMovement.currency)
        .order_by(CashMovement.currency)
    )
    return PortfolioLedger(
        portfolio=portfolio,
        positions=await _open_positions(unit, portfolio_id),
        cash=await all_as(unit, Balance, totals),
    )


@cached(
    tier=Tier.WARM,
    stale_by=[Rows(Position, portfolio_id="portfolio_id").ignoring(*_MARKS)],
)
async def open_positions(unit: ReadUnit, portfolio_id: UUID) -> tuple[PositionFacts, ...]:
    """Return the open positions of a portfolio, by opening time."""
    return await _open_positions(unit, portfolio_id)


@cached(tier=Tier.WARM, stale_by=[Rows(Trade, portfolio_id="portfolio_id")])
async def recent_trades(unit: ReadUnit, portfolio_id: UUID) -> tuple[TradeFacts, ...]:
    """Return the newest 100 trades of a portfolio that count, newest first."""
    newest = (
        select_as(TradeFacts, Trade)
        .where(
            Trade.portfolio_id == portfolio_id,
            Trade.status == TradeStatus.BOOKED,
            Trade.kind != TradeKind.BUST,
        )
        .order_by(Trade.executed_at.desc(), Trade.id.desc())
        .limit(_NEWEST_TRADES)
    )
    return await all_as(unit, TradeFacts, newest)


async def _open_positions(unit: ReadUnit, portfolio_id: UUID) -> tuple[PositionFacts, ...]:
    statement = (
        select_as(PositionFacts, Position)
        .where(Position.portfolio_id == portfolio_id, Position.status == PositionStatus.OPEN)
        .order_by(Position.opened_at, Position.id)
    )
    return await all_as(unit, PositionFacts, statement)
