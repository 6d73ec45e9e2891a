"""Prices across splits: nothing is gained or lost by counting in other units."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from domain.market.splits import Split, Splits, scaled
from domain.money import exact

_FIRST = date(2020, 1, 1)
_DAYS = st.integers(0, 400).map(lambda number: _FIRST + timedelta(days=number))
_RATIOS = st.builds(Fraction, st.integers(1, 30), st.integers(1, 30))
_SPLITS = st.lists(st.builds(Split, _DAYS, _RATIOS), max_size=5).map(
    lambda found: Splits(tuple(found))
)
_PRICES = st.decimals("0.01", "100000", places=4)


@given(_SPLITS, _DAYS, _PRICES, _PRICES)
def test_what_was_traded_is_worth_the_same_in_units_of_any_day(
    splits: Splits, day: date, price: Decimal, volume: Decimal
) -> None:
    factor = splits.after(day)
    new_price, new_volume = scaled(price, 1 / factor), scaled(volume, factor)
    # Each is right to half a unit of its last decimal.
    error = Decimal("0.5e-18") * (new_price + new_volume + 1)
    with exact():
        assert abs(new_price * new_volume - price * volume) <= error


@given(_SPLITS, _DAYS, _PRICES)
def test_only_later_splits_change_a_price(splits: Splits, day: date, price: Decimal) -> None:
    earlier = Splits(tuple(item for item in splits.items if item.ex_on <= day))
    later = Splits(tuple(item for item in splits.items if item.ex_on > day))
    assert earlier.price(price, day) == price
    assert later.price(price, day) == splits.price(price, day)
