"""What numbers, times and charts look like."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.charts import HEIGHT, WIDTH, bar_chart, line_chart
from admin.rendering import Cell, show
from domain.alerts.terms import Condition
from domain.trading.terms import Side

MINUS = "\N{MINUS SIGN}"
THIN = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "name", "text", "kind", "title"),
    [
        (Decimal("1234567.891"), "market_value", "1,234,567.89", "number", "1234567.891"),
        (Decimal("-5"), "realized_pnl", f"{MINUS}5.00", "number negative", ""),
        (Decimal("5.5"), "realized_pnl", "+5.50", "number positive", ""),
        (Decimal("0"), "realized_pnl", "0.00", "number", ""),
        (Decimal("0.00012345"), "fees", "0.00012345", "number", ""),
        (Decimal("0.5"), "cash", "0.50", "number", ""),
        (Decimal("1798.1"), "price", "1,798.10", "number", ""),
        (Decimal("0.000012"), "price", "0.000012", "number", ""),
        (Decimal("1308.469210534"), "entry_price", "1,308.4692", "number", "1308.469210534"),
        (Decimal("10.000000000000000001"), "quantity", "10", "number", "10.000000000000000001"),
        (Decimal("-0.5"), "quantity", f"{MINUS}0.5", "number", ""),
        (Decimal("1E+2"), "quantity", "100", "number", ""),
        (Decimal("61.3886875"), "return_pct", f"+61.39{THIN}%", "number positive", "61.3886875"),
        (Decimal("-1.445"), "r_multiple", f"{MINUS}1.44{THIN}R", "number negative", "-1.445"),
        (Decimal("0.72"), "confidence", f"72{THIN}%", "number", "0.72"),
        (Decimal("-0.2"), "sentiment", f"{MINUS}0.20", "number negative", ""),
        (Decimal("1.175"), "rate", "1.1750", "number", ""),
        (Decimal(5), "previous", "5.00", "number", ""),
        (Decimal("10178.43146644"), "volume", "10,178.4315", "number", "10178.43146644"),
        (Condition.PCT_CHANGE, "condition", "percent change", "word word-pct_change", ""),
        ("iron_condor", "strategy", "iron condor", "", ""),
        ("vol_20d", "metric_name", "vol_20d", "", ""),
        ({"symbol": "IBM", "source": "lean"}, "labels", "symbol IBM, source lean", "", ""),
        ({"a": [1]}, "raw", '{"a": [1]}', "", ""),
        (["email", "push"], "channels", "email, push", "", ""),
        (1234, "rows_new", "1,234", "number", ""),
        (True, "is_active", "yes", "word", ""),
        (Side.BUY, "side", "buy", "word word-buy", ""),
        (None, "name", "—", "none", ""),
        ("", "name", "—", "none", ""),
        ([], "scopes", "—", "none", ""),
        (date(2024, 1, 2), "on", "2024-01-02", "time", ""),
    ],
)
def test_a_value_looks_like_what_it_is(
    value: Any, name: str, text: str, kind: str, title: str
) -> None:
    assert show(value, name) == Cell(text, kind, title)


def test_a_time_is_in_the_readers_zone_and_exact_on_hover() -> None:
    at = datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert show(at, zone="Europe/Berlin") == Cell(
        "2024-07-01 14:00:00", "time", "2024-07-01 12:00:00.123456+00:00"
    )
    assert show(at, zone="Nowhere/Land").text == "2024-07-01 12:00:00"


def test_a_long_text_is_cut_in_lists_only() -> None:
    assert len(show("x" * 500).text) == 80
    assert show("x" * 500, whole=True).text == "x" * 500


amounts = st.decimals(-(10**19), 10**19, allow_nan=False, allow_infinity=False, places=6)


@given(amounts)
def test_every_amount_has_a_sign_that_needs_no_colour(value: Decimal) -> None:
    cell = show(value, "net_pnl")
    assert ("positive" in cell.kind) is (value > 0) is cell.text.startswith("+")
    assert ("negative" in cell.kind) is (value < 0) is cell.text.startswith(MINUS)


@given(st.lists(amounts, min_size=2, max_size=1_200))
def test_a_line_stays_inside_its_chart(values: list[Decimal]) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    chart = line_chart([(start + timedelta(days=day), value) for day, value in enumerate(values)])
    assert chart is not None
    points = [point.split(",") for point in chart.path.removeprefix("M").split(" L")]
    assert len(points) <= 1_002
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in points)
    assert 1 <= len(chart.values) <= 6
    assert all(0 <= tick.at <= HEIGHT for tick in chart.values)


@given(st.lists(amounts, min_size=1, max_size=60))
def test_bars_grow_from_zero(values: list[Decimal]) -> None:
    chart = bar_chart(
        [(date(2020 + n // 12, n % 12 + 1, 1), value) for n, value in enumerate(values)]
    )
    assert chart is not None
    assert len(chart.bars) == len(values) and len(chart.labels) <= 6
    for bar, value in zip(chart.bars, values, strict=True):
        edge = bar.y + bar.height if value > 0 else bar.y
        assert edge == pytest.approx(chart.zero, abs=1.1)
        assert 0 <= bar.y <= bar.y + bar.height <= HEIGHT + 1


def test_nothing_makes_no_chart() -> None:
    assert line_chart([]) is None
    assert line_chart([(datetime(2024, 1, 1, tzinfo=UTC), Decimal(1))]) is None
    assert bar_chart([]) is None
