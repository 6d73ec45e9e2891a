"""Booking one more trade on a long history, from stored rows alone."""

from dataclasses import replace
from decimal import Decimal

import pytest

from domain.errors import InvalidData
from domain.trading.ledger import Book, Fill, Ledger, Terms, replay
from domain.trading.terms import CostBasisMethod, Side, TradeKind
from tests.trading.histories import Store, buy, fill, minute, sell, split


def booked(*fills: Fill, method: CostBasisMethod = CostBasisMethod.FIFO) -> Store:
    store = Store(Terms(method))
    for trade in fills:
        book = store.resume()
        book.apply(trade)
        store.write(book)
    return store


THREE_LOTS = (
    buy("a", "10", "100", fees="1", at=0),
    buy("b", "10", "110", fees="1", at=1),
    buy("c", "10", "120", fees="1", at=2),
)


def test_an_opening_trade_writes_one_lot_and_its_cycle() -> None:
    book = booked(*THREE_LOTS).resume()
    book.apply(buy("d", "5", "130", at=3))
    changes = book.changes()
    assert [lot.key for lot in changes.lots] == ["d"]
    assert [(c.number, c.quantity, c.last_key) for c in changes.cycles] == [(1, 35, "d")]
    assert changes.closures == ()
    assert changes.cash_by_key == {"d": -650}


def test_a_closing_trade_writes_the_lots_that_it_touched() -> None:
    book = booked(*THREE_LOTS).resume()
    book.apply(sell("x", "15", "125", at=3))
    changes = book.changes()
    assert [(lot.key, lot.quantity_remaining) for lot in changes.lots] == [("a", 0), ("b", 5)]
    assert [closure.lot_key for closure in changes.closures] == ["a", "b"]
    assert [cycle.realized_gross for cycle in changes.cycles] == [325]


def test_an_average_book_writes_every_lot_whose_share_changed() -> None:
    book = booked(*THREE_LOTS, method=CostBasisMethod.AVERAGE).resume()
    book.apply(sell("x", "10", "125", at=3))
    shares = {lot.key: lot.value_remaining for lot in book.changes().lots}
    assert shares == {"a": 0}
    book.apply(buy("y", "10", "150", at=4))
    shares = {lot.key: lot.value_remaining for lot in book.changes().lots}
    third = Decimal("1233.333333333333333333")
    assert shares == {"a": 0, "b": third, "c": third + Decimal("1E-18"), "y": third}


def test_open_lots_of_an_average_book_show_their_shares() -> None:
    book = Book(Terms(CostBasisMethod.AVERAGE))
    book.apply(buy("a", "10", "100", at=0))
    book.apply(buy("b", "10", "120", at=1))
    assert [lot.value_remaining for lot in book.open_lots] == [1_100, 1_100]
    book.apply(sell("x", "5", "120", at=2))
    assert [lot.value_remaining for lot in book.lots] == [550, 1_100]


def test_numbering_goes_on_after_a_flat_position() -> None:
    store = booked(buy("a", "1", "5", at=0), sell("b", "1", "6", at=1))
    book = store.resume()
    assert book.cycle is None
    book.apply(sell("c", "1", "6", at=2))
    (cycle,) = book.changes().cycles
    assert (cycle.number, cycle.side) == (2, Side.SELL)


def test_a_late_trade_must_be_replayed() -> None:
    book = booked(*THREE_LOTS).resume()
    with pytest.raises(InvalidData, match="executed_at must not lie before the last event"):
        book.apply(buy("late", "1", "1", at=1))
    ledger = Ledger({"": Terms()})
    ledger.books[""] = book
    with pytest.raises(InvalidData, match="before the last event"):
        ledger.apply(buy("late", "1", "1", at=1))
    assert book.changes().lots == ()


def test_the_trade_that_was_booked_last_is_a_duplicate() -> None:
    book = booked(*THREE_LOTS).resume()
    book.apply(THREE_LOTS[-1])
    assert book.changes().cycles == ()
    ledger = Ledger({"": Terms()})
    ledger.books[""] = book
    assert ledger.apply(THREE_LOTS[-1]) == ()
    assert ledger.apply(buy("d", "1", "1", at=3)) == ("",)


def test_an_event_that_matches_nothing_still_moves_the_order_on() -> None:
    book = Book(Terms())
    book.apply(fill("e", None, "1", "0", at=5, kind=TradeKind.EXPIRATION))
    assert book.last_order == (minute(5), 0, "e")
    assert book.changes().unmatched == (("e", 1),)
    resumed = Book.resume(Terms(), cycle=None, last_order=book.last_order)
    with pytest.raises(InvalidData, match="before the last event"):
        resumed.apply(buy("a", "1", "1", at=4))


def test_without_a_last_order_the_cycles_counts() -> None:
    store = booked(*THREE_LOTS)
    book = Book.resume(Terms(), cycle=store.cycles[1], open_lots=store.lots.values())
    assert book.last_order == (minute(2), 0, "c")


def test_stored_rows_stay_as_they_were() -> None:
    store = booked(*THREE_LOTS)
    cycle, lots = store.cycles[1], list(store.lots.values())
    before = (replace(cycle), [replace(lot) for lot in lots])
    book = Book.resume(Terms(), cycle=cycle, open_lots=lots)
    book.apply(split("2:1", at=3))
    book.apply(sell("x", "60", "1", at=4))
    assert (cycle, lots) == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantity": Decimal(31)}, "quantity"),
        ({"open_value": Decimal(3301)}, "open_value"),
        ({"open_fees": Decimal(2)}, "open_fees"),
    ],
)
def test_rows_that_do_not_add_up_must_be_replayed(change: dict[str, Decimal], field: str) -> None:
    store = booked(*THREE_LOTS)
    broken = replace(store.cycles[1], **change)
    with pytest.raises(InvalidData) as caught:
        Book.resume(Terms(), cycle=broken, open_lots=store.lots.values())
    assert caught.value.field == field


def test_a_trade_that_breaks_a_rule_leaves_the_book_unchanged() -> None:
    book = booked(*THREE_LOTS, method=CostBasisMethod.SPECIFIC).resume()
    with pytest.raises(InvalidData, match="lot_selection"):
        book.apply(sell("x", "15", "1", at=3, lot_selection=("a",)))
    assert book.changes() == booked(*THREE_LOTS).resume().changes()
    assert book.last_order == (minute(2), 0, "c")
    book.apply(sell("x", "15", "1", at=3, lot_selection=("a", "c")))
    assert [closure.lot_key for closure in book.changes().closures] == ["a", "c"]


def test_the_state_of_a_resumed_book_is_what_is_known_since() -> None:
    book = booked(*THREE_LOTS).resume()
    assert book.state().cycles[0].quantity == 30
    assert [lot.key for lot in book.open_lots] == ["a", "b", "c"]
    assert book.state().cash == 0
    book.apply(sell("x", "10", "101", at=3))
    assert book.state().realized_gross == 10
    assert book.quantity == 20


def test_a_ledger_asks_for_the_terms_of_a_book_once() -> None:
    asked = []

    def terms(book: str) -> Terms:
        asked.append(book)
        return Terms()

    ledger = Ledger(terms)
    ledger.replay([buy("a", "1", "1", at=0, book="AAPL"), buy("b", "1", "1", at=1, book="AAPL")])
    assert asked == ["AAPL"]
    assert ledger.books["AAPL"].quantity == 2
    assert (
        ledger.books["AAPL"].lots
        == replay([buy("a", "1", "1", at=0), buy("b", "1", "1", at=1)]).lots
    )
