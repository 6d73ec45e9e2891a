"""What holds for every time series, whichever engine keeps its pieces."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from domain import Database
from domain.clock import now
from domain.db import migrations
from domain.errors import AlreadyExists, CheckFailed, InvalidData
from domain.market.ingesting import ingest_bars, ingest_ticks
from domain.market.models import Bar
from domain.market.rolling_up import Span, bars_from_bars, bars_from_ticks, roll_up_days
from domain.market.terms import Timeframe
from domain.ops.growth import growth
from domain.ops.retention import Retention, maintain
from tests.factories.market import make_instrument
from tests.timeseries.rows import DAY, NOW, bar, instrument_in, stored, tick


async def test_rows_of_any_year_are_taken_in_and_found_again(grown: Database) -> None:
    aapl = await instrument_in(grown)
    times = [
        datetime(year, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC) for year in range(1998, 2031, 4)
    ]
    async with grown.transaction(system="test") as unit:
        done = await ingest_bars(unit, [bar(aapl, time) for time in times], mode="append")
        assert (done.inserted, done.updated) == (9, 0)
    async with grown.transaction(system="test") as unit:
        found = await unit.bars.between(aapl, Timeframe.M1, start=times[1], end=times[-1])
        assert [bar.time for bar in found] == times[1:-1]


async def test_every_way_of_writing_makes_the_pieces_it_needs(grown: Database) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        unit.bars.add(Bar(**bar(aapl, NOW - 4000 * DAY)))
    async with grown.transaction(system="test") as unit:
        await unit.bars.insert_many([bar(aapl, NOW - 3000 * DAY)])
        await unit.bars.copy_in([bar(aapl, NOW - 2000 * DAY)])
        await unit.bars.upsert_many(
            [bar(aapl, NOW + 500 * DAY)],
            key=["instrument_id", "timeframe", "time", "source"],
            update=["close"],
        )
    assert await stored(grown, "SELECT count(*) FROM market.bars") == [(4,)]


async def test_an_upsert_overwrites_what_was_there_and_counts_it(grown: Database) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_bars(unit, [bar(aapl, NOW + n * timedelta(minutes=1)) for n in range(50)])
    changed = [bar(aapl, NOW + n * timedelta(minutes=1), "200.5") for n in range(40, 60)]
    async with grown.transaction(system="test") as unit:
        done = await ingest_bars(unit, [*changed, changed[0]])
    assert (done.inserted, done.updated) == (10, 10)
    closes = await stored(grown, "SELECT close, count(*) FROM market.bars GROUP BY 1 ORDER BY 1")
    assert closes == [(Decimal("190.25"), 40), (Decimal("200.5"), 20)]


async def test_thousands_of_rows_go_by_copy_and_give_the_same_result(grown: Database) -> None:
    aapl = await instrument_in(grown)
    rows = [bar(aapl, NOW + n * timedelta(minutes=1), str(1 + n)) for n in range(6_000)]
    async with grown.transaction(system="test") as unit:
        await ingest_bars(unit, rows[:100])
        done = await ingest_bars(unit, rows)
    assert (done.inserted, done.updated) == (5_900, 100)
    assert await stored(grown, "SELECT count(*), sum(close) FROM market.bars") == [
        (6_000, Decimal(18_003_000))
    ]


async def test_appending_what_is_there_is_refused_and_stores_nothing(grown: Database) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_ticks(unit, [tick(aapl, NOW)])
    with pytest.raises(AlreadyExists):
        async with grown.transaction(system="test") as unit:
            await ingest_ticks(unit, [tick(aapl, NOW + DAY), tick(aapl, NOW)])
    assert await stored(grown, "SELECT count(*) FROM market.ticks") == [(1,)]
    assert await stored(grown, "SELECT time FROM market.latest_prices") == [(NOW,)]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"close": 190.25}, InvalidData),
        ({"close": Decimal("NaN")}, CheckFailed),
        ({"close": Decimal("0.1234567890123456789")}, CheckFailed),
        ({"low": Decimal(191)}, CheckFailed),
        ({"time": NOW.replace(tzinfo=None)}, InvalidData),
        ({"time": datetime(1815, 6, 18, tzinfo=UTC)}, InvalidData),
        ({"timeframe": "7m"}, InvalidData),
    ],
)
@pytest.mark.parametrize("mode", ["append", "upsert"])
async def test_a_bar_that_cannot_be_is_refused_whole_batch_and_all(
    grown: Database, values: dict[str, Any], error: type[Exception], mode: Any
) -> None:
    aapl = await instrument_in(grown)
    with pytest.raises((error, InvalidData)):
        async with grown.transaction(system="test") as unit:
            await ingest_bars(unit, [bar(aapl, NOW), bar(aapl, NOW + DAY, **values)], mode=mode)
    assert await stored(grown, "SELECT count(*) FROM market.bars") == [(0,)]


async def test_ticks_of_an_unknown_instrument_are_refused_by_name(grown: Database) -> None:
    nobody = UUID("01900000-0000-7000-8000-000000000001")
    with pytest.raises(InvalidData, match=str(nobody)):
        async with grown.transaction(system="test") as unit:
            await ingest_ticks(unit, [tick(nobody, NOW)])


async def test_the_latest_price_moves_forward_only(grown: Database) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_ticks(
            unit,
            [
                tick(aapl, NOW, "191", sequence=2),
                tick(aapl, NOW, "190", sequence=1),
                tick(aapl, NOW - DAY, "180", sequence=9),
            ],
        )
    async with grown.transaction(system="test") as unit:
        await ingest_ticks(unit, [tick(aapl, NOW - timedelta(hours=1), "170", sequence=0)])
    assert await stored(grown, "SELECT price, time FROM market.latest_prices") == [
        (Decimal(191), NOW)
    ]


async def test_bars_from_ticks_weigh_the_price_by_size(grown: Database) -> None:
    aapl = await instrument_in(grown)
    start = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    prices = [("100", 30), ("103", 10), ("99", 60), ("101.5", None)]
    rows = [
        tick(
            aapl, start + n * timedelta(seconds=10), price, sequence=n, size=size and Decimal(size)
        )
        for n, (price, size) in enumerate(prices)
    ]
    async with grown.transaction(system="test") as unit:
        await ingest_ticks(unit, rows)
        span = Span(aapl, start, start + timedelta(seconds=1))
        assert await bars_from_ticks(unit, span, Timeframe.M1) == 1
        (made,) = await unit.bars.between(aapl, Timeframe.M1, start=start, end=start + DAY)
    assert (made.open, made.high, made.low, made.close) == tuple(
        map(Decimal, ("100", "103", "99", "101.5"))
    )
    assert (made.volume, made.vwap, made.trades_count) == (Decimal(100), Decimal("99.7"), 3)


async def test_bigger_bars_say_no_vwap_when_a_smaller_one_does_not(grown: Database) -> None:
    aapl = await instrument_in(grown)
    start = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    minute = timedelta(minutes=1)
    rows = [
        bar(aapl, start, "100", volume=Decimal(1)),
        bar(aapl, start + minute, "110", volume=Decimal(3)),
        bar(aapl, start + 5 * minute, "120", vwap=None),
        bar(aapl, start + 6 * minute, "121"),
        bar(aapl, start + 10 * minute, "130", volume=Decimal(0), vwap=None, trades_count=None),
    ]
    async with grown.transaction(system="test") as unit:
        await ingest_bars(unit, rows)
        span = Span(aapl, start, start + timedelta(hours=1))
        assert await bars_from_bars(unit, span, Timeframe.M5, base=Timeframe.M1) == 3
        made = await unit.bars.between(aapl, Timeframe.M5, start=start, end=start + DAY)
    assert [(b.time, b.open, b.close, b.volume, b.vwap, b.trades_count) for b in made] == [
        (start, Decimal(100), Decimal(110), Decimal(4), Decimal("107.5"), 6),
        (start + 5 * minute, Decimal(120), Decimal(121), Decimal(200), None, 6),
        (start + 10 * minute, Decimal(130), Decimal(130), Decimal(0), None, None),
    ]


async def test_the_day_of_a_bar_is_the_day_of_its_exchange(grown: Database) -> None:
    async with grown.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY")
        spy.time_zone = "America/New_York"
        await unit.flush()
        # 19:59 on Thursday in New York, in winter: Friday in UTC.
        late = datetime(2026, 11, 20, 0, 59, tzinfo=UTC)
        await ingest_bars(unit, [bar(spy.id, late, "650"), bar(spy.id, late - 9 * DAY, "600")])
        await roll_up_days(unit)
    days = await stored(grown, 'SELECT "on"::text, close FROM market.daily_bars ORDER BY 1')
    assert days == [("2026-11-10", Decimal(600)), ("2026-11-19", Decimal(650))]


async def test_a_changed_bar_changes_its_day_and_a_deleted_one_removes_it(grown: Database) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_bars(unit, [bar(aapl, NOW, "100"), bar(aapl, NOW + DAY, "50")])
        assert await roll_up_days(unit) == 2
        assert await roll_up_days(unit) == 0
        await ingest_bars(unit, [bar(aapl, NOW, "101"), bar(aapl, NOW + timedelta(hours=1), "99")])
        assert await roll_up_days(unit) == 1
    days = 'SELECT "on"::text, open, high, low, close, bars_count FROM market.daily_bars ORDER BY 1'
    hundred_one, ninety_nine, fifty = Decimal(101), Decimal(99), Decimal(50)
    first = ("2026-11-21", hundred_one, hundred_one, ninety_nine, ninety_nine, 2)
    assert await stored(grown, days) == [first, ("2026-11-22", fifty, fifty, fifty, fifty, 1)]
    async with grown.transaction(system="test") as unit:
        await unit.bars.delete_where(Bar.time == NOW + DAY)
        await unit.session.execute(
            text("INSERT INTO market.stale_days VALUES (:aapl, :day)"),
            {"aapl": aapl, "day": (NOW + DAY).date()},
        )
        await roll_up_days(unit)
    assert await stored(grown, days) == [first]


async def test_a_day_is_made_from_its_finest_bars_alone(grown: Database) -> None:
    aapl = await instrument_in(grown)
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    hour = timedelta(hours=1)
    async with grown.transaction(system="test") as unit:
        await ingest_bars(
            unit,
            [
                bar(aapl, midnight, "500", timeframe=Timeframe.D1, volume=Decimal(9)),
                bar(aapl, midnight + 14 * hour, "100", timeframe=Timeframe.H1),
                bar(aapl, midnight + 15 * hour, "101", timeframe=Timeframe.H1),
                bar(aapl, midnight + DAY, "400", timeframe=Timeframe.D1, volume=Decimal(8)),
            ],
        )
        await roll_up_days(unit)
    days = await stored(
        grown, 'SELECT "on"::text, timeframe, volume FROM market.daily_bars ORDER BY 1'
    )
    assert days == [("2026-11-20", "1h", Decimal(200)), ("2026-11-21", "1d", Decimal(8))]


async def test_old_rows_move_to_the_archive_and_stay_readable(grown: Database) -> None:
    aapl = await instrument_in(grown)
    old, fresh = NOW - 1_000 * DAY, NOW - DAY
    policy = Retention("market.bars", keep=365 * DAY, archive="market.bars_archive")
    async with grown.transaction(system="test") as unit:
        await ingest_bars(unit, [bar(aapl, old, "100"), bar(aapl, fresh, "200")])
        await roll_up_days(unit)
    (done,) = await maintain(grown, [policy], at=NOW)
    assert (done.archived, done.dropped) == (1, 0)
    async with grown.transaction(system="test") as unit:
        # A late correction of an archived bar, and one of a bar that was never there.
        await ingest_bars(unit, [bar(aapl, old, "110"), bar(aapl, old + timedelta(hours=1), "120")])
        await roll_up_days(unit)
    (again,) = await maintain(grown, [policy], at=NOW)
    assert again.archived == 1
    count = "SELECT close FROM market.{} ORDER BY time"
    assert await stored(grown, count.format("bars")) == [(Decimal(200),)]
    assert await stored(grown, count.format("bars_archive")) == [(Decimal(110),), (Decimal(120),)]
    assert len(await stored(grown, count.format("bars_history"))) == 3
    assert await stored(grown, 'SELECT close FROM market.daily_bars ORDER BY "on"') == [
        (Decimal(120),),
        (Decimal(200),),
    ]


async def test_rows_without_an_archive_are_dropped_when_all_of_a_piece_is_old(
    grown: Database,
) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_ticks(unit, [tick(aapl, NOW - n * DAY) for n in range(0, 40, 4)])
    (done,) = await maintain(grown, [Retention("market.ticks", keep=14 * DAY)], at=NOW)
    assert done.dropped >= 2
    ((oldest, left),) = await stored(grown, "SELECT min(time), count(*) FROM market.ticks")
    assert oldest >= NOW - (14 + 7) * DAY
    assert 4 <= left <= 6


async def test_maintenance_twice_does_nothing_the_second_time(grown: Database) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_bars(unit, [bar(aapl, NOW - n * 100 * DAY) for n in range(10)])
    policies = [
        Retention("market.bars", 365 * DAY, "market.bars_archive", 30 * DAY),
        Retention("market.bars_archive", None, None, 30 * DAY, grows=False),
    ]
    await maintain(grown, policies, at=NOW)
    before = await stored(grown, "SELECT time FROM market.bars_history ORDER BY 1")
    for done in await maintain(grown, policies, at=NOW):
        assert (done.made, done.compressed, done.archived, done.dropped) == (0, 0, 0, 0)
    assert await stored(grown, "SELECT time FROM market.bars_history ORDER BY 1") == before
    assert len(before) == 10


async def test_what_a_time_series_holds_is_said_without_reading_it(
    grown: Database, request: pytest.FixtureRequest
) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_ticks(unit, [tick(aapl, NOW), tick(aapl, NOW + 100 * DAY)])
    found = {item.table: item for item in await growth(grown)}
    ticks, archive = found["market.ticks"], found["market.bars_archive"]
    assert (ticks.form == "hypertable") == ("hypertables" in request.node.name)
    assert ticks.pieces == 2
    assert ticks.oldest and ticks.oldest <= NOW < ticks.oldest + 7 * DAY
    assert ticks.newest and ticks.newest - 7 * DAY <= NOW + 100 * DAY < ticks.newest
    assert ticks.bytes > 16_000
    assert (archive.pieces, archive.oldest, archive.newest) == (0, None, None)


async def test_a_policy_for_an_ordinary_table_is_refused(grown: Database) -> None:
    with pytest.raises(InvalidData, match="time series"):
        await maintain(grown, [Retention("market.instruments", keep=DAY)])


async def test_the_models_describe_the_database_after_data_and_maintenance(
    grown: Database,
) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_bars(unit, [bar(aapl, now() - n * 40 * DAY) for n in range(30)])
        await ingest_ticks(unit, [tick(aapl, now())])
    await maintain(grown, [Retention("market.bars", 365 * DAY, "market.bars_archive", 30 * DAY)])
    async with grown.engine.connect() as connection:
        url = connection.engine.url.render_as_string(hide_password=False)
    await grown.engine.dispose()
    assert await migrations.check(url) == []


async def test_a_tenant_reads_bars_and_cannot_write_or_reach_their_pieces(
    grown: Database,
) -> None:
    aapl = await instrument_in(grown)
    async with grown.transaction(system="test") as unit:
        await ingest_bars(unit, [bar(aapl, NOW)])
    someone = UUID("01900000-0000-7000-8000-000000000002")
    async with grown.transaction(user=someone) as unit:
        assert await unit.bars.count() == 1
    with pytest.raises(Exception, match="may not"):
        async with grown.transaction(user=someone) as unit:
            await unit.ticks.insert_many([{**tick(aapl, NOW), "sequence": 0}])
    assert await stored(grown, "SELECT count(*) FROM market.ticks") == [(0,)]
