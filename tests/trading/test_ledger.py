"""The ledger's rules for one position, with figures worked out by hand."""

from dataclasses import FrozenInstanceError, replace
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

import pytest

from domain.errors import ConflictingTrade, InvalidData
from domain.trading.ledger import Fill, LotOrigin, Terms, average_price, replay
from domain.trading.terms import CashModel, CostBasisMethod, Side, TradeKind
from tests.trading.histories import buy, fill, minute, sell

# AAPL: a tax lot of each price, bought one after the other
LADDER = [
    buy("a", "10", "105", at=0, fees="1"),
    buy("b", "10", "120", at=1, fees="1"),
    buy("c", "10", "100", at=2, fees="1"),
    buy("d", "10", "110", at=3, fees="1"),
]


def test_a_partial_sale_realizes_its_part_and_leaves_the_rest() -> None:
    state = replay(
        [
            buy("a", "100", "190.25", fees="1.00", at=0),
            sell("b", "40", "195.75", fees="0.80", at=1),
        ]
    )
    assert state.quantity == 60
    assert state.entry_price == Decimal("190.25")
    assert state.open_value == 11_415
    assert state.open_fees == Decimal("0.60")
    assert state.realized_gross == 220
    assert state.realized_fees == Decimal("1.20")
    assert state.realized_net == Decimal("218.80")
    assert state.cash == Decimal("-11196.80")
    (closure,) = state.closures
    assert (closure.lot_key, closure.closing_key, closure.cycle) == ("a", "b", 1)
    assert (closure.open_value, closure.close_value) == (7_610, 7_830)
    assert (closure.open_fees, closure.close_fees) == (Decimal("0.40"), Decimal("0.80"))
    assert (closure.gross, closure.net) == (220, Decimal("218.80"))
    assert (closure.acquired_at, closure.closed_at) == (minute(0), minute(1))


def test_a_short_position_earns_when_the_price_falls() -> None:
    state = replay([sell("a", "10", "250", at=0), buy("b", "4", "240.50", at=1)])
    assert state.quantity == -6
    assert state.entry_price == 250
    assert state.open_value == -1_500
    assert state.realized_gross == 38
    assert state.closures[0].quantity == -4
    assert state.cycles[0].side == Side.SELL


def test_selling_more_than_held_opens_a_short_position() -> None:
    state = replay([buy("a", "100", "10", fees="1", at=0), sell("b", "150", "12", fees="3", at=1)])
    assert state.quantity == -50
    assert state.open_value == -600
    assert state.open_fees == 1
    assert state.realized_gross == 200
    assert state.realized_fees == 3
    first, second = state.cycles
    assert (first.number, first.closed_at, first.quantity) == (1, minute(1), 0)
    assert (first.opening_key, first.last_key) == ("a", "b")
    assert (second.number, second.opening_key, second.side) == (2, "b", Side.SELL)
    assert [lot.key for lot in state.lots] == ["a", "b"]
    assert [lot.cycle for lot in state.lots] == [1, 2]


def test_a_flip_divides_the_brokers_gross_amount_exactly() -> None:
    state = replay([buy("a", "1", "1", at=0), sell("b", "3", "3.34", gross_amount="10.01", at=1)])
    assert state.realized_gross == Decimal("2.336666666666666667")
    assert state.open_value == Decimal("-6.673333333333333333")
    assert state.cash == Decimal("9.01")


def test_each_cycle_runs_from_flat_to_flat() -> None:
    state = replay(
        [
            buy("a", "5", "100", at=0),
            buy("b", "5", "110", at=1),
            sell("c", "4", "120", at=2),
            sell("d", "6", "130", at=3),
            buy("e", "2", "90", at=4),
        ]
    )
    first, second = state.cycles
    assert first.peak_quantity == 10
    assert first.closed_quantity == 10
    assert first.exit_price == 126
    assert first.entry_price == 105
    assert first.realized_gross == first.realized_net == 210
    assert (first.opened_at, first.closed_at) == (minute(0), minute(3))
    assert first.last_order == (minute(3), 0, "d")
    assert second.closed_at is None
    assert (second.quantity, second.entry_price, second.exit_price) == (2, 90, None)


def test_an_option_counts_its_multiplier() -> None:
    state = replay(
        [sell("a", "2", "3.10", at=0), buy("b", "2", "1.05", at=1)], multiplier=Decimal(100)
    )
    assert state.realized_gross == 410
    assert state.quantity == state.open_value == 0
    assert state.entry_price is None
    assert state.cycles[0].exit_price == Decimal("1.05")


def test_an_inverse_contract_averages_harmonically() -> None:
    state = replay(
        [
            buy("a", "10000", "10000", at=0),
            buy("b", "10000", "20000", at=1),
        ],
        inverse=True,
    )
    assert state.open_value == Decimal("-1.5")
    assert state.entry_price == Decimal("13333.333333333333333333")


@pytest.mark.parametrize("method", ["fifo", "lifo", "hifo", "lofo", "average"])
def test_an_inverse_contract_realizes_a_sixth_of_a_bitcoin(method: str) -> None:
    state = replay(
        [
            buy("a", "10000", "10000", at=0),
            buy("b", "10000", "20000", at=1),
            sell("c", "20000", "15000", at=2),
        ],
        method,
        inverse=True,
    )
    assert state.realized_gross == Decimal("0.166666666666666667")
    assert state.cycles[0].exit_price == Decimal("15000.000000000000003750")


def test_a_short_inverse_contract_mirrors_the_long_one() -> None:
    state = replay([sell("a", "100", "50000", at=0), buy("b", "100", "40000", at=1)], inverse=True)
    assert state.realized_gross == Decimal("0.0005")


@pytest.mark.parametrize("stated", ["0.0025", "-0.0025"])
def test_the_gross_amount_of_an_inverse_contract_may_come_with_either_sign(stated: str) -> None:
    state = replay([buy("a", "100", "39999", gross_amount=stated)], inverse=True)
    assert state.open_value == Decimal("-0.0025")
    assert state.entry_price == 40_000


def test_the_brokers_gross_amount_wins_over_price_times_quantity() -> None:
    state = replay([buy("a", "3", "33.33", gross_amount="100", at=0)])
    assert state.open_value == 100
    assert state.entry_price == Decimal("33.333333333333333333")
    assert state.cash == -100


def test_a_negative_price_is_a_price() -> None:
    oil = [buy("a", "1", "-37.63", at=0), sell("b", "1", "10.01", at=1)]
    state = replay(oil, multiplier=Decimal(1000))
    assert state.realized_gross == 47_640
    assert state.cash_by_key == {"a": 37_630, "b": 10_010}


def test_a_rebate_is_a_negative_fee() -> None:
    state = replay(
        [buy("a", "2", "100", fees="-0.10", at=0), sell("b", "2", "101", fees="0.30", at=1)]
    )
    assert state.realized_fees == Decimal("0.20")
    assert state.realized_net == Decimal("1.80")


def test_the_last_part_of_a_lot_takes_the_remainder() -> None:
    state = replay(
        [
            buy("a", "3", "3.33", gross_amount="10", fees="1", at=0),
            sell("b", "1", "4", at=1),
            sell("c", "1", "4", at=2),
            sell("d", "1", "4", at=3),
        ]
    )
    third = Decimal("3.333333333333333333")
    # a third of 10, half of the 6.66…67 left (half-even), and what remains
    assert [closure.open_value for closure in state.closures] == [
        third,
        third + Decimal("1E-18"),
        third,
    ]
    assert state.realized_gross == 2
    assert state.realized_fees == 1


def test_a_third_and_two_thirds_leave_dust_that_an_adjustment_closes() -> None:
    fills = [
        buy("a", "0.3333333333333333", "3", at=0),
        buy("b", "0.6666666666666666", "3", at=1),
        sell("c", "1", "3", at=2),
    ]
    assert replay(fills).quantity == Decimal("-1E-16")
    dust = buy("d", "0.0000000000000001", "3", at=3, kind=TradeKind.ADJUSTMENT)
    state = replay([*fills, dust])
    assert state.quantity == state.open_value == 0
    assert len(state.cycles) == 2


@pytest.mark.parametrize(
    ("method", "gross", "closed"),
    [("fifo", 100, "a"), ("lifo", 50, "d"), ("hifo", -50, "b"), ("lofo", 150, "c")],
)
def test_the_method_chooses_the_lot(method: str, gross: int, closed: str) -> None:
    state = replay([*LADDER, sell("x", "10", "115", at=4)], method)
    assert state.realized_gross == gross
    assert [closure.lot_key for closure in state.closures] == [closed]
    assert [lot.key for lot in state.lots if lot.closed_at] == [closed]


@pytest.mark.parametrize(
    ("method", "expected"),
    [("fifo", "abcd"), ("lifo", "dcba"), ("hifo", "bdac"), ("lofo", "cadb")],
)
def test_the_method_orders_all_lots(method: str, expected: str) -> None:
    state = replay([*LADDER, sell("x", "35", "115", at=4), sell("y", "9", "1", at=5)], method)
    assert "".join(closure.lot_key for closure in state.closures) == expected + expected[-1]


def test_highest_and_lowest_first_go_by_the_opening_price_of_shorts_too() -> None:
    shorts = [replace(trade, side=Side.SELL) for trade in LADDER]
    cover = buy("x", "10", "90", at=4)
    assert replay([*shorts, cover], "hifo").realized_gross == 300
    assert replay([*shorts, cover], "lofo").realized_gross == 100


def test_among_equal_prices_the_oldest_lot_goes_first() -> None:
    equal = [buy("b", "1", "5", at=0), buy("a", "1", "5", at=1), sell("x", "1", "6", at=2)]
    for method in ("hifo", "lofo"):
        assert replay(equal, method).closures[0].lot_key == "b"


def test_average_cost_is_one_pool_and_the_oldest_lots_leave_first() -> None:
    state = replay([*LADDER, sell("x", "15", "115", at=4)], "average")
    assert state.realized_gross == Decimal("93.75")  # 15 * (115 - 108.75)
    assert [closure.lot_key for closure in state.closures] == ["a", "b"]
    lot, half = Decimal("1087.5"), Decimal("543.75")
    assert [closure.open_value for closure in state.closures] == [lot, half]
    assert [closure.acquired_at for closure in state.closures] == [minute(0), minute(1)]
    assert state.entry_price == Decimal("108.75")
    assert [each.value_remaining for each in state.lots] == [0, half, lot, lot]
    assert [each.fees_remaining for each in state.lots] == [0, Decimal("0.5"), 1, 1]
    assert state.realized_fees == Decimal("1.5")


def test_the_specific_method_closes_the_lots_that_the_trade_names() -> None:
    sale = sell("x", "15", "115", at=4, lot_selection=("c", "b", "c"))
    state = replay([*LADDER, sale], "specific")
    assert [(closure.lot_key, closure.quantity) for closure in state.closures] == [
        ("c", 10),
        ("b", 5),
    ]
    assert state.realized_gross == 125


def test_without_a_selection_the_specific_method_takes_the_oldest() -> None:
    state = replay([*LADDER, sell("x", "10", "115", at=4)], "specific")
    assert state.closures[0].lot_key == "a"


def test_other_methods_ignore_a_selection() -> None:
    sale = sell("x", "10", "115", at=4, lot_selection=("c",))
    assert replay([*LADDER, sale], "fifo").closures[0].lot_key == "a"


@pytest.mark.parametrize(
    ("trade", "rule"),
    [
        (sell("x", "10", "115", at=4, lot_selection=("c", "nobody")), "'nobody'"),
        (sell("x", "10.5", "115", at=4, lot_selection=("c",)), "'c'"),
        (buy("x", "10", "115", at=4, lot_selection=("c",)), "'c'"),
    ],
    ids=["not open", "not enough", "closes nothing"],
)
def test_a_selection_that_cannot_be_met_is_an_error_that_names_the_lot(
    trade: Fill, rule: str
) -> None:
    with pytest.raises(InvalidData, match=rule) as caught:
        replay([*LADDER, trade], "specific")
    assert caught.value.field == "lot_selection"


def test_a_flip_under_the_specific_method_needs_all_lots_only() -> None:
    sale = sell("x", "50", "115", at=4, lot_selection=("d", "c", "b", "a"))
    state = replay([*LADDER, sale], "specific")
    assert state.quantity == -10
    assert [closure.lot_key for closure in state.closures] == ["d", "c", "b", "a"]


def test_trades_count_in_the_order_of_time_sequence_and_key() -> None:
    fills = [
        sell("s", "2", "130", at=5, sequence=2),
        buy("b", "1", "120", at=5, sequence=1),
        buy("a", "1", "100", at=5, sequence=1),
        buy("z", "1", "110", at=4, sequence=9),
    ]
    assert [c.lot_key for c in replay(fills).closures] == ["z", "a"]


def test_the_same_trade_twice_counts_once() -> None:
    fills = [buy("a", "10", "100"), buy("a", "10", "100"), buy("a", "10.0", "100.00")]
    assert replay(fills).quantity == 10


def test_the_same_key_with_other_economics_is_refused() -> None:
    with pytest.raises(ConflictingTrade) as caught:
        replay([buy("a", "10", "100"), buy("a", "11", "100.01")])
    assert caught.value.fields == ("quantity", "price")


def test_a_margined_trade_moves_only_profit_and_fees() -> None:
    state = replay(
        [
            buy("a", "2", "4000", fees="2.50", at=0),
            sell("b", "1", "4010", fees="1.25", at=1),
            sell("c", "2", "4020", fees="2.50", at=2),
        ],
        multiplier=Decimal(50),
        cash_model="margined",
    )
    assert state.cash_by_key == {
        "a": Decimal("-2.50"),
        "b": Decimal("498.75"),
        "c": Decimal("997.50"),
    }
    assert state.cash == Decimal("1493.75")
    assert state.cash == state.realized_net - state.open_fees


@pytest.mark.parametrize("kind", [TradeKind.TRANSFER_IN, TradeKind.OPENING_BALANCE])
def test_what_is_brought_in_has_a_basis_but_moves_no_cash(kind: TradeKind) -> None:
    state = replay([buy("a", "10", "100", fees="5", kind=kind, at=0), sell("b", "10", "110", at=1)])
    assert state.cash == 1_100
    assert state.carried == 1_005
    assert state.realized_net == 95
    assert "a" not in state.cash_by_key


def test_a_margined_profit_that_a_transfer_realizes_moves_no_cash() -> None:
    state = replay(
        [
            sell("a", "2", "4000", fees="2", at=0),
            buy("t", "2", "3990", fees="1", at=1, kind=TradeKind.TRANSFER_IN),
        ],
        cash_model="margined",
    )
    assert state.realized_net == 17
    assert state.cash == -2
    assert state.cash == state.realized_net + state.carried


@pytest.mark.parametrize(
    ("kind", "origin"),
    [
        (TradeKind.FILL, LotOrigin.TRADE),
        (TradeKind.LIQUIDATION, LotOrigin.TRADE),
        (TradeKind.ASSIGNMENT, LotOrigin.ASSIGNMENT),
        (TradeKind.EXERCISE, LotOrigin.EXERCISE),
        (TradeKind.CASH_SETTLEMENT, LotOrigin.TRADE),
        (TradeKind.TRANSFER_IN, LotOrigin.TRANSFER),
        (TradeKind.OPENING_BALANCE, LotOrigin.OPENING_BALANCE),
        (TradeKind.CONVERSION_IN, LotOrigin.CONVERSION),
        (TradeKind.ADJUSTMENT, LotOrigin.ADJUSTMENT),
    ],
)
def test_a_lot_knows_what_opened_it(kind: TradeKind, origin: LotOrigin) -> None:
    (lot,) = replay([buy("a", "10", "100", kind=kind, sequence=7)]).lots
    assert lot.origin == origin
    assert (lot.key, lot.opening_key, lot.parent, lot.sequence) == ("a", "a", None, 7)


def test_nothing_traded_is_an_empty_state() -> None:
    state = replay([])
    assert state.quantity == state.cash == state.open_value == 0
    assert state.lots == state.closures == state.cycles == ()


def test_the_callers_decimal_context_does_not_matter() -> None:
    fills = [
        buy("a", "12345678901.123456789012345678", "1.01", fees="0.000000000000000001", at=0),
        sell("b", "0.000000000000000001", "9000000000", at=1),
    ]
    expected = replay(fills)
    with localcontext(prec=5):
        state = replay(fills)
        nets = [closure.net for closure in state.closures]
        entry = state.entry_price
    assert state == expected
    assert nets == [closure.net for closure in expected.closures]
    assert entry == expected.entry_price


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantity": Decimal(0)}, "quantity"),
        ({"quantity": Decimal(-1)}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": Decimal("NaN")}, "quantity"),
        ({"quantity": Decimal("1E-19")}, "quantity"),
        ({"quantity": Decimal("1E20")}, "quantity"),
        ({"price": Decimal("sNaN")}, "price"),
        ({"price": Decimal("Infinity")}, "price"),
        ({"fees": 0.1}, "fees"),
        ({"gross_amount": 100.0}, "gross_amount"),
        ({"side": None}, "side"),
        ({"side": "hold"}, "side"),
        ({"kind": TradeKind.BUST}, "kind"),
        ({"kind": "gift"}, "kind"),
        ({"key": ""}, "key"),
        ({"executed_at": datetime(2024, 3, 4)}, "executed_at"),  # noqa: DTZ001 - naive on purpose
    ],
)
def test_a_trade_that_breaks_a_rule_is_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidData) as caught:
        replace(buy("a", "10", "190.25"), **change)
    assert caught.value.field == field


def test_a_whole_number_is_exact_and_accepted() -> None:
    trade = Fill("a", Side.BUY, 10, 190, fees=1, executed_at=minute(0))  # type: ignore[arg-type]
    assert isinstance(trade.quantity, Decimal)
    assert replay([trade]).cash == -1901


def test_events_never_change() -> None:
    with pytest.raises(FrozenInstanceError):
        buy("a", "1", "1").price = Decimal(2)  # type: ignore[misc]


def test_a_value_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(InvalidData, match="smaller than 10\\^20"):
        replay([buy("a", "1E+19", "1E+19")])


def test_an_inverse_contract_needs_a_positive_price() -> None:
    with pytest.raises(InvalidData, match="price must be positive"):
        replay([buy("a", "1", "0")], inverse=True)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"method": "wac"}, "method"),
        ({"cash_model": "credit"}, "cash_model"),
        ({"multiplier": Decimal(0)}, "multiplier"),
    ],
)
def test_unknown_terms_are_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidData) as caught:
        replay([], **options)
    assert caught.value.field == field


def test_no_price_has_a_value_when_nothing_is_held() -> None:
    terms = Terms(CostBasisMethod.FIFO, inverse=True, cash_model=CashModel.MARGINED)
    assert average_price(terms, Decimal(0), Decimal(0)) is None
    assert average_price(terms, Decimal(5), Decimal(0)) is None
    assert average_price(terms, Decimal(5), Decimal("-0.5")) == 10


def test_an_expiration_of_a_long_option_loses_the_premium() -> None:
    state = replay(
        [
            buy("a", "2", "1.20", fees="2", at=0),
            fill("e", None, "2", "0", at=1, kind=TradeKind.EXPIRATION),
        ],
        multiplier=Decimal(100),
    )
    assert state.realized_gross == -240
    assert state.realized_net == -242
    assert state.quantity == 0
    assert state.cash_by_key["e"] == 0
    assert state.unmatched == ()


def test_an_expiration_of_a_short_option_keeps_the_premium() -> None:
    state = replay(
        [
            sell("a", "3", "0.85", at=0),
            fill("e", None, "3", "0", at=1, kind=TradeKind.EXPIRATION),
        ],
        multiplier=Decimal(100),
    )
    assert state.realized_gross == 255
    assert state.closures[0].quantity == -3
    assert state.cycles[0].exit_price == 0


def test_what_expires_without_being_open_is_kept_as_unmatched() -> None:
    fills = [
        sell("a", "1", "0.85", at=0),
        fill("e", None, "3", "0", fees="0.30", at=2, kind=TradeKind.EXPIRATION),
    ]
    state = replay(fills)
    assert state.quantity == 0
    assert state.unmatched == (("e", 2),)
    assert state.realized_fees == Decimal("0.10")  # of the third that was matched
    assert state.cash_by_key["e"] == Decimal("-0.10")
    late = replay([*fills, sell("b", "2", "0.90", at=1)])
    assert late.unmatched == ()
    assert late.realized_gross == Decimal("2.65")
    assert late.realized_fees == Decimal("0.30")


def test_an_expiration_never_opens_a_position() -> None:
    nothing_open = replay([fill("e", None, "3", "0", kind=TradeKind.EXPIRATION)])
    assert (nothing_open.quantity, nothing_open.cycles) == (0, ())
    assert nothing_open.unmatched == (("e", 3),)
    wrong_side = replay(
        [buy("a", "1", "2", at=0), buy("e", "1", "0", at=1, kind=TradeKind.EXPIRATION)]
    )
    assert wrong_side.quantity == 1
    assert wrong_side.unmatched == (("e", 1),)


@pytest.mark.parametrize("kind", [TradeKind.TRANSFER_OUT, TradeKind.CONVERSION_OUT])
def test_what_leaves_realizes_nothing_whatever_its_price(kind: TradeKind) -> None:
    state = replay(
        [
            buy("a", "10", "100", fees="1", at=0),
            sell("t", "12", "150", fees="75", at=1, kind=kind),
        ]
    )
    assert state.quantity == state.realized_gross == state.realized_fees == 0
    assert state.cash == -1_001
    assert state.carried == -1_001
    assert state.unmatched == (("t", 2),)
    assert state.closures == ()
    (carry,) = state.carries
    assert (carry.lot_key, carry.quantity, carry.value, carry.fees) == ("a", 10, 1_000, 1)
    assert carry.target is None
    assert (state.cycles[0].closed_at, state.cycles[0].exit_price) == (minute(1), None)
