"""Fewer points that look the same."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agents.downsampling import lttb
from domain.demo import files
from domain.errors import InvalidData

START = datetime(2024, 1, 1, tzinfo=UTC)
VALUES = st.lists(st.decimals("-1000", "1000", places=2), min_size=0, max_size=120)


def line(values: list[Decimal]) -> list[tuple[datetime, Decimal]]:
    return [(START + timedelta(minutes=n), value) for n, value in enumerate(values)]


@given(VALUES, st.integers(3, 60))
def test_the_points_that_stay_are_given_points_in_order(values: list[Decimal], limit: int) -> None:
    points = line(values)
    kept = lttb(points, limit)
    assert len(kept) == min(len(points), limit)
    assert [point for point in points if point in set(kept)] == kept
    assert kept[:1] == points[:1] and kept[-1:] == points[-1:]


def test_a_spike_is_never_thinned_out() -> None:
    values = [Decimal(100)] * 1_000
    values[617] = Decimal(180)
    assert (START + timedelta(minutes=617), Decimal(180)) in lttb(line(values), 10)


def test_the_crash_of_march_2020_stays_in_twenty_points_of_twenty_years() -> None:
    closes = [(bar.starts_at, bar.close) for bar in files.bars() if bar.symbol == "SPY"]
    kept = lttb(closes, 20)
    lowest = min((value, time) for time, value in kept if time.year == 2020)
    assert lowest[1].date().isoformat() == "2020-03-23"


def test_equal_triangles_keep_the_earliest() -> None:
    assert lttb(line([Decimal(1)] * 6), 3) == [
        (START + timedelta(minutes=n), Decimal(1)) for n in (0, 1, 5)
    ]


def test_two_points_are_too_few_to_ask_for() -> None:
    with pytest.raises(InvalidData, match="limit must be at least 3"):
        lttb(line([Decimal(1)] * 6), 2)
