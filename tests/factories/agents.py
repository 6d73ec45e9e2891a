"""Agents."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.agents.models import Agent, Conversation
from domain.database import Database, Worker
from tests.factories.trading import Account, make_portfolio, open_account

MIDNIGHT = datetime(2024, 1, 2, tzinfo=UTC)


@dataclass
class Contestant:
    """An agent with its portfolio."""

    db: Database
    agent: Agent
    account: Account

    async def value(self, *curve: tuple[float, str, str]) -> None:
        """Store equity snapshots given as (days after the start, equity, contributions)."""
        rows = [
            {
                "portfolio_id": self.account.portfolio.id,
                "time": MIDNIGHT + timedelta(days=days),
                "currency": self.account.portfolio.base_currency,
                "equity": Decimal(equity),
                "cash": Decimal(equity),
                "position_value": Decimal(0),
                "realized_pnl": Decimal(0),
                "unrealized_pnl": Decimal(0),
                "net_contributions": Decimal(paid),
            }
            for days, equity, paid in curve
        ]
        async with self.db.transaction(user=self.agent.user_id) as unit:
            await unit.equity_snapshots.upsert_many(
                rows, key=["portfolio_id", "time"], update=["equity", "cash", "net_contributions"]
            )


async def make_agent(unit: Worker, account: Account, slug: str = "gpt-5", **values: Any) -> Agent:
    values.setdefault("portfolio_id", account.portfolio.id)
    agent = unit.agents.add(
        Agent(user_id=account.user.id, slug=slug, display_name=slug.upper(), **values)
    )
    await unit.flush()
    return agent


async def make_conversation(unit: Worker, agent: Agent, **values: Any) -> Conversation:
    conversation = unit.conversations.add(
        Conversation(user_id=agent.user_id, agent_id=agent.id, **values)
    )
    await unit.flush()
    return conversation


async def enter(
    db: Database, slug: str = "gpt-5", *, username: str = "ada", **values: Any
) -> Contestant:
    """Make a user with an agent; `values` are its portfolio's."""
    account = await open_account(db, username, **values)
    async with db.transaction(user=account.user.id) as unit:
        return Contestant(db, await make_agent(unit, account, slug, provider="invented"), account)


async def enter_beside(first: Contestant, slug: str) -> Contestant:
    """Make another agent of the same user, with a portfolio of its own."""
    async with first.db.transaction(user=first.agent.user_id) as unit:
        portfolio = await make_portfolio(unit, first.account.user, slug)
        account = Account(first.db, first.account.user, portfolio, first.account.instrument)
        return Contestant(first.db, await make_agent(unit, account, slug), account)
