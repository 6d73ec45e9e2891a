"""What the journal says about the trader."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import Database, JournalEntry
from domain.errors import InvalidData
from domain.identity.models import User
from domain.journal.recording import tag_entry
from domain.journal.statistics import (
    Performance,
    performance,
    performance_by_setup,
    performance_by_tag,
    r_distribution,
)
from domain.journal.terms import EntryKind, TagCategory
from tests.factories.identity import make_user
from tests.factories.journal import make_entry, make_setup

# (profit, risk, setup, tags): five trades with a known outcome
TRADES = [
    ("100", "50", "Breakout", ["tech"]),
    ("-50", "50", "Breakout", ["tech", "late"]),
    ("250", "100", "Breakout", []),
    ("-25", None, "Pullback", ["late"]),
    ("0", "10", None, []),
]


@pytest.fixture
async def trader(db: Database) -> User:
    async with db.transaction(system="test") as unit:
        user, other = await make_user(unit), await make_user(unit, "bob")
        await make_entry(unit, other.id, pnl=Decimal(1_000_000))
        setups = {name: await make_setup(unit, user.id, name) for name in ("Breakout", "Pullback")}
        for pnl, risk, setup, tags in TRADES:
            entry = await make_entry(
                unit,
                user.id,
                pnl=Decimal(pnl),
                initial_risk=None if risk is None else Decimal(risk),
                setup_id=None if setup is None else setups[setup].id,
                currency=None,
            )
            await tag_entry(unit, entry, tags)
        await make_entry(unit, user.id, kind=EntryKind.DAILY, pnl=Decimal(5_000))
        await make_entry(unit, user.id)  # still open
        return user


async def test_all_trades_together(db: Database, trader: User) -> None:
    async with db.read(user=trader.id) as unit:
        (total,) = await performance(unit)
    assert (total.trades, total.wins, total.losses) == (5, 2, 2)
    assert total.net_pnl == Decimal(275)
    assert (total.win_ratio, total.expectancy) == (Decimal("0.4"), Decimal(55))
    assert (total.average_win, total.average_loss) == (Decimal(175), Decimal("-37.5"))
    assert total.profit_factor is not None
    assert round(total.profit_factor, 10) == Decimal("4.6666666667")  # 350 / 75
    assert total.expectancy_r == Decimal("0.875")  # 2, -1, 2.5, 0


async def test_by_setup(db: Database, trader: User) -> None:
    async with db.read(user=trader.id) as unit:
        rows = await performance_by_setup(unit)
    assert [(row.name, row.trades, row.net_pnl) for row in rows] == [
        ("", 1, Decimal(0)),
        ("Breakout", 3, Decimal(300)),
        ("Pullback", 1, Decimal(-25)),
    ]
    assert rows[0].profit_factor is rows[0].average_win is rows[0].average_loss is None
    assert rows[2].expectancy_r is None


async def test_by_tag_a_trade_counts_for_each_of_its_tags(db: Database, trader: User) -> None:
    async with db.read(user=trader.id) as unit:
        rows = await performance_by_tag(unit)
        none = await performance_by_tag(unit, category=TagCategory.MISTAKE)
    assert [(row.name, row.trades, row.net_pnl) for row in rows] == [
        ("late", 2, Decimal(-75)),
        ("tech", 2, Decimal(50)),
    ]
    assert none == []


async def test_the_distribution_of_r(db: Database, trader: User) -> None:
    async with db.read(user=trader.id) as unit:
        buckets = await r_distribution(unit, width=Decimal(1))
    assert [(bucket.start, bucket.trades) for bucket in buckets] == [
        (Decimal(-1), 1),
        (Decimal(0), 1),
        (Decimal(1), 0),
        (Decimal(2), 2),
    ]
    assert all(bucket.end - bucket.start == 1 for bucket in buckets)
    async with db.read(user=trader.id) as unit:
        assert sum(bucket.trades for bucket in await r_distribution(unit)) == 4
        with pytest.raises(InvalidData, match="width"):
            await r_distribution(unit, width=Decimal(0))


async def test_a_span_narrows_and_an_empty_one_is_empty(db: Database, trader: User) -> None:
    later = JournalEntry.entry_on > date(2024, 6, 1)
    async with db.read(user=trader.id) as unit:
        assert await performance(unit, later) == []
        assert await r_distribution(unit, later) == ()
        assert len(await performance(unit, JournalEntry.rating.is_(None))) == 1


async def test_profits_in_different_currencies_are_kept_apart(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        for currency, pnl in (("USD", "1"), ("EUR", "2"), ("USD", "4")):
            await make_entry(unit, user.id, currency=currency, pnl=Decimal(pnl))
    async with db.read(user=user.id) as unit:
        rows = await performance(unit)
    assert [(row.currency, row.net_pnl) for row in rows] == [("EUR", 2), ("USD", 5)]


AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=4)


@given(st.lists(AMOUNTS, min_size=1, max_size=30))
def test_expectancy_is_what_its_formula_says(profits: list[Decimal]) -> None:
    wins = [profit for profit in profits if profit > 0]
    losses = [profit for profit in profits if profit < 0]
    row = Performance(
        name="",
        currency="USD",
        trades=len(profits),
        wins=len(wins),
        losses=len(losses),
        net_pnl=sum(profits, Decimal(0)),
        gross_win=sum(wins, Decimal(0)),
        gross_loss=sum(losses, Decimal(0)),
        net_r=Decimal(0),
        trades_with_r=0,
    )
    loss_ratio = Decimal(len(losses)) / len(profits)
    formula = row.win_ratio * (row.average_win or 0) + loss_ratio * (row.average_loss or 0)
    assert abs(row.expectancy - formula) < Decimal("1e-12")
