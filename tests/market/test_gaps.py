"""Gaps in real bars, judged by real exchange calendars."""

import sys
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import Database
from domain.errors import ConfigurationError, InvalidData, NotFound
from domain.market.calendars import AlwaysOpen, ExchangeCalendar, ListedSessions, Session
from domain.market.gaps import Gap, Series, find_gaps
from domain.market.ingesting import ingest_bars
from domain.market.models import Bar
from domain.market.terms import Timeframe
from tests.factories.market import make_instrument
from tests.market import histories

NEW_YORK = ExchangeCalendar("XNYS")


async def test_the_real_bars_of_spy_from_2018_to_2020_have_no_gap(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY")
        await ingest_bars(unit, histories.daily("SPY", spy.id))
        series = Series(spy.id, Timeframe.D1)
        found = await find_gaps(
            unit, series, NEW_YORK, start=date(2018, 1, 1), end=date(2021, 1, 1)
        )
        assert found == []
        assert len(NEW_YORK.sessions(date(2018, 1, 1), date(2021, 1, 1))) == 756


async def test_removed_bars_are_found_and_neighbours_make_one_gap(db: Database) -> None:
    gone = [date(2018, 12, 4), date(2018, 12, 6), date(2018, 12, 7), date(2020, 3, 16)]
    async with db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY", time_zone="America/New_York")
        await ingest_bars(unit, histories.daily("SPY", spy.id))
        for day in gone:
            midnight = datetime.combine(day, time(), UTC)
            assert await unit.bars.delete_where(Bar.time == midnight) == 1
        series = Series(spy.id, Timeframe.D1)
        found = await find_gaps(
            unit, series, NEW_YORK, start=date(2018, 1, 1), end=date(2021, 1, 1)
        )
    # 5 December 2018 was a day of mourning: the exchange was closed, so the gap runs over it.
    assert [(gap.first.date(), gap.last.date(), gap.missing) for gap in found] == [
        (date(2018, 12, 4), date(2018, 12, 7), 3),
        (date(2020, 3, 16), date(2020, 3, 16), 1),
    ]


async def test_the_years_between_the_two_companies_called_uso_are_one_gap(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        uso = await make_instrument(unit, "USO")
        await ingest_bars(unit, histories.daily_of_uso(uso.id))
        series = Series(uso.id, Timeframe.D1, source="lean")
        found = await find_gaps(
            unit, series, NEW_YORK, start=date(1998, 7, 1), end=date(2021, 3, 31)
        )
    longest = max(found, key=lambda gap: gap.missing)
    assert longest.first.date() == date(1998, 12, 31)
    assert longest.last.date() == date(2006, 4, 7)
    assert longest.missing == len(NEW_YORK.sessions(date(1998, 12, 31), date(2006, 4, 8)))


async def test_the_minutes_of_a_session_are_expected_and_no_others(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY")
        rows = histories.minutes_of_spy(spy.id)
        noon = datetime(2013, 10, 7, 16, tzinfo=UTC)
        lunch = [noon + timedelta(minutes=n) for n in range(5)]
        await ingest_bars(unit, [row for row in rows if row["time"] not in lunch])
        series = Series(spy.id, Timeframe.M1)
        found = await find_gaps(
            unit, series, NEW_YORK, start=date(2013, 10, 7), end=date(2013, 10, 8)
        )
        other = await find_gaps(
            unit,
            Series(spy.id, Timeframe.M1, source="elsewhere"),
            NEW_YORK,
            start=date(2013, 10, 7),
            end=date(2013, 10, 8),
        )
    assert found == [Gap(lunch[0], lunch[-1], 5)]
    assert [gap.missing for gap in other] == [390]


async def test_an_instrument_that_is_not_there_is_no_gap(db: Database) -> None:
    nobody = Series(UUID("01900000-0000-7000-8000-000000000001"), Timeframe.D1)
    async with db.read(system="test") as unit:
        with pytest.raises(NotFound):
            await find_gaps(
                unit, nobody, AlwaysOpen(), start=date(2026, 1, 1), end=date(2026, 2, 1)
            )


async def test_a_week_has_no_gaps_to_look_for(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY")
        with pytest.raises(InvalidData, match="timeframe"):
            await find_gaps(
                unit,
                Series(spy.id, Timeframe.W1),
                AlwaysOpen(),
                start=date(2026, 1, 1),
                end=date(2026, 2, 1),
            )


def test_an_early_close_ends_the_session_early() -> None:
    (day,) = NEW_YORK.sessions(date(2019, 11, 29), date(2019, 11, 30))
    assert day == Session(
        date(2019, 11, 29),
        datetime(2019, 11, 29, 14, 30, tzinfo=UTC),
        datetime(2019, 11, 29, 18, 0, tzinfo=UTC),
    )


@given(st.dates(date(2000, 1, 1), date(2025, 1, 1)), st.integers(0, 40))
def test_a_market_that_never_closes_has_one_session_a_day(start: date, days: int) -> None:
    sessions = AlwaysOpen().sessions(start, start + timedelta(days=days))
    assert [session.on for session in sessions] == [
        start + timedelta(days=number) for number in range(days)
    ]
    assert all(session.closes_at - session.opens_at == timedelta(days=1) for session in sessions)


def test_listed_sessions_are_given_in_order_and_within_the_days_asked_for() -> None:
    days = [
        Session(on, datetime.combine(on, time(9), UTC), datetime.combine(on, time(17), UTC))
        for on in (date(2026, 1, 7), date(2026, 1, 5), date(2026, 1, 6))
    ]
    found = ListedSessions(days).sessions(date(2026, 1, 5), date(2026, 1, 7))
    assert [session.on for session in found] == [date(2026, 1, 5), date(2026, 1, 6)]


def test_an_unknown_exchange_is_refused_by_name() -> None:
    with pytest.raises(InvalidData, match="XMOON"):
        ExchangeCalendar("XMOON")


def test_days_before_the_exchange_is_known_are_refused() -> None:
    with pytest.raises(InvalidData, match="XKRX"):
        ExchangeCalendar("XKRX").sessions(date(1950, 1, 1), date(1950, 2, 1))


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(ConfigurationError, match=r"pip install tradekeep\[calendars\]"):
        ExchangeCalendar("XNYS")
