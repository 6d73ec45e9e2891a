"""The curve of a portfolio: what each day earned, growth without deposits, drawdown."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain import Database
from domain.trading.curve import closed_record, curve, curve_of
from domain.trading.terms import Side
from tests.factories.agents import enter
from tests.factories.trading import open_account

START = datetime(2024, 1, 2, tzinfo=UTC)
AMOUNTS = st.decimals("-1000000", "1000000", places=2)


def snapshots(*rows: tuple[str, str]) -> list[tuple[datetime, Decimal, Decimal]]:
    return [
        (START + timedelta(days=day), Decimal(equity), Decimal(paid))
        for day, (equity, paid) in enumerate(rows)
    ]


def test_a_deposit_is_no_profit_and_a_withdrawal_no_loss() -> None:
    points = curve_of(snapshots(("1000", "1000"), ("1600", "1500"), ("1200", "1100")))
    assert [point.profit for point in points] == [Decimal(0), Decimal(100), Decimal(0)]
    assert [point.level for point in points] == [Decimal(1), Decimal("1.1"), Decimal("1.1")]


def test_drawdown_is_measured_from_the_highest_level_so_far() -> None:
    points = curve_of(snapshots(("100", "100"), ("200", "100"), ("150", "100"), ("220", "100")))
    assert [point.drawdown for point in points] == [0, 0, Decimal("-0.25"), 0]


def test_a_curve_that_begins_with_a_debt_has_no_growth_and_no_drawdown() -> None:
    points = curve_of(snapshots(("-100", "0"), ("50", "0")))
    assert [(point.level, point.drawdown) for point in points][1] == (None, None)
    assert [point.profit for point in points] == [Decimal(-100), Decimal(150)]


def test_there_is_no_curve_without_snapshots() -> None:
    assert curve_of([]) == []


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=30))
def test_profits_add_up_to_equity_less_contributions(rows: list[tuple[Decimal, Decimal]]) -> None:
    points = curve_of(
        [(START + timedelta(days=day), equity, paid) for day, (equity, paid) in enumerate(rows)]
    )
    assert sum(point.profit for point in points) == rows[-1][0] - rows[-1][1]
    assert all(point.drawdown is None or point.drawdown <= 0 for point in points)


async def test_the_stored_curve_is_read_oldest_first(db: Database) -> None:
    contestant = await enter(db)
    await contestant.value((1, "1100", "1000"), (0, "1000", "1000"))
    async with db.read(system="test") as unit:
        points = await curve(unit, contestant.account.portfolio.id)
    assert [point.equity for point in points] == [Decimal(1000), Decimal(1100)]
    assert points[1].profit == Decimal(100)


async def test_the_record_counts_closed_positions_after_fees(db: Database) -> None:
    account = await open_account(db)
    async with db.read(system="test") as unit:
        assert await closed_record(unit, account.portfolio.id) is None
    for minute, (bought, sold) in enumerate((("10", "13"), ("10", "9"), ("10", "10"))):
        await account.trade(Side.BUY, "1", bought, minute=4 * minute, commission=Decimal("0.5"))
        await account.trade(Side.SELL, "1", sold, minute=4 * minute + 2)
    async with db.read(system="test") as unit:
        found = await closed_record(unit, account.portfolio.id)
    assert found is not None
    currency, record = found
    assert (currency, record.count, record.wins, record.losses) == ("USD", 3, 1, 2)
    assert record.net == Decimal("0.5")
    assert record.profit_factor == Decimal("1.25")
    assert record.average_holding == timedelta(minutes=2)
