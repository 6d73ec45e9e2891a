"""Announces what was booked: outbox rows in the same transaction, and stale equity dropped."""

from collections.abc import Sequence

from sqlalchemy import delete

from domain.db.unit import UnitOfWork
from domain.messaging.messages import TradeRecorded, TradesRecorded
from domain.messaging.publishing import statement_for
from domain.trading.models import EquitySnapshot, Portfolio, Trade


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
    message = statement_for(_message(portfolio, trades))
    await unit.session.execute(message.inline().add_cte(outdated))


def _message(portfolio: Portfolio, trades: Sequence[Trade]) -> TradeRecorded | TradesRecorded:
    if len(trades) > 1:
        return TradesRecorded(
            user_id=portfolio.user_id,
            portfolio_id=portfolio.id,
            instrument_ids=tuple(sorted({trade.instrument_id for trade in trades})),
        )
    (trade,) = trades
    return TradeRecorded(
        user_id=portfolio.user_id,
        portfolio_id=portfolio.id,
        trade_id=trade.id,
        instrument_id=trade.instrument_id,
        side=None if trade.side is None else str(trade.side),
        quantity=trade.quantity,
        price=trade.price,
        executed_at=trade.executed_at,
    )
