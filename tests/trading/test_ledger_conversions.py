"""Events over two books: conversions, spin-offs, transfers out, assignments."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from domain.errors import ConflictingTrade, InvalidData
from domain.trading.ledger import (
    Assignment,
    Conversion,
    Event,
    Fill,
    Ledger,
    LotOrigin,
    State,
    Terms,
    methods,
    replay,
)
from domain.trading.terms import CashModel, CostBasisMethod, TradeKind
from tests.trading.histories import booked_singly, buy, minute, sell

SHARES = Terms()
OPTION = Terms(multiplier=Decimal(100))


def states(*events: Event, **terms: Terms) -> dict[str, State]:
    ledger = Ledger(lambda book: terms.get(book, SHARES))
    ledger.replay(reversed(events))
    return {name: book.state() for name, book in ledger.books.items()}


def conversion(book_out: str, book_in: str | None, out: str, into: str, **more: Any) -> Conversion:
    return Conversion(
        key_out=more.pop("key_out", "out"),
        key_in=more.pop("key_in", "in" if book_in else ""),
        book_out=book_out,
        book_in=book_in,
        quantity_out=Decimal(out),
        quantity_in=Decimal(into),
        executed_at=minute(more.pop("at", 5)),
        **more,
    )


def test_a_symbol_change_carries_basis_fees_and_dates_and_realizes_nothing() -> None:
    result = states(
        buy("a", "10", "300", fees="1", at=0, sequence=3, book="FB"),
        buy("b", "5", "200", fees="0.5", at=1, book="FB"),
        conversion("FB", "META", "15", "15"),
        sell("c", "12", "170", fees="1.20", at=6, book="META"),
    )
    old, new = result["FB"], result["META"]
    assert (old.quantity, old.realized_gross, old.realized_fees, old.closures) == (0, 0, 0, ())
    assert old.cycles[0].closed_at == minute(5)
    assert old.cycles[0].last_key == "out"
    assert [(c.lot_key, c.key, c.quantity, c.value, c.fees, c.target) for c in old.carries] == [
        ("a", "out", 10, 3_000, 1, "in/a"),
        ("b", "out", 5, 1_000, Decimal("0.5"), "in/b"),
    ]
    first, second = new.lots
    assert (first.key, first.parent, first.opening_key) == ("in/a", "a", "in")
    assert first.origin == LotOrigin.CONVERSION
    assert (first.acquired_at, first.sequence, first.opened_at) == (minute(0), 3, minute(5))
    assert (second.acquired_at, second.quantity_remaining) == (minute(1), 3)
    assert [closure.gross for closure in new.closures] == [-1_300, -60]
    assert new.realized_fees == Decimal("2.4")  # 1 + 0.2 opening, 1.20 closing
    assert new.carried == -old.carried == Decimal("4001.5")
    assert old.cash_by_key.keys() == {"a", "b"}


def test_a_merger_scales_the_quantity_and_keeps_each_lots_value() -> None:
    result = states(
        buy("a", "100", "10", at=0, book="TRGT"),
        buy("b", "50", "16", at=1, book="TRGT"),
        conversion("TRGT", "BUYR", "150", "50"),
    )
    third = Decimal("33.333333333333333333")
    assert [lot.quantity_opened for lot in result["BUYR"].lots] == [third, 50 - third]
    assert [lot.value_opened for lot in result["BUYR"].lots] == [1_000, 800]
    assert result["BUYR"].quantity == 50
    assert result["BUYR"].entry_price == 36


def test_a_short_option_stays_short_through_a_symbol_change() -> None:
    result = states(
        sell("a", "2", "0.45", at=0, book="OLD"),
        conversion("OLD", "NEW", "2", "2"),
        buy("b", "2", "0.15", at=6, book="NEW"),
        OLD=OPTION,
        NEW=OPTION,
    )
    assert result["OLD"].quantity == 0
    assert result["NEW"].realized_gross == 60
    assert result["NEW"].closures[0].quantity == -2


def test_a_partial_conversion_takes_the_lots_in_the_order_of_the_method() -> None:
    result = states(
        buy("a", "10", "300", at=0, book="OLD"),
        buy("b", "10", "200", fees="3", at=1, book="OLD"),
        conversion("OLD", "NEW", "12", "6"),
        OLD=Terms(CostBasisMethod.LIFO),
    )
    assert result["OLD"].quantity == 8
    assert result["OLD"].open_value == 2_400
    assert [(lot.parent, lot.quantity_opened) for lot in result["NEW"].lots] == [
        ("b", 5),
        ("a", 1),
    ]
    assert [lot.value_opened for lot in result["NEW"].lots] == [2_000, 600]
    assert result["NEW"].open_fees == 3


def test_converting_more_than_is_open_leaves_the_rest_unmatched_on_both_sides() -> None:
    events = [buy("a", "60", "10", at=0, book="OLD"), conversion("OLD", "NEW", "100", "50")]
    result = states(*events)
    assert result["NEW"].quantity == 30
    assert result["OLD"].unmatched == (("out", 40),)
    assert result["NEW"].unmatched == (("in", 20),)
    fixed = states(buy("late", "40", "11", at=1, book="OLD"), *events)
    assert fixed["NEW"].quantity == 50
    assert fixed["OLD"].unmatched == fixed["NEW"].unmatched == ()


def test_converting_nothing_moves_nothing() -> None:
    result = states(conversion("OLD", "NEW", "100", "50"))
    assert result["OLD"].unmatched == (("out", 100),)
    assert result["NEW"].unmatched == (("in", 50),)
    assert result["NEW"].cycles == ()


def test_a_carried_lot_takes_its_place_by_the_date_of_its_acquisition() -> None:
    result = states(
        buy("old", "10", "10", at=0, book="OLD"),
        buy("new", "10", "30", at=1, book="NEW"),
        conversion("OLD", "NEW", "10", "10"),
        sell("x", "10", "30", at=6, book="NEW"),
    )
    assert result["NEW"].realized_gross == 200
    assert result["NEW"].closures[0].lot_key == "in/old"
    assert len(result["NEW"].cycles) == 1


def test_converting_many_lots_into_a_full_book_sorts_them_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sortings = []

    def counted(*arguments: Any, **options: Any) -> list[Any]:
        sortings.append(arguments)
        return sorted(*arguments, **options)

    monkeypatch.setattr(methods, "sorted", counted, raising=False)
    result = states(
        *(buy(f"a{at}", "1", "10", at=at, book="OLD") for at in range(50)),
        *(buy(f"b{at}", "1", "20", at=at, book="NEW") for at in range(50)),
        conversion("OLD", "NEW", "50", "50", at=60),
        sell("x", "100", "30", at=61, book="NEW"),
    )
    assert result["NEW"].realized_gross == 1_500
    assert len(sortings) == 1


def test_carried_lots_close_a_position_of_the_other_direction_at_their_basis() -> None:
    result = states(
        buy("a", "10", "98", fees="1", at=0, book="OLD"),
        sell("s", "4", "100", fees="2", at=1, book="NEW"),
        conversion("OLD", "NEW", "10", "10"),
    )
    new = result["NEW"]
    assert new.quantity == 6
    assert new.realized_gross == 8
    assert new.realized_fees == Decimal("2.4")
    assert [closure.closing_key for closure in new.closures] == ["in"]
    assert [cycle.number for cycle in new.cycles] == [1, 2]


def test_lots_that_are_converted_twice_name_their_way() -> None:
    result = states(
        buy("a", "10", "98", at=0, book="A"),
        conversion("A", "B", "10", "10", key_out="o1", key_in="i1", at=1),
        conversion("B", "C", "10", "5", key_out="o2", key_in="i2", at=2),
    )
    (lot,) = result["C"].lots
    assert (lot.key, lot.parent, lot.acquired_at) == ("i2/i1/a", "i1/a", minute(0))
    assert result["C"].entry_price == 196


def test_an_option_adjusted_in_place_stays_in_its_cycle() -> None:
    result = states(
        sell("a", "6", "2.90", fees="6", at=0, book="USO1"),
        conversion("USO1", "USO1", "6", "6"),
        USO1=OPTION,
    )
    state = result["USO1"]
    assert state.quantity == -6
    assert state.open_value == -1_740
    assert [(lot.key, lot.closed_at) for lot in state.lots] == [("a", minute(5)), ("in/a", None)]
    (cycle,) = state.cycles
    assert (cycle.closed_at, cycle.last_key, cycle.open_fees) == (None, "in", 6)


def test_a_spin_off_moves_a_fraction_of_every_lots_basis() -> None:
    result = states(
        buy("a", "60", "80", fees="4", at=0, book="GE"),
        buy("b", "30", "60", fees="2", at=1, book="GE"),
        conversion("GE", "GEHC", "0", "30", key_out="", basis_fraction=Decimal("0.25")),
        sell("x", "60", "70", at=6, book="GE"),
    )
    parent, child = result["GE"], result["GEHC"]
    assert [lot.quantity_opened for lot in child.lots] == [20, 10]
    assert [lot.value_opened for lot in child.lots] == [1_200, 450]
    assert [lot.fees_opened for lot in child.lots] == [1, Decimal("0.5")]
    assert [lot.acquired_at for lot in child.lots] == [minute(0), minute(1)]
    assert parent.realized_gross == 600  # 4200 - 3600
    assert parent.realized_fees == 3
    assert parent.quantity == 30
    assert parent.open_value == 1_350
    assert parent.open_fees == Decimal("1.5")
    assert child.carried == -parent.carried == Decimal("1651.5")
    assert [lot.value_opened for lot in parent.lots] == [4_800, 1_800]
    assert [carry.quantity for carry in parent.carries] == [0, 0]
    assert parent.cycles[0].last_key == "x"


def test_a_spin_off_of_an_average_position_takes_from_the_pool() -> None:
    average = Terms(CostBasisMethod.AVERAGE)
    result = states(
        buy("a", "60", "80", at=0, book="GE"),
        buy("b", "30", "50", at=1, book="GE"),
        conversion("GE", "GEHC", "0", "30", basis_fraction=Decimal("0.5")),
        GE=average,
        GEHC=average,
    )
    assert [lot.value_remaining for lot in result["GE"].lots] == [2_100, 1_050]
    assert [lot.value_remaining for lot in result["GEHC"].lots] == [2_100, 1_050]


def test_a_spin_off_of_nothing_is_unmatched() -> None:
    result = states(conversion("GE", "GEHC", "0", "30", basis_fraction=Decimal("0.25")))
    assert result["GEHC"].unmatched == (("in", 30),)
    assert result["GE"].unmatched == ()


def test_highest_first_ranks_what_a_spin_off_left() -> None:
    result = states(
        buy("a", "10", "100", at=0, book="GE"),
        conversion("GE", "GEHC", "0", "5", basis_fraction=Decimal("0.5")),
        buy("b", "10", "60", at=6, book="GE"),
        sell("x", "10", "55", at=7, book="GE"),
        GE=Terms(CostBasisMethod.HIFO),
    )
    assert result["GE"].closures[0].lot_key == "b"


def test_lots_that_leave_the_portfolio_realize_nothing() -> None:
    result = states(
        buy("a", "10", "100", fees="1", at=0, book="AAPL"),
        conversion("AAPL", None, "4", "0"),
    )
    state = result["AAPL"]
    assert (state.quantity, state.open_value) == (6, 600)
    assert state.realized_gross == state.realized_fees == 0
    assert state.carried == Decimal("-400.4")
    assert state.cash == -1_001
    assert state.carries[0].target is None
    assert state.unmatched == ()


def test_more_than_is_open_cannot_leave() -> None:
    result = states(buy("a", "10", "100", at=0, book="AAPL"), conversion("AAPL", None, "14", "0"))
    assert result["AAPL"].quantity == 0
    assert result["AAPL"].unmatched == (("out", 4),)


def test_value_that_was_paid_cannot_move_to_where_values_are_never_paid() -> None:
    margined = Terms(cash_model=CashModel.MARGINED)
    with pytest.raises(InvalidData, match="cash_model must be the same in both books"):
        states(buy("a", "10", "100", at=0, book="A"), conversion("A", "B", "10", "10"), B=margined)


def test_a_conversion_that_would_lose_a_lot_changes_no_book() -> None:
    ledger = Ledger(lambda _: SHARES)
    ledger.apply(buy("a", "1000", "1", at=0, book="A"))
    ledger.apply(buy("b", "0.001", "1", at=1, book="A"))
    before = ledger.books["A"].state()
    with pytest.raises(InvalidData, match="give every lot at least 1E-18"):
        ledger.apply(conversion("A", "B", "1000.001", "0.000000000000000001"))
    assert ledger.books["A"].state() == before
    assert ledger.books["B"].state() == replay([])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantity_out": Decimal(-1)}, "quantity_out"),
        ({"quantity_in": Decimal(0)}, "quantity_in"),
        ({"basis_fraction": Decimal("0.5")}, "basis_fraction"),
        ({"quantity_out": Decimal(0), "basis_fraction": Decimal("1.1")}, "basis_fraction"),
        ({"quantity_out": Decimal(0), "book_in": None}, "book_in"),
        ({"executed_at": minute(0).replace(tzinfo=None)}, "executed_at"),
    ],
)
def test_a_conversion_that_makes_no_sense_is_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidData) as caught:
        replace(conversion("A", "B", "10", "10"), **change)
    assert caught.value.field == field


def assignment(option: Fill, stock: Fill) -> Assignment:
    kind = TradeKind.ASSIGNMENT
    return Assignment(
        option=replace(option, kind=kind, book="PUT"), stock=replace(stock, kind=kind, book="XYZ")
    )


SHORT_PUT = [
    sell("open", "1", "2.00", fees="1.13", at=0, book="PUT"),
    assignment(buy("o", "1", "0", at=5), buy("s", "100", "50", fees="5", at=5, sequence=1)),
]


def test_the_premium_of_an_assigned_put_lowers_the_basis_of_the_stock() -> None:
    result = states(*SHORT_PUT, PUT=OPTION)
    put, stock = result["PUT"], result["XYZ"]
    assert (put.quantity, put.realized_gross, put.realized_fees) == (0, 0, 0)
    assert put.closures == ()
    assert [(c.lot_key, c.key, c.value, c.target) for c in put.carries] == [
        ("open", "o", -200, "s")
    ]
    assert put.cycles[0].last_key == "o"
    assert stock.open_value == 4_800
    assert stock.open_fees == Decimal("6.13")
    assert stock.entry_price == 48
    assert stock.lots[0].origin == LotOrigin.ASSIGNMENT
    assert stock.lots[0].acquired_at == minute(5)
    assert stock.cash_by_key == {"s": -5_005}
    assert put.cash_by_key == {"open": Decimal("198.87"), "o": 0}


def test_under_policy_separate_the_option_keeps_its_premium() -> None:
    _, rolled = SHORT_PUT
    assert isinstance(rolled, Assignment)
    result = states(SHORT_PUT[0], rolled.option, rolled.stock, PUT=OPTION)
    assert result["PUT"].realized_gross == 200
    assert result["PUT"].realized_fees == Decimal("1.13")
    assert result["XYZ"].open_value == 5_000
    both = states(*SHORT_PUT, PUT=OPTION)
    for book in ("PUT", "XYZ"):
        assert result[book].cash == both[book].cash


def test_a_called_away_covered_call_adds_its_premium_to_the_proceeds() -> None:
    result = states(
        buy("own", "100", "48", at=0, book="XYZ"),
        sell("call", "1", "1.50", fees="1", at=1, book="PUT"),
        assignment(buy("o", "1", "0", fees="2", at=5), sell("s", "100", "50", fees="5", at=5)),
        PUT=OPTION,
    )
    stock = result["XYZ"]
    assert stock.quantity == 0
    assert stock.realized_gross == 350  # 5000 + 150 - 4800
    assert stock.realized_fees == 8
    assert stock.cash_by_key["s"] == 4_995
    assert result["PUT"].cash_by_key["o"] == -2
    assert result["PUT"].cash + stock.cash == stock.realized_net


def test_an_exercised_call_raises_the_basis_and_an_exercised_put_lowers_the_proceeds() -> None:
    call = states(
        buy("call", "1", "5", at=0, book="PUT"),
        assignment(sell("o", "1", "0", at=5), buy("s", "100", "100", at=5)),
        PUT=OPTION,
    )
    assert call["XYZ"].open_value == 10_500
    put = states(
        buy("put", "1", "4", at=0, book="PUT"),
        assignment(sell("o", "1", "0", at=5), sell("s", "100", "100", at=5)),
        PUT=OPTION,
    )
    assert put["XYZ"].open_value == -9_600


def test_an_assignment_without_its_option_books_the_stock_and_tells() -> None:
    result = states(SHORT_PUT[1], PUT=OPTION)
    assert result["PUT"].unmatched == (("o", 1),)
    assert result["XYZ"].open_value == 5_000


def test_an_option_that_is_closed_at_a_price_moves_that_too() -> None:
    result = states(
        SHORT_PUT[0],
        assignment(buy("o", "1", "0.50", at=5), buy("s", "100", "50", at=5)),
        PUT=OPTION,
    )
    put, stock = result["PUT"], result["XYZ"]
    assert put.cash_by_key["o"] == -50
    assert stock.open_value == 4_850  # 5000 - 200 + 50
    assert put.carried == -stock.carried
    assert put.cash + stock.cash == -stock.open_value - stock.open_fees


def test_a_margined_premium_is_realized_with_the_stock() -> None:
    margined = Terms(cash_model=CashModel.MARGINED)
    result = states(
        *SHORT_PUT,
        sell("x", "100", "51", at=6, book="XYZ"),
        PUT=replace(OPTION, cash_model=CashModel.MARGINED),
        XYZ=margined,
    )
    assert result["XYZ"].cash_by_key == {"s": -5, "x": 300}
    cash = result["PUT"].cash + result["XYZ"].cash
    assert cash == result["XYZ"].realized_net


def test_an_assignment_needs_a_side_and_two_books() -> None:
    expired = replace(buy("o", "1", "0"), side=None, kind=TradeKind.EXPIRATION)
    with pytest.raises(InvalidData, match=r"option\.side"):
        Assignment(option=expired, stock=buy("s", "100", "50", book="XYZ"))
    with pytest.raises(InvalidData, match=r"stock\.book"):
        Assignment(option=buy("o", "1", "0"), stock=buy("s", "100", "50"))


def test_a_trade_cannot_be_both_a_fill_and_part_of_an_assignment() -> None:
    _, rolled = SHORT_PUT
    assert isinstance(rolled, Assignment)
    with pytest.raises(ConflictingTrade) as caught:
        states(rolled, rolled.option)
    assert caught.value.fields == ("kind",)


def test_events_over_two_books_are_booked_from_stored_rows() -> None:
    events = [
        buy("a", "10", "98", fees="1", at=0, book="A"),
        sell("s", "4", "100", at=1, book="B"),
        conversion("A", "B", "10", "10"),
    ]
    stores = booked_singly(events, {"A": SHARES, "B": SHARES})
    assert [lot.key for lot in stores["B"].lots.values()] == ["s", "in/a"]
    assert stores["B"].lots["in/a"].quantity_remaining == 6
    assert stores["A"].cycles[1].closed_at == minute(5)
