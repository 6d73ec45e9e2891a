"""Splits: quantities scale by two integers, values never move, nothing is lost to rounding."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from domain.errors import InvalidData
from domain.trading.ledger import Book, Split, Terms, parse_residue, replay, residue_text
from tests.trading.histories import Store, booked_singly, buy, minute, sell, split

THIRD = Decimal("3.333333333333333333")


def test_apples_four_for_one_quarters_the_price_and_keeps_the_value() -> None:
    state = replay(
        [
            buy("a", "10", "499.23", fees="1", at=0),
            split("4:1", at=1),
            sell("b", "20", "129.04", at=2),
        ]
    )
    assert state.realized_gross == Decimal("84.65")  # 2580.80 - 2496.15
    assert state.quantity == 20
    assert state.entry_price == Decimal("124.8075")
    assert state.open_value == Decimal("2496.15")
    (lot,) = state.lots
    assert (lot.quantity_opened, lot.quantity_remaining) == (40, 20)
    assert lot.value_opened == Decimal("4992.30")
    assert state.cycles[0].peak_quantity == 40
    assert state.cycles[0].last_key == "b"


def test_what_was_closed_before_is_told_in_todays_units() -> None:
    state = replay(
        [
            buy("a", "10", "400", at=0),
            sell("b", "4", "480", at=1),
            split("4:1", at=2),
            sell("c", "24", "130", at=3),
        ]
    )
    (lot,) = state.lots
    assert lot.quantity_opened == 40
    assert [closure.quantity for closure in state.closures] == [4, 24]
    (cycle,) = state.cycles
    assert cycle.closed_quantity == 40
    assert cycle.exit_price == 126  # (16 * 120 + 24 * 130) / 40
    assert cycle.realized_gross == 1_040


def test_one_for_three_and_back_restores_every_quantity() -> None:
    trades = [buy("a", "10", "3", at=0), buy("b", "10", "4", at=1), buy("c", "10", "5", at=2)]
    reversed_split = [*trades, split("1:3", at=3)]
    shown = replay(reversed_split)
    assert [lot.quantity_remaining for lot in shown.lots] == [
        THIRD,
        THIRD + Decimal("1E-18"),
        THIRD,
    ]
    assert shown.quantity == 10
    restored = replay([*reversed_split, split("3:1", at=4)])
    assert restored.lots == replay(trades).lots


def test_selling_what_is_shown_after_a_split_closes_the_position() -> None:
    state = replay(
        [buy("a", "10", "3", at=0), split("1:3", at=1), sell("b", f"{THIRD}", "10", at=2)]
    )
    assert state.quantity == state.open_value == 0
    assert state.realized_gross == Decimal("3.33333333333333333")
    assert state.lots[0].residue is None


def test_a_sale_between_two_splits_loses_no_fraction() -> None:
    state = replay(
        [
            buy("a", "10", "3", at=0),
            split("1:3", at=1),
            sell("b", "1", "10", at=2),
            split("3:1", at=3),
            sell("c", "7", "4", at=4),
        ]
    )
    assert state.quantity == 0
    assert state.realized_gross == 8  # 10 + 28 - 30
    assert state.lots[0].quantity_opened == 10
    assert state.cycles[0].closed_quantity == 10


def test_a_closed_lots_fraction_goes_to_the_next_lot() -> None:
    events = [
        buy("a", "10", "3", at=0),
        buy("b", "10", "3", at=1),
        split("1:3", at=2),
        sell("c", f"{THIRD}", "9", at=3),
        split("3:1", at=4),
    ]
    state = replay(events)
    # 20 - 3 * 3.333333333333333333, to the last decimal
    assert state.quantity == Decimal("10.000000000000000001")
    assert state.lots[1].quantity_remaining == state.quantity


def test_a_new_peak_after_a_split_forgets_the_old_peaks_fraction() -> None:
    events = [
        buy("a", "20", "3", at=0),
        sell("b", "10", "3", at=1),
        split("1:3", at=2),
    ]
    first = replay(events).cycles[0]
    assert first.peak_quantity == Decimal("6.666666666666666667")
    assert replay([*events, split("3:1", at=3)]).cycles[0].peak_quantity == 20
    grown = [*events, buy("c", "10", "9", at=3), split("3:1", at=4)]
    assert replay(grown).cycles[0].peak_quantity == 40


def test_what_was_closed_before_two_splits_is_restored_by_their_opposite() -> None:
    events = [
        buy("a", "20", "3", at=0),
        sell("b", "10", "4", at=1),
        split("1:3", at=2),
        split("1:7", at=3),
    ]
    shown = replay(events).cycles[0]
    assert shown.closed_quantity == Decimal("0.476190476190476190")
    (cycle,) = replay([*events, split("21:1", at=4)]).cycles
    assert (cycle.closed_quantity, cycle.peak_quantity, cycle.exit_price) == (10, 20, 4)
    assert cycle.residue is None


def test_average_lots_share_the_pool_after_a_split() -> None:
    state = replay(
        [
            buy("a", "10", "100", at=0),
            buy("b", "30", "120", at=1),
            split("2:1", at=2),
            sell("c", "20", "60", at=3),
        ],
        "average",
    )
    assert state.realized_gross == 50  # 20 * (60 - 57.50)
    assert [lot.value_remaining for lot in state.lots] == [0, 3_450]


def test_highest_first_ranks_by_todays_price() -> None:
    state = replay(
        [
            buy("a", "10", "400", at=0),
            split("4:1", at=1),
            buy("b", "10", "110", at=2),
            sell("c", "10", "105", at=3),
        ],
        "hifo",
    )
    assert state.closures[0].lot_key == "b"


def test_a_split_at_the_opening_comes_before_the_trades_of_that_instant() -> None:
    state = replay([buy("b", "4", "125", at=1), split("4:1", at=1), buy("a", "1", "500", at=0)])
    assert state.quantity == 8


def test_a_split_without_a_position_changes_nothing() -> None:
    assert replay([split("4:1", at=0)]) == replay([])
    flat = [buy("a", "1", "5", at=0), sell("b", "1", "6", at=1)]
    assert replay([*flat, split("4:1", at=2)]) == replay(flat)


def test_the_same_split_twice_counts_once() -> None:
    events = [buy("a", "1", "5", at=0), split("4:1", at=1), split("4:1", at=1)]
    assert replay(events).quantity == 4


def test_a_split_that_would_lose_a_lot_below_eighteen_decimals_is_refused() -> None:
    book = Book(Terms())
    book.apply(buy("a", "1E-18", "5", at=0))
    before = book.state()
    with pytest.raises(InvalidData, match="leave at least 1E-18 of lot a"):
        book.apply(split("1:3", at=1))
    assert book.state() == before


def test_a_split_beyond_the_stored_range_is_refused() -> None:
    with pytest.raises(InvalidData, match="quantity must be smaller than 10\\^20"):
        replay([buy("a", "9E+19", "0.01", at=0), split("2:1", at=1)])


@pytest.mark.parametrize(
    "change", [{"numerator": 0}, {"denominator": -1}, {"numerator": True}, {"denominator": 1.5}]
)
def test_a_ratio_is_two_positive_integers(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidData, match="positive integer"):
        replace(Split(executed_at=minute(0), numerator=4, denominator=1), **change)


def test_stored_rows_carry_the_fractions_from_split_to_split() -> None:
    events = [
        buy("a", "10", "3", at=0),
        sell("b", "1", "3", at=1),
        split("1:3", at=2),
        split("1:7", at=3),
        sell("c", "0.1", "60", at=4),
        split("21:1", at=5),
    ]
    stores = booked_singly(events, {"": Terms()})
    (lot,) = stores[""].lots.values()
    assert lot.quantity_remaining == Decimal("6.9")
    assert lot.quantity_opened == 10
    assert lot.residue is None


def test_a_residue_survives_its_text() -> None:
    residue = (Fraction(1, 3) / 10**18, Fraction(-2, 7) / 10**18)
    text = residue_text(residue)
    assert text == "1/3000000000000000000 -1/3500000000000000000"
    assert parse_residue(text) == residue
    assert residue_text(None) is None
    assert parse_residue(None) is None


def test_an_untouched_store_resumes_empty() -> None:
    assert Store(Terms()).resume().state() == replay([])
