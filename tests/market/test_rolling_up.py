"""Bigger bars from real minutes, against a computation of their own."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import Database
from domain.errors import InvalidData, NotFound
from domain.market.ingesting import ingest_bars
from domain.market.rolling_up import Span, bars_from_bars, rebuild_days, roll_up_days
from domain.market.terms import Timeframe
from tests.factories.market import make_instrument
from tests.market import histories

DAY = timedelta(days=1)
OPENING = datetime(2013, 10, 7, 8, tzinfo=UTC)  # 04:00 in New York


def by_hand(rows: list[dict[str, Any]], step: timedelta) -> list[tuple[Any, ...]]:
    """Group rows by floor(time / step), with nothing of the product."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    buckets = groupby(rows, key=lambda row: epoch + (row["time"] - epoch) // step * step)
    return [
        (
            start,
            group[0]["open"],
            max(row["high"] for row in group),
            min(row["low"] for row in group),
            group[-1]["close"],
            sum(row["volume"] for row in group),
        )
        for start, members in buckets
        for group in [list(members)]
    ]


@pytest.mark.parametrize(
    ("timeframe", "step"),
    [(Timeframe.M5, timedelta(minutes=5)), (Timeframe.H1, timedelta(hours=1))],
)
async def test_bigger_bars_of_real_minutes_equal_a_computation_by_hand(
    db: Database, timeframe: Timeframe, step: timedelta
) -> None:
    async with db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY", time_zone="America/New_York")
        rows = histories.minutes_of_spy(spy.id)
        await ingest_bars(unit, rows)
        span = Span(spy.id, OPENING, OPENING + DAY)
        written = await bars_from_bars(unit, span, timeframe, base=Timeframe.M1)
        made = await unit.bars.between(spy.id, timeframe, start=OPENING, end=OPENING + DAY)
    expected = by_hand(rows, step)
    assert written == len(expected)
    assert [(b.time, b.open, b.high, b.low, b.close, b.volume) for b in made] == expected


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
async def test_weeks_begin_on_monday_and_months_on_the_first_in_the_zone_of_the_exchange(
    db: Database, zone: str
) -> None:
    start = datetime(2018, 1, 1, tzinfo=ZoneInfo(zone))
    span_end = datetime(2018, 3, 1, tzinfo=ZoneInfo(zone))
    first, end = datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 3, 1, tzinfo=UTC)
    async with db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY", time_zone=zone)
        rows = [r for r in histories.daily("SPY", spy.id) if first <= r["time"] < end]
        await ingest_bars(unit, rows)
        span = Span(spy.id, start, span_end)
        await bars_from_bars(unit, span, Timeframe.W1, base=Timeframe.D1)
        await bars_from_bars(unit, span, Timeframe.MO1, base=Timeframe.D1)
        weeks = await unit.bars.between(spy.id, Timeframe.W1, start=start, end=span_end)
        months = await unit.bars.between(spy.id, Timeframe.MO1, start=start, end=span_end)
    assert len(weeks) == 9
    assert all(week.time.astimezone(ZoneInfo(zone)).weekday() == 0 for week in weeks)
    # 15 January 2018 was a holiday: that week has four days.
    days = {week.time.astimezone(ZoneInfo(zone)).date().isoformat(): week for week in weeks}
    four = [row for row in rows if 16 <= row["time"].day <= 19 and row["time"].month == 1]
    assert days["2018-01-15"].volume == sum(row["volume"] for row in four)
    assert sum(week.volume for week in weeks) == sum(row["volume"] for row in rows)
    january = [row for row in rows if row["time"].month == 1]
    assert [month.time for month in months] == [
        start,
        datetime(2018, 2, 1, tzinfo=ZoneInfo(zone)),
    ]
    assert months[0].close == january[-1]["close"]


async def test_rolling_up_changed_days_gives_what_a_full_rebuild_gives(db: Database) -> None:
    query = 'SELECT * FROM market.daily_bars ORDER BY instrument_id, "on", source'
    async with db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY", time_zone="America/New_York")
        minutes = histories.minutes_of_spy(spy.id)
        await ingest_bars(unit, histories.daily("SPY", spy.id)[:30])
        await ingest_bars(unit, minutes[:500])
        await roll_up_days(unit)
        await ingest_bars(unit, minutes[400:])
        await roll_up_days(unit)
        connection = await unit.session.connection()
        step_by_step = (await connection.exec_driver_sql(query)).all()
        await connection.exec_driver_sql("DELETE FROM market.daily_bars")
        marked = await rebuild_days(unit)
        assert (await connection.exec_driver_sql(query)).all() == step_by_step
    assert marked == 31
    minute_days = [row for row in step_by_step if row.timeframe == "1m"]
    assert [(row.on.isoformat(), row.bars_count) for row in minute_days] == [("2013-10-07", 828)]
    assert minute_days[0].volume == sum(row["volume"] for row in minutes)


@given(st.sampled_from(Timeframe), st.sampled_from(Timeframe))
async def test_a_base_that_does_not_fit_is_refused_before_anything_is_read(
    base: Timeframe, timeframe: Timeframe
) -> None:
    lengths = {frame: frame.step for frame in Timeframe}
    short, long = lengths[base], lengths[timeframe]
    fits = (
        (short and long and long > short and long % short == timedelta())
        or (short and long is None)
        or (base is Timeframe.D1 and timeframe in {Timeframe.W1, Timeframe.MO1})
    )
    if fits:
        return
    span = Span(UUID(int=0), OPENING, OPENING + DAY)
    with pytest.raises(InvalidData, match="whole number of times"):
        await bars_from_bars(None, span, timeframe, base=base)  # type: ignore[arg-type]


async def test_a_span_without_time_zone_or_instrument_is_refused(db: Database) -> None:
    nobody = UUID("01900000-0000-7000-8000-000000000001")
    with pytest.raises(InvalidData, match="start"):
        Span(nobody, OPENING.replace(tzinfo=None), OPENING)
    with pytest.raises(NotFound, match=str(nobody)):
        async with db.transaction(system="test") as unit:
            span = Span(nobody, OPENING, OPENING + DAY)
            await bars_from_bars(unit, span, Timeframe.H1, base=Timeframe.M1)


async def test_a_volume_of_fractions_is_added_exactly(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        coin = await make_instrument(unit, "BTC-USD")
        row = histories.daily("BTC-USD", coin.id)[0]
        tiny = Decimal("0.000000000000000001")
        minute = timedelta(minutes=1)
        await ingest_bars(
            unit,
            [
                {**row, "timeframe": Timeframe.M1, "time": OPENING + n * minute, "volume": tiny}
                for n in range(5)
            ],
        )
        span = Span(coin.id, OPENING, OPENING + minute)
        await bars_from_bars(unit, span, Timeframe.M5, base=Timeframe.M1)
        (made,) = await unit.bars.between(coin.id, Timeframe.M5, start=OPENING, end=OPENING + DAY)
    assert made.volume == 5 * tiny
