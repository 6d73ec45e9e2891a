"""Sharpe ratio and return, by definition and by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agents.standings import (
    Snapshot,
    Tally,
    daily,
    daily_returns,
    performance,
    return_percent,
    sharpe_ratio,
)

START = datetime(2024, 1, 2, tzinfo=UTC)
MONEY = st.decimals("1", "1000000", places=2)
RATES = st.lists(st.decimals("-0.5", "0.5", places=6), min_size=2, max_size=30)


def at(days: float, equity: str, paid: str = "1000") -> Snapshot:
    return Snapshot(START + timedelta(days=days), Decimal(equity), Decimal(paid))


def test_only_the_last_snapshot_of_a_utc_day_counts() -> None:
    curve = [at(0.25, "1000"), at(0.75, "1010"), at(0.5, "990"), at(1.25, "1020")]
    assert [item.equity for item in daily(curve)] == [Decimal(1010), Decimal(1020)]


def test_a_midnight_belongs_to_the_day_that_ends_with_it() -> None:
    curve = [at(0.5, "1000"), at(1, "1010"), at(1.5, "1020"), at(2, "1030")]
    assert [item.equity for item in daily(curve)] == [Decimal(1010), Decimal(1030)]


def test_a_deposit_is_no_return() -> None:
    curve = [at(1, "1000"), at(2, "1100"), at(3, "1600", "1500")]
    assert daily_returns(curve) == [Decimal("0.1"), Decimal(0)]


def test_a_period_that_starts_with_nothing_earns_on_what_is_paid_in() -> None:
    curve = [at(1, "0", "0"), at(2, "1050", "1000")]
    assert daily_returns(curve) == [Decimal("0.05")]


def test_after_a_debt_no_return_is_defined() -> None:
    curve = [at(1, "1000"), at(2, "-10"), at(3, "500"), at(4, "600")]
    assert daily_returns(curve) is None
    assert performance(curve).sharpe is None
    assert performance(curve).return_pct == Decimal(-40)


@pytest.mark.parametrize("returns", [None, [], [Decimal("0.01")]])
def test_fewer_than_two_returns_have_no_sharpe_ratio(returns: list[Decimal] | None) -> None:
    assert sharpe_ratio(returns) is None


def test_returns_that_do_not_differ_have_no_sharpe_ratio() -> None:
    assert sharpe_ratio([Decimal("0.01")] * 7) is None
    thirds = daily_returns([at(day, str(3**day)) for day in range(1, 8)][::-1])
    assert thirds is not None and len(set(thirds)) == 1
    assert sharpe_ratio(thirds) is None


def test_the_ratio_is_annualised_by_the_root_of_time() -> None:
    returns = [Decimal("0.01"), Decimal("-0.005"), Decimal("0.02")]
    daily_ratio, yearly = sharpe_ratio(returns, periods_a_year=1), sharpe_ratio(returns)
    assert daily_ratio == Decimal("0.662266178533")
    assert yearly == Decimal("12.652577575271")
    assert sharpe_ratio(returns, periods_a_year=252) == Decimal("10.513149660757")


@given(RATES)
def test_the_ratio_is_that_of_rational_arithmetic(returns: list[Decimal]) -> None:
    exact = [Fraction(item) for item in returns]
    mean = sum(exact) / len(exact)
    variance = sum((item - mean) ** 2 for item in exact) / (len(exact) - 1)
    found = sharpe_ratio(returns)
    if variance == 0:
        assert found is None
        return
    with localcontext(prec=90):
        square = mean * mean / variance * 365
        root = (Decimal(square.numerator) / Decimal(square.denominator)).sqrt()
        expected = root.copy_sign(Decimal(mean.numerator)).quantize(Decimal("1E-12"))
    assert found == expected


@given(RATES, MONEY)
def test_the_ratio_does_not_depend_on_the_currency(returns: list[Decimal], rate: Decimal) -> None:
    equity, paid = [Decimal(1000)], Decimal(1000)
    for item in returns:
        equity.append((equity[-1] * (1 + item)).quantize(Decimal("0.000001")))
    curve = [Snapshot(START + timedelta(days=n), value, paid) for n, value in enumerate(equity)]
    other = [Snapshot(item.time, item.equity * rate, paid * rate) for item in curve]
    ours, theirs = performance(curve).sharpe, performance(other).sharpe
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert abs(ours - theirs) <= abs(ours) * Decimal("1E-12") + Decimal("1E-12")


def test_the_return_is_profit_over_what_was_paid_in() -> None:
    assert return_percent(at(9, "1090.1")) == Decimal("9.01")
    assert return_percent(at(9, "1600", "2000")) == Decimal(-20)
    assert return_percent(at(9, "5", "0")) is None
    assert return_percent(at(9, "5", "-10")) is None


def test_a_track_record_that_begins_later_forgets_what_was_before() -> None:
    curve = [at(1, "1000"), at(2, "500"), at(3, "550"), at(4, "660"), at(5, "760", "1100")]
    figures = performance(curve, inception=START + timedelta(days=2, hours=3))
    assert figures.return_pct == Decimal("26.666666666667")  # 760 on 500 + 100
    assert figures.sharpe == sharpe_ratio([Decimal("0.1"), Decimal("0.2"), Decimal(0)])


def test_an_inception_before_the_first_snapshot_begins_with_nothing() -> None:
    curve = [at(1, "1000"), at(2, "1100")]
    assert performance(curve, inception=START) == performance(curve)


def test_without_snapshots_there_are_no_figures() -> None:
    assert performance([]).equity is None
    assert performance([]).return_pct is None


def test_tallies_add_up() -> None:
    one = Tally(3, 1, 1, Decimal("5.5"), Decimal(-2))
    assert one.plus(Tally()) == one
    assert one.plus(one) == Tally(6, 2, 2, Decimal(11), Decimal(-4))
