"""What positions are worth and how a portfolio did, with figures worked out by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidData
from domain.money import exact
from domain.trading.ledger import Terms, replay
from domain.trading.valuation import (
    CashFlow,
    Drawdown,
    EquityPoint,
    Exposure,
    Holding,
    Mark,
    MonthlyProfit,
    Profit,
    RoundTrip,
    TradingRecord,
    Unrealized,
    convert,
    equity_curve,
    exposure,
    growth,
    market_value,
    max_drawdown,
    notional,
    profit_by_month,
    time_weighted_return,
    trading_record,
    unrealized,
)
from tests.trading.histories import buy, decimals, minute, sell


def day(number: int) -> datetime:
    return datetime(2024, 3, number, 21, tzinfo=UTC)


def curve(*values: str) -> list[tuple[datetime, Decimal]]:
    return [(day(number), Decimal(value)) for number, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("quantity", "price", "options", "value"),
    [
        ("60", "190.25", {}, "11415"),
        ("-6", "240.50", {}, "-1443"),
        ("-2", "3.10", {"multiplier": Decimal(100)}, "-620"),
        ("1", "-37.63", {"multiplier": Decimal(1000)}, "-37630"),
        ("20000", "15000", {"inverse": True}, "-1.333333333333333333"),
        ("-100", "40000", {"inverse": True}, "0.0025"),
    ],
)
def test_a_position_is_worth_quantity_times_price(
    quantity: str, price: str, options: dict[str, Any], value: str
) -> None:
    assert market_value(Decimal(quantity), Decimal(price), **options) == Decimal(value)


def test_an_inverse_position_has_no_value_at_price_zero() -> None:
    with pytest.raises(InvalidData, match="price must be positive"):
        market_value(Decimal(1), Decimal(0), inverse=True)


def test_unrealized_profit_is_value_less_open_value_and_fees() -> None:
    held = replay([buy("a", "100", "190.25", fees="1.50", at=0)])
    value = market_value(held.quantity, Decimal("192.00"))
    assert unrealized(value, held.open_value, held.open_fees) == Unrealized(
        gross=Decimal(175), net=Decimal("173.50")
    )


def test_the_unrealized_profit_of_a_long_inverse_position_rises_with_the_price() -> None:
    held = replay([buy("a", "10000", "10000", at=0)], inverse=True)
    value = market_value(held.quantity, Decimal(12_500), inverse=True)
    assert unrealized(value, held.open_value).gross == Decimal("0.2")


def test_the_notional_of_an_inverse_position_has_the_sign_of_the_position() -> None:
    assert notional(Decimal(10_000), Decimal(20_000), inverse=True) == Decimal("0.5")
    assert notional(Decimal(-3), Decimal("1.25"), multiplier=Decimal(100)) == -375


def test_exposure_adds_long_and_short_apart() -> None:
    notionals = [Decimal(11_415), Decimal(-1_443), Decimal(585), Decimal(0), Decimal(-557)]
    assert exposure(notionals) == Exposure(
        long=Decimal(12_000), short=Decimal(-2_000), gross=Decimal(14_000), net=Decimal(10_000)
    )


def test_conversion_multiplies_by_the_rate_and_keeps_eighteen_decimals() -> None:
    assert convert(Decimal("-11196.80"), Decimal("0.9202")) == Decimal("-10303.29536")
    third = Decimal("0.333333333333333333")
    assert convert(third, third) == Decimal("0.111111111111111111")


@pytest.mark.parametrize("rate", ["0", "-1.08"])
def test_a_rate_is_positive(rate: str) -> None:
    with pytest.raises(InvalidData, match="rate must be positive"):
        convert(Decimal(1), Decimal(rate))


def test_the_equity_curve_is_cash_and_positions_at_their_last_prices() -> None:
    points = equity_curve(
        [day(2), day(1), day(3), day(3)],
        [CashFlow(day(3), Decimal(1_000)), CashFlow(day(1), Decimal(10_000))],
        holdings=[Holding(day(2), "AAPL", Decimal(10)), Holding(day(3), "AAPL", Decimal(4))],
        marks=[
            Mark(day(3), "AAPL", Decimal("195.75")),
            Mark(day(1), "AAPL", Decimal("190.25")),
        ],
    )
    assert points == [
        EquityPoint(day(1), Decimal(10_000), Decimal(0), Decimal(10_000)),
        EquityPoint(day(2), Decimal(10_000), Decimal("1902.5"), Decimal("11902.5")),
        EquityPoint(day(3), Decimal(11_000), Decimal(783), Decimal(11_783)),
    ]


def test_the_equity_of_a_replayed_book_is_its_profit_upfront_and_margined() -> None:
    fills = [
        buy("a", "2", "4000", fees="2.50", at=0),
        sell("b", "1", "4010", fees="1.25", at=1),
    ]
    for model in ("upfront", "margined"):
        state = replay(fills, multiplier=Decimal(50), cash_model=model)
        (point,) = equity_curve(
            [minute(2)],
            [CashFlow(minute(1), amount) for amount in state.cash_by_key.values()],
            holdings=[
                Holding(
                    minute(1),
                    "ES",
                    state.quantity,
                    unpaid=state.open_value if model == "margined" else Decimal(0),
                )
            ],
            marks=[Mark(minute(2), "ES", Decimal(4_005))],
            terms={"ES": Terms(multiplier=Decimal(50))},
        )
        # 500 realized, 250 unrealized, 3.75 fees
        assert point.equity == Decimal("746.25")


def test_a_position_without_a_price_is_named_and_counts_nothing() -> None:
    points = equity_curve(
        [day(1), day(2), day(3)],
        [CashFlow(day(1), Decimal(100))],
        holdings=[
            Holding(day(1), "XYZ", Decimal(5)),
            Holding(day(1), "ABC", Decimal(1)),
            Holding(day(3), "XYZ", Decimal(0)),
        ],
        marks=[Mark(day(2), "ABC", Decimal(7))],
    )
    assert [point.unpriced for point in points] == [("ABC", "XYZ"), ("XYZ",), ()]
    assert [point.equity for point in points] == [100, 107, 107]


def test_an_inverse_position_counts_by_its_terms() -> None:
    (point,) = equity_curve(
        [day(2)],
        [CashFlow(day(1), Decimal(3))],
        holdings=[Holding(day(1), "XBTUSD", Decimal(10_000), unpaid=Decimal(-1))],
        marks=[Mark(day(1), "XBTUSD", Decimal(12_500))],
        terms={"XBTUSD": Terms(inverse=True)},
    )
    assert point.equity == Decimal("3.2")


def test_no_times_make_no_points() -> None:
    assert equity_curve([], [CashFlow(day(1), Decimal(1))]) == []


def test_a_return_without_flows_is_the_growth_of_equity() -> None:
    assert time_weighted_return(curve("10000", "10500", "9975")) == Decimal("-0.0025")


def test_a_deposit_is_no_return() -> None:
    # +10 %, then 11,000 + 9,000 deposited, then 20,000 -> 21,000 is +5 %
    points = curve("10000", "20000", "21000")
    flows = [CashFlow(day(2), Decimal(9_000))]
    assert time_weighted_return(points, flows) == Decimal("0.155")
    assert growth(points, flows) == curve("1", "1.1", "1.155")


def test_a_withdrawal_is_no_loss() -> None:
    flows = [CashFlow(day(2) - timedelta(hours=3), Decimal(-6_000))]
    assert time_weighted_return(curve("10000", "5000"), flows) == Decimal("0.1")


def test_flows_outside_the_points_do_not_matter() -> None:
    flows = [
        CashFlow(day(1), Decimal(10_000)),
        CashFlow(day(1) - timedelta(days=9), Decimal(500)),
        CashFlow(day(9), Decimal(7)),
    ]
    assert time_weighted_return(curve("10000", "11000"), flows) == Decimal("0.1")


def test_a_portfolio_that_starts_empty_earns_on_its_first_deposit() -> None:
    points = curve("0", "0", "1010", "1111")
    flows = [CashFlow(day(3) - timedelta(hours=5), Decimal(1_000))]
    assert growth(points, flows) == curve("1", "1", "1.01", "1.111")


@pytest.mark.parametrize(
    ("values", "flow"),
    [(("-5", "10"), "0"), (("0", "10"), "0"), (("0", "10"), "-5"), ((), "0")],
    ids=["starts with debt", "profit out of nothing", "withdrawn from nothing", "no points"],
)
def test_some_returns_are_not_defined(values: tuple[str, ...], flow: str) -> None:
    flows = [CashFlow(day(2), Decimal(flow))]
    assert time_weighted_return(curve(*values), flows) is None


def test_a_total_loss_is_a_return_of_minus_one() -> None:
    assert time_weighted_return(curve("100", "0")) == -1


def test_the_deepest_fall_counts_by_ratio_not_by_amount() -> None:
    points = curve("100", "120", "90", "110", "400", "320", "500")
    assert max_drawdown(points) == Drawdown(
        amount=Decimal(30), ratio=Decimal("0.25"), peak_at=day(2), trough_at=day(3)
    )


def test_of_two_equal_falls_the_first_is_told() -> None:
    drawdown = max_drawdown(curve("100", "100", "75", "100", "75"))
    assert drawdown is not None
    assert (drawdown.peak_at, drawdown.trough_at) == (day(1), day(3))


def test_a_fall_below_zero_is_more_than_everything() -> None:
    drawdown = max_drawdown(curve("-10", "100", "-50"))
    assert drawdown is not None
    assert (drawdown.amount, drawdown.ratio) == (150, Decimal("1.5"))


@pytest.mark.parametrize("values", [(), ("100",), ("100", "100", "101"), ("-5", "-9"), ("0", "-9")])
def test_what_never_fell_from_a_positive_peak_has_no_drawdown(values: tuple[str, ...]) -> None:
    assert max_drawdown(curve(*values)) is None


def test_a_withdrawal_is_no_drawdown_of_the_growth() -> None:
    points = curve("10000", "4000", "4400")
    index = growth(points, [CashFlow(day(2), Decimal(-6_000))])
    assert index is not None
    assert max_drawdown(index) is None
    assert max_drawdown(points) is not None


@given(st.lists(decimals("1", "500", 2), min_size=1, max_size=12))
def test_the_drawdown_is_the_deepest_of_all_pairs(values: list[Decimal]) -> None:
    points = [(day(number), value) for number, value in enumerate(values, start=1)]
    with exact():
        falls = [
            ((peak - low) / peak).quantize(Decimal("1E-18"))
            for place, peak in enumerate(values)
            for low in values[place + 1 :]
        ]
    drawdown = max_drawdown(points)
    assert (drawdown.ratio if drawdown else 0) == max([*falls, Decimal(0)])


def test_profit_is_told_by_the_month_of_the_closing() -> None:
    profits = [
        Profit(datetime(2024, 3, 31, 23, 30, tzinfo=UTC), Decimal(220), Decimal("1.20")),
        Profit(datetime(2024, 1, 2, tzinfo=UTC), Decimal(-50), Decimal(2)),
        Profit(datetime(2024, 3, 1, tzinfo=UTC), Decimal(80), Decimal("0.80")),
    ]
    january = MonthlyProfit(date(2024, 1, 1), Decimal(-50), Decimal(2), Decimal(-52), 1)
    assert profit_by_month(profits) == [
        january,
        MonthlyProfit(date(2024, 3, 1), Decimal(300), Decimal(2), Decimal(298), 2),
    ]
    berlin = profit_by_month(profits, zone=ZoneInfo("Europe/Berlin"))
    assert [(month.month, month.net) for month in berlin] == [
        (date(2024, 1, 1), -52),
        (date(2024, 3, 1), Decimal("79.20")),
        (date(2024, 4, 1), Decimal("218.80")),
    ]


def trip(hours: int, gross: str, fees: str = "0") -> RoundTrip:
    return RoundTrip(day(1), day(1) + timedelta(hours=hours), Decimal(gross), Decimal(fees))


def test_the_trading_record_counts_results_after_fees() -> None:
    record = trading_record(
        [trip(1, "300", "10"), trip(2, "110", "10"), trip(3, "-100", "30"), trip(6, "5", "5")]
    )
    assert record == TradingRecord(
        count=4,
        wins=2,
        losses=1,
        net=Decimal(260),
        win_rate=Decimal("0.5"),
        average_win=Decimal(195),
        average_loss=Decimal(-130),
        profit_factor=Decimal(3),
        expectancy=Decimal(65),
        average_holding=timedelta(hours=3),
    )


def test_a_profit_that_fees_eat_is_a_loss() -> None:
    record = trading_record([trip(1, "1", "2")])
    assert (record.wins, record.losses, record.win_rate) == (0, 1, 0)
    assert (record.profit_factor, record.average_win) == (0, None)


def test_without_a_loss_there_is_no_profit_factor() -> None:
    record = trading_record([trip(1, "10")])
    assert record.profit_factor is None
    assert record.average_loss is None


def test_without_round_trips_nothing_is_known() -> None:
    assert trading_record([]) == TradingRecord(
        count=0,
        wins=0,
        losses=0,
        net=Decimal(0),
        win_rate=None,
        average_win=None,
        average_loss=None,
        profit_factor=None,
        expectancy=None,
        average_holding=None,
    )
