"""What the journal does when trades were booked: the profit of entries about them follows."""

from collections.abc import Sequence

from domain.db.unit import UnitOfWork
from domain.journal.profit import refresh_profit
from domain.messaging.consuming import Received
from domain.messaging.messages import TradeRecorded, TradesRecorded
from domain.trading.models import Portfolio


async def follow_trades(
    unit: UnitOfWork, received: Sequence[Received[TradeRecorded | TradesRecorded]]
) -> None:
    """Bring the profit of entries about these portfolios up to date, each portfolio once.

    A handler for `domain.messaging.consuming.Consumer`.
    """
    wanted = {item.message.portfolio_id for item in received}
    found = await unit[Portfolio].many(wanted)
    for portfolio_id in sorted(found):
        await refresh_profit(unit, portfolio=found[portfolio_id])
