"""The ledger: replaying histories, and booking into a long one."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from benchmarks.ground import Ground
from benchmarks.interleaving import Case
from domain import Instrument, Portfolio
from domain.market.terms import InstrumentKind
from domain.trading.ledger import Fill, replay
from domain.trading.recording import NewTrade, record_trade, record_trades
from domain.trading.terms import Side

_START = datetime(2015, 1, 2, tzinfo=UTC)
_HISTORY = 10_000


def fills(count: int) -> list[Fill]:
    """Return `count` random fills of one position."""
    chance = random.Random(count)
    return [
        Fill(
            str(number),
            chance.choice(list(Side)),
            Decimal(chance.randint(1, 500)),
            Decimal(chance.randint(9_000, 11_000)) / 100,
            executed_at=_START + timedelta(seconds=number),
            fees=Decimal("0.35"),
        )
        for number in range(count)
    ]


def naive(events: Sequence[Fill]) -> Decimal:
    """Return the cash of `events` by adding only: the floor for any loop over fills."""
    cash = Decimal(0)
    for event in events:
        value = event.quantity * event.price
        cash += (-value if event.side is Side.BUY else value) - event.fees
    return cash


def replays() -> list[Case]:
    """Return the replay cases; they need no database."""
    return [_replay(10_000, 5), _replay(100_000, 2)]


def _replay(count: int, rounds: int) -> Case:
    events = fills(count)

    async def ours() -> Any:
        return replay(events)

    async def floor() -> Any:
        return naive(events)

    return Case(
        f"replay {count:,} fills", "adding up", {"adding up": floor, "tradekeep": ours}, rounds
    )


async def bookings(ground: Ground) -> list[Case]:
    """Book a long history, and return the case that compares it with an empty one."""
    async with ground.db.transaction(user=ground.user.id) as unit:
        long = unit.portfolios.add(Portfolio(user_id=ground.user.id, name="Long"))
        await unit.flush()
        for batch in range(0, _HISTORY, 2_000):
            await record_trades(unit, long, _history(ground.instrument, batch, batch + 2_000))
    counter = iter(range(10**9))

    async def book(portfolio: Portfolio, instrument: Instrument, at: datetime) -> Any:
        async with ground.db.transaction(user=ground.user.id) as unit:
            return await record_trade(
                unit,
                portfolio,
                instrument,
                side=Side.BUY,
                quantity=Decimal(1),
                price=Decimal(100),
                executed_at=at,
            )

    async def into_long() -> Any:
        at = _START + timedelta(days=400, seconds=next(counter))
        return await book(long, ground.instrument, at)

    fresh = [await _listed(ground, number) for number in range(200)]
    waiting = iter(fresh)

    async def into_fresh() -> Any:
        return await book(ground.portfolio, next(waiting), _START)

    return [
        Case(
            "trade into 10,000 fills",
            "into none",
            {"into none": into_fresh, "tradekeep": into_long},
            rounds=20,
            target=1.3,
            repeats=5,
        )
    ]


def _history(instrument: Instrument, start: int, end: int) -> list[NewTrade]:
    chance = random.Random(start)
    return [
        NewTrade(
            instrument=instrument,
            side=Side.BUY if number % 2 == 0 else Side.SELL,
            quantity=Decimal(chance.randint(1, 9)),
            price=Decimal(chance.randint(9_000, 11_000)) / 100,
            executed_at=_START + timedelta(minutes=number),
            external_id=str(number),
        )
        for number in range(start, end)
    ]


async def _listed(ground: Ground, number: int) -> Instrument:
    async with ground.db.transaction(system="bench") as unit:
        return unit.instruments.add(
            Instrument(symbol=f"B{number}", kind=InstrumentKind.STOCK, quote_currency="USD")
        )
