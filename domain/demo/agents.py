"""Three invented agents of the demo: names and words are made up, the bars they trade on are real.

Nothing here was said or done by a real model; every name says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Final

from domain.agents.analysing import record_analytics
from domain.agents.conversing import NewMessage, add_messages
from domain.agents.models import Agent, Conversation, MessageRole, Standing
from domain.agents.refreshing import refresh_leaderboard
from domain.database import Worker
from domain.demo.files import DailyBar
from domain.demo.strategies import Order, crossover
from domain.identity.models import User
from domain.money import exact
from domain.trading.terms import Side

_SPOKEN: Final = 12
_PROMPT: Final = (
    "You are an invented agent of a demonstration. Trade by your rule, say why in one sentence."
)


@dataclass(frozen=True, slots=True)
class Contestant:
    """An invented agent and what it trades.

    Args:
        slug: Its model id, and the name of its portfolio.
        name: Its name for people.
        description: Its rule.
        deposit: Starting capital, US dollars.
        orders: Its trades.
    """

    slug: str
    name: str
    description: str
    deposit: Decimal
    orders: Sequence[Order]


def contestants(series: Mapping[str, Sequence[DailyBar]]) -> list[Contestant]:
    """Return the invented agents for these bars, by symbol."""
    return [
        Contestant(
            "invented-trend",
            "Invented Trend",
            "Follows the 50-day average of IBM and Alphabet",
            Decimal(100_000),
            sorted(
                (
                    *crossover(series["IBM"], Decimal(300)),
                    *crossover(series["GOOG"], Decimal(40)),
                ),
                key=attrgetter("executed_at"),
            ),
        ),
        Contestant(
            "invented-contrarian",
            "Invented Contrarian",
            "Does the opposite of the 50-day average of the S&P 500",
            Decimal(100_000),
            list(_opposite(crossover(series["SPY"], Decimal(150)))),
        ),
        Contestant(
            "invented-coin",
            "Invented Coin",
            "Follows the 50-day average of Bitcoin, long and short",
            Decimal(20_000),
            list(crossover(series["BTC-USD"], Decimal("1.25"))),
        ),
    ]


def _opposite(orders: Iterator[Order]) -> Iterator[Order]:
    for order in orders:
        side = Side.SELL if order.side is Side.BUY else Side.BUY
        yield replace(order, side=side, note=f"{order.note}, so the other way")


async def enlist(unit: Worker, user: User, series: Mapping[str, Sequence[DailyBar]]) -> None:
    """Make the agents of the portfolios that bear their names, let them speak, and rank them.

    Args:
        unit: A transaction; the portfolios have traded and their equity is there.
        user: Who owns them.
        series: Bars by symbol, as the portfolios were traded on.
    """
    for item in contestants(series):
        portfolio = await unit.portfolios.named(item.slug)
        agent = unit.agents.add(
            Agent(
                user_id=user.id,
                slug=item.slug,
                display_name=item.name,
                provider="invented",
                description=item.description,
                portfolio_id=portfolio.id,
            )
        )
        await unit.flush()
        await _speak(unit, agent, item.orders[-_SPOKEN:])
    await refresh_leaderboard(unit)
    for line in await unit.leaderboard.ranked():
        await _analyse(unit, line)


async def _speak(unit: Worker, agent: Agent, orders: Sequence[Order]) -> None:
    conversation = unit.conversations.add(
        Conversation(
            user_id=agent.user_id, agent_id=agent.id, title=f"{agent.display_name} explains itself"
        )
    )
    await unit.flush()
    began_at = orders[0].executed_at - timedelta(minutes=1)
    prompt = NewMessage(role=MessageRole.SYSTEM, content=_PROMPT, time=began_at)
    await add_messages(unit, conversation, [prompt, *map(_reason, orders)])


def _reason(order: Order) -> NewMessage:
    words = f"{order.note.capitalize()}: {order.side} {order.quantity} {order.symbol}"
    return NewMessage(
        role=MessageRole.ASSISTANT, content=f"{words} at {order.price}.", time=order.executed_at
    )


async def _analyse(unit: Worker, line: Standing) -> None:
    if line.valued_at is None:
        return
    with exact():
        rate = round(Decimal(100) * line.num_wins / line.num_trades, 6) if line.num_trades else None
    payload = {
        "id": line.agent.slug,
        "model_id": line.agent.slug,
        "overall_trades_overview_table": {"total_trades": line.num_trades},
        "winners_losers_breakdown_table": {"win_rate": rate},
    }
    await record_analytics(unit, line.agent, payload, updated_at=line.valued_at)
