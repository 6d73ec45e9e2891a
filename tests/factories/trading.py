"""Portfolios and trades."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.database import Database, Worker
from domain.identity.models import User
from domain.market.models import Instrument
from domain.trading.models import Portfolio
from domain.trading.recording import Booked, record_trade
from domain.trading.terms import Side
from tests.factories.identity import make_user
from tests.factories.market import make_instrument

OPENING_BELL = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)


async def make_portfolio(unit: Worker, user: User, name: str = "Main", **values: Any) -> Portfolio:
    portfolio = unit.portfolios.add(Portfolio(user_id=user.id, name=name, **values))
    await unit.flush()
    return portfolio


@dataclass
class Account:
    """A user with a portfolio and an instrument, ready to trade."""

    db: Database
    user: User
    portfolio: Portfolio
    instrument: Instrument

    async def trade(
        self, side: Side | None, quantity: str, price: str, *, minute: int = 0, **details: Any
    ) -> Booked:
        """Book one trade in its own transaction."""
        details.setdefault("executed_at", OPENING_BELL + timedelta(minutes=minute))
        async with self.db.transaction(user=self.user.id) as unit:
            return await record_trade(
                unit,
                self.portfolio,
                self.instrument,
                side=side,
                quantity=Decimal(quantity),
                price=Decimal(price),
                **details,
            )


async def open_account(
    db: Database, username: str = "ada", *, symbol: str = "AAPL", **values: Any
) -> Account:
    """Make a user with a portfolio; `values` are the portfolio's."""
    async with db.transaction(system="test") as unit:
        user = await make_user(unit, username)
        found = await unit.instruments.by_symbol(symbol)
        instrument = found[0] if found else await make_instrument(unit, symbol)
        portfolio = await make_portfolio(unit, user, **values)
    return Account(db, user, portfolio, instrument)
