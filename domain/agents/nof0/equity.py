"""Books the capital and the equity of nof0's models: one deposit, and a snapshot a total."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from domain.agents.nof0.records import History, Inception, Total
from domain.agents.nof0.shapes import SOURCE
from domain.db.unit import UnitOfWork
from domain.money import exact
from domain.trading.cash import insert_movements
from domain.trading.models import CashMovement, EquitySnapshot, Portfolio
from domain.trading.terms import CashKind

_INCEPTION: Final = "inception"
_AMOUNTS: Final = (
    "equity",
    "cash",
    "position_value",
    "realized_pnl",
    "unrealized_pnl",
    "net_contributions",
)
_COLUMNS: Final = ("user_id", "portfolio_id", "time", "currency", "margin_used", *_AMOUNTS)


async def snapshots_of(unit: UnitOfWork, portfolio: Portfolio) -> Sequence[Mapping[str, Any]]:
    """Return the portfolio's equity snapshots as rows."""
    wanted = unit[EquitySnapshot].query(EquitySnapshot.portfolio_id == portfolio.id)
    found = await unit[EquitySnapshot].all(wanted)
    return [{name: getattr(row, name) for name in _COLUMNS} for row in found]


async def book_equity(
    unit: UnitOfWork,
    portfolio: Portfolio,
    history: History,
    *,
    kept: Sequence[Mapping[str, Any]],
) -> int:
    """Book a model's starting capital once, and its totals as snapshots; return how many.

    The capital is that of ``since-inception-values``, else the first total's equity.

    Args:
        unit: The transaction.
        portfolio: The model's.
        history: What the files say of the model.
        kept: Snapshots to put back where they are missing.
    """
    start = history.inception or _first(history.totals)
    capital = await _capital(unit, portfolio)
    if capital is None and start is not None:
        capital = await _deposit(unit, portfolio, start, min([start.time, *history.entered_at]))
    repository = unit[EquitySnapshot]
    await repository.upsert_many(kept, key=["portfolio_id", "time"], update=[])
    rows = [_snapshot(portfolio, total, capital or Decimal(0)) for total in history.totals]
    await repository.upsert_many(rows, key=["portfolio_id", "time"], update=_AMOUNTS)
    return len(rows)


def _first(totals: Sequence[Total]) -> Inception | None:
    if not totals:
        return None
    first = min(totals, key=lambda total: total.time)
    return Inception(model=first.model, time=first.time, capital=first.equity)


async def _capital(unit: UnitOfWork, portfolio: Portfolio) -> Decimal | None:
    wanted = unit[CashMovement].query(
        CashMovement.portfolio_id == portfolio.id,
        CashMovement.source == SOURCE,
        CashMovement.dedupe_key == _INCEPTION,
    )
    found = await unit[CashMovement].first(wanted.order_by(CashMovement.id))
    return None if found is None else found.amount


async def _deposit(
    unit: UnitOfWork, portfolio: Portfolio, start: Inception, time: datetime
) -> Decimal:
    row: Mapping[str, Any] = {
        "user_id": portfolio.user_id,
        "portfolio_id": portfolio.id,
        "kind": CashKind.DEPOSIT,
        "amount": start.capital,
        "currency": portfolio.base_currency,
        "effective_at": time,
        "source": SOURCE,
        "dedupe_key": _INCEPTION,
        "description": "Starting capital",
    }
    await insert_movements(unit, [row])
    return start.capital


def _snapshot(portfolio: Portfolio, total: Total, capital: Decimal) -> dict[str, Any]:
    with exact():
        # Perpetuals are margined: what a position is worth beyond its margin is its profit.
        cash = total.equity - total.unrealized
        realized = cash - capital if total.realized is None else total.realized
    return {
        "user_id": portfolio.user_id,
        "portfolio_id": portfolio.id,
        "time": total.time,
        "currency": portfolio.base_currency,
        "equity": total.equity,
        "cash": cash,
        "position_value": total.unrealized,
        "realized_pnl": realized,
        "unrealized_pnl": total.unrealized,
        "net_contributions": capital,
    }
