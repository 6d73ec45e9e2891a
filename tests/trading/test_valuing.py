"""Equity curves and marks from facts, prices and exchange rates."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from domain import Database
from domain.errors import InvalidData
from domain.market.models import Bar, LatestPrice
from domain.market.terms import Timeframe
from domain.trading.terms import CashKind, Side
from domain.trading.valuing import mark_positions, refresh_equity
from tests.factories.trading import Account, open_account

MONDAY = datetime(2024, 1, 8, tzinfo=UTC)


async def deposit(account: Account, amount: str, currency: str = "USD") -> None:
    async with account.db.transaction(user=account.user.id) as unit:
        await unit.cash_movements.insert_many(
            [
                {
                    "portfolio_id": account.portfolio.id,
                    "kind": CashKind.DEPOSIT,
                    "amount": Decimal(amount),
                    "currency": currency,
                    "effective_at": MONDAY,
                    "source": "test",
                    "dedupe_key": "deposit",
                }
            ]
        )


async def close_at(account: Account, day: int, price: str) -> None:
    async with account.db.transaction(system="test") as unit:
        value = Decimal(price)
        unit.bars.add(
            Bar(
                instrument_id=account.instrument.id,
                timeframe=Timeframe.D1,
                time=MONDAY + timedelta(days=day),
                source="test",
                open=value,
                high=value,
                low=value,
                close=value,
                volume=Decimal(1),
            )
        )


async def curve(account: Account, until: date) -> list[tuple[int, Decimal, Decimal, Decimal]]:
    async with account.db.transaction(user=account.user.id) as unit:
        await refresh_equity(unit, account.portfolio, until=until)
        points = await unit.equity_snapshots.all(unit.equity_snapshots.query().order_by("time"))
        return [(p.time.day, p.equity, p.unrealized_pnl, p.realized_pnl) for p in points]


async def test_equity_is_cash_and_positions_at_the_days_close(db: Database) -> None:
    account = await open_account(db)
    await deposit(account, "10000")
    await account.trade(
        Side.BUY, "10", "100", executed_at=MONDAY + timedelta(hours=20), commission=Decimal(1)
    )
    await close_at(account, 0, "104")
    await close_at(account, 1, "98")
    await account.trade(Side.SELL, "10", "99", executed_at=MONDAY + timedelta(days=2, hours=15))

    points = await curve(account, date(2024, 1, 10))

    assert points == [
        (9, Decimal(10039), Decimal(39), Decimal(0)),
        (10, Decimal(9979), Decimal(-21), Decimal(0)),
        (11, Decimal(9989), Decimal(0), Decimal(-11)),
    ]


async def test_a_euro_portfolio_converts_dollars_at_the_days_rate(db: Database) -> None:
    account = await _euro_account(db)
    await deposit(account, "1100")

    points = await curve(account, date(2024, 1, 9))

    assert [equity for _, equity, _, _ in points] == [Decimal(1000), Decimal(1000)]


async def _euro_account(db: Database) -> Account:
    account = await open_account(db)
    async with db.transaction(system="test") as unit:
        portfolio = await unit.portfolios.get(account.portfolio.id)
        portfolio.base_currency = "EUR"
        await unit.fx_rates.insert_many(
            [
                {
                    "base_currency": "EUR",
                    "quote_currency": "USD",
                    "on": date(2024, 1, 5),
                    "source": "ecb",
                    "rate": Decimal("1.1"),
                }
            ]
        )
    account.portfolio = portfolio
    return account


async def test_a_currency_without_any_rate_is_an_error_not_a_guess(db: Database) -> None:
    account = await open_account(db)
    await deposit(account, "1100", "EUR")
    with pytest.raises(InvalidData, match="EUR/USD"):
        await curve(account, date(2024, 1, 9))


async def test_marking_gives_open_positions_the_newest_price(db: Database) -> None:
    account = await open_account(db)
    await account.trade(Side.SELL, "10", "100", commission=Decimal(2))
    async with db.transaction(system="test") as unit:
        unit.latest_prices.add(
            LatestPrice(
                instrument_id=account.instrument.id,
                price=Decimal("93.5"),
                time=MONDAY,
                source="test",
            )
        )
        await unit.flush()
        assert await mark_positions(unit) == 1
        assert await mark_positions(unit) == 0
    async with db.read(user=account.user.id) as unit:
        (position,) = await unit.positions.all()
    assert position.market_value == Decimal("-935.0")
    assert position.unrealized_pnl == Decimal("63.0")
