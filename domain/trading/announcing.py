"""Announces what was booked: outbox rows in the same transaction, and stale equity dropped."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert

from domain.db.unit import UnitOfWork
from domain.messaging.models import OutboxMessage
from domain.money import plain
from domain.trading.models import EquitySnapshot, Portfolio, Trade

TRADE_RECORDED = "trade.recorded"
TRADES_RECORDED = "trades.recorded"


async def announce(unit: UnitOfWork, portfolio: Portfolio, trades: Sequence[Trade]) -> None:
    """Write one outbox message for these new trades and drop equity snapshots they outdate.

    A snapshot at or after a trade's time was computed without it; the next valuation makes it
    anew. One statement: the delete rides along.
    """
    if not trades:
        return
    earliest = min(trade.executed_at for trade in trades)
    outdated = (
        delete(EquitySnapshot)
        .where(
            EquitySnapshot.user_id == portfolio.user_id,
            EquitySnapshot.portfolio_id == portfolio.id,
            EquitySnapshot.time >= earliest,
        )
        .cte("outdated")
    )
    message = insert(OutboxMessage).values(
        topic=TRADE_RECORDED if len(trades) == 1 else TRADES_RECORDED,
        key=str(portfolio.id),
        user_id=portfolio.user_id,
        payload=_payload(portfolio, trades),
    )
    await unit.session.execute(message.add_cte(outdated))


def _payload(portfolio: Portfolio, trades: Sequence[Trade]) -> dict[str, Any]:
    if len(trades) > 1:
        instruments = sorted({str(trade.instrument_id) for trade in trades})
        return {"portfolio_id": str(portfolio.id), "instrument_ids": instruments}
    (trade,) = trades
    return {
        "portfolio_id": str(portfolio.id),
        "trade_id": str(trade.id),
        "instrument_id": str(trade.instrument_id),
        "side": trade.side,
        "quantity": plain(trade.quantity),
        "price": plain(trade.price),
        "executed_at": trade.executed_at.isoformat(),
    }
