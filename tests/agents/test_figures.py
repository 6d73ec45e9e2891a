"""The leaderboard on real bars equals an independent computation to the last digit.

What is independent: the bars are read from the file with `csv`, equity is walked day by day with
two numbers (cash and quantity), round trips are counted by hand, and the Sharpe ratio is made of
90 digits. Of the package only the strategies' orders are used: they are the facts.
"""

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, localcontext
from pathlib import Path

import pytest

import domain.demo
from domain import Database
from domain.agents.nof0.asking import leaderboard
from domain.agents.refreshing import refresh_leaderboard
from domain.database import Worker
from domain.demo import files
from domain.demo.strategies import Order, crossover, fractional
from domain.trading.recording import NewTrade, record_trades
from domain.trading.terms import CashKind
from domain.trading.valuing import refresh_equity
from tests.factories.agents import Contestant, enter

LAST_DAY = date(2021, 3, 31)
BARS = Path(domain.demo.__file__).parent / "data" / "bars_daily.csv"


@dataclass
class Book:
    """Cash and quantity, and what each cycle from flat to flat brought."""

    cash: Decimal
    quantity: Decimal = Decimal(0)
    brought: Decimal = Decimal(0)
    nets: list[Decimal] = field(default_factory=list)

    def take(self, order: Order) -> None:
        signed = order.quantity if order.side == "buy" else -order.quantity
        paid = order.commission + order.fees
        self.cash -= signed * order.price + paid
        is_closing = signed * self.quantity < 0
        closing = -self.quantity if is_closing and abs(signed) >= abs(self.quantity) else signed
        self.brought -= closing * order.price + paid * closing / signed
        if closing == -self.quantity:
            self.nets.append(self.brought)
            self.brought = -((signed - closing) * order.price + paid * (1 - closing / signed))
        self.quantity += signed


def closes(symbol: str) -> dict[date, Decimal]:
    with BARS.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["symbol"] == symbol]
    return {date.fromisoformat(row["date"]): Decimal(row["close"]) for row in rows}


def curve(symbol: str, orders: Sequence[Order], deposit: Decimal) -> tuple[list[Decimal], Book]:
    """Return the equity of each day from the deposit's on, and the book at the end."""
    book, prices, waiting = Book(deposit), closes(symbol), list(orders)
    day = orders[0].executed_at.date() - timedelta(days=1)
    equity, price = [], Decimal(0)
    while day <= LAST_DAY:
        while waiting and waiting[0].executed_at.date() <= day:
            book.take(waiting.pop(0))
        price = prices.get(day, price)
        equity.append(book.cash + book.quantity * price)
        day += timedelta(days=1)
    return equity, book


def expected(symbol: str, orders: Sequence[Order], deposit: Decimal) -> dict[str, object]:
    with localcontext(prec=90):
        equity, book = curve(symbol, orders, deposit)
        returns = [after / before - 1 for before, after in itertools.pairwise(equity)]
        mean = sum(returns, Decimal(0)) / len(returns)
        spread = sum(((item - mean) ** 2 for item in returns), Decimal(0)) / (len(returns) - 1)
        won = [net for net in book.nets if net > 0]
        lost = [net for net in book.nets if net < 0]
        return {
            "model_id": "gpt-5",
            "equity": equity[-1],
            "sharpe": (mean / spread.sqrt() * Decimal(365).sqrt()).quantize(Decimal("1E-12")),
            "num_trades": len(book.nets),
            "num_wins": len(won),
            "num_losses": len(lost),
            "win_dollars": sum(won, Decimal(0)),
            "lose_dollars": sum(lost, Decimal(0)),
            "return_pct": ((equity[-1] - deposit) / deposit * 100).quantize(Decimal("1E-12")),
        }


def strategy(symbol: str) -> Iterator[Order]:
    bars = [bar for bar in files.bars() if bar.symbol == symbol and bar.day.year >= 2016]
    if symbol == "BTC-USD":
        return fractional(bars, Decimal("512.35"))
    return crossover(bars, Decimal("73"))


async def play(db: Database, symbol: str, orders: Sequence[Order], deposit: Decimal) -> Contestant:
    gpt = await enter(db, symbol=symbol)
    instrument = gpt.account.instrument
    async with db.transaction(system="test") as unit:
        await load_bars(unit, gpt, symbol)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        portfolio = await unit.portfolios.get(gpt.account.portfolio.id)
        await unit.cash_movements.insert_many(
            [
                {
                    "portfolio_id": portfolio.id,
                    "kind": CashKind.DEPOSIT,
                    "amount": deposit,
                    "currency": "USD",
                    "effective_at": orders[0].executed_at - timedelta(days=1),
                    "source": "test",
                    "dedupe_key": "deposit",
                }
            ]
        )
        trades = [
            NewTrade(
                instrument=instrument,
                side=order.side,
                quantity=order.quantity,
                price=order.price,
                executed_at=order.executed_at,
                commission=order.commission,
                fees=order.fees,
                sequence=number,
                external_id=str(number),
            )
            for number, order in enumerate(orders)
        ]
        await record_trades(unit, portfolio, trades)
        await refresh_equity(unit, portfolio, until=LAST_DAY)
        await refresh_leaderboard(unit)
    return gpt


async def load_bars(unit: Worker, gpt: Contestant, symbol: str) -> None:
    rows = [
        {
            "instrument_id": gpt.account.instrument.id,
            "timeframe": "1d",
            "time": bar.starts_at,
            "source": "lean",
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": bar.volume,
        }
        for bar in files.bars()
        if bar.symbol == symbol
    ]
    await unit.bars.insert_many(rows)


@pytest.mark.parametrize("symbol", ["SPY", "IBM", "GOOG", "BTC-USD"])
async def test_all_nine_figures_on_real_bars_are_right_to_the_last_digit(
    db: Database, symbol: str
) -> None:
    orders, deposit = list(strategy(symbol)), Decimal("150000.37")
    assert len(orders) > 20
    gpt = await play(db, symbol, orders, deposit)
    async with db.read(user=gpt.agent.user_id) as unit:
        (line,) = (await leaderboard(unit))["leaderboard"]
    wanted = expected(symbol, orders, deposit)
    assert {**line, "model_id": line["id"]} == {**wanted, "id": "gpt-5"}
    assert str(line["sharpe"]) == str(wanted["sharpe"])
    if symbol != "BTC-USD":
        assert line["num_wins"] > 3 and line["num_losses"] > 3
