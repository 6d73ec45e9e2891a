"""Economic series: every vintage kept, nothing known before it was published."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from domain import Database
from domain.errors import AccessDenied, InvalidData
from domain.news.releases import Release, Stored, from_tetra, ingest_releases, read_fred_csv
from tests.factories.trading import open_account

Q4 = date(2023, 10, 1)
ADVANCE, SECOND, THIRD = date(2024, 1, 25), date(2024, 2, 28), date(2024, 3, 28)


def gdp(value: str | None, vintage_on: date, **details: Any) -> Release:
    details.setdefault("observed_on", Q4)
    number = None if value is None else Decimal(value)
    return Release(symbol="GDPC1", value=number, vintage_on=vintage_on, **details)


async def ingest(db: Database, *releases: Release) -> Stored:
    async with db.transaction(system="feed") as unit:
        return await ingest_releases(unit, releases)


async def known_on(db: Database, day: date) -> list[Decimal | None]:
    async with db.read(system="test") as unit:
        return [row.value for row in await unit.economic_releases.as_known_on("GDPC1", day)]


async def test_a_back_test_sees_no_number_before_it_was_published(db: Database) -> None:
    await ingest(
        db,
        gdp("22672.859", ADVANCE, is_preliminary=True),
        gdp("22668.986", SECOND, is_preliminary=True),
        gdp("22679.255", THIRD),
    )
    assert await known_on(db, ADVANCE - timedelta(days=1)) == []
    assert await known_on(db, ADVANCE) == [Decimal("22672.859")]
    assert await known_on(db, SECOND - timedelta(days=1)) == [Decimal("22672.859")]
    assert await known_on(db, SECOND) == [Decimal("22668.986")]
    assert await known_on(db, date(2030, 1, 1)) == [Decimal("22679.255")]
    async with db.read(system="test") as unit:
        vintages = await unit.economic_releases.vintages("GDPC1", Q4)
        assert [row.vintage_on for row in vintages] == [ADVANCE, SECOND, THIRD]
        (latest,) = await unit.economic_releases.latest("GDPC1")
        view = await unit.session.execute(text("SELECT value FROM news.latest_releases"))
        assert [latest.value] == list(view.scalars()) == [Decimal("22679.255")]


async def test_the_same_value_again_is_nothing_new(db: Database) -> None:
    assert await ingest(db, gdp("1.50", ADVANCE)) == Stored(1, 0, 0)
    assert await ingest(db, gdp("1.50", ADVANCE)) == Stored(0, 0, 1)
    assert await ingest(db, gdp("1.5", SECOND), gdp("1.500", THIRD)) == Stored(0, 0, 2)
    assert await ingest(db, gdp("1.6", THIRD)) == Stored(1, 0, 0)
    assert await ingest(db, gdp("1.5", THIRD + timedelta(days=1))) == Stored(1, 0, 0)


async def test_a_stored_vintage_is_corrected_in_place(db: Database) -> None:
    await ingest(db, gdp("1", ADVANCE), gdp("2", SECOND))
    assert await ingest(db, gdp("1", SECOND)) == Stored(0, 1, 0)
    assert await known_on(db, THIRD) == [Decimal(1)]


async def test_a_withdrawn_value_is_a_vintage_without_one(db: Database) -> None:
    await ingest(db, gdp("1", ADVANCE), gdp(None, SECOND))
    assert await ingest(db, gdp(None, THIRD)) == Stored(0, 0, 1)
    assert await known_on(db, SECOND) == [None]
    async with db.read(system="test") as unit:
        assert await unit.economic_releases.newest_value_on("GDPC1", THIRD) is None
        found = await unit.economic_releases.newest_value_on("GDPC1", ADVANCE)
        assert found is not None and found.value == 1


async def test_the_final_mark_is_news_even_when_the_value_stands(db: Database) -> None:
    await ingest(db, gdp("1", ADVANCE, is_preliminary=True))
    assert await ingest(db, gdp("1", SECOND)) == Stored(1, 0, 0)


async def test_workers_that_bring_the_same_file_store_it_once(db: Database) -> None:
    rows = [
        gdp(str(n), ADVANCE, observed_on=date(2000, 1, 1) + timedelta(days=n)) for n in range(300)
    ]
    done = await asyncio.gather(
        *(ingest(db, *(rows if n % 2 else reversed(rows))) for n in range(6))
    )
    assert sum(stored.new for stored in done) == 300
    assert len(await known_on(db, ADVANCE)) == 300


stories = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 6), st.none() | st.integers(0, 2), st.integers(0, 2)
    ),
    max_size=25,
)


@given(stories)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_was_known_on_any_day_is_what_the_last_message_before_it_said(
    db: Database, story: list[tuple[int, int, int | None, int]]
) -> None:
    async with db.transaction(system="test") as unit:
        await unit.economic_releases.delete_where(text("true"))  # type: ignore[arg-type]  # all of them
    # In order of vintages, as feeds send them; several batches, each any number of vintages.
    ordered = sorted(story, key=lambda item: item[1])
    batches: dict[tuple[int, int], list[Release]] = {}
    said: dict[tuple[int, int], Decimal | None] = {}
    for day, vintage, value, batch in ordered:
        release = gdp(
            None if value is None else f"{value}.0",
            ADVANCE + timedelta(days=vintage),
            observed_on=Q4 + timedelta(days=day),
        )
        batches.setdefault((vintage // 3, batch if vintage % 3 == 0 else 9), []).append(release)
    for _, releases in sorted(batches.items()):
        await ingest(db, *releases)
        for release in releases:
            key = ((release.observed_on - Q4).days, (release.vintage_on - ADVANCE).days)
            said[key] = release.value
    for on in range(-1, 8):
        known = {}
        for (day, vintage), number in sorted(said.items()):
            if vintage <= on:
                known[day] = number
        expected = [known[day] for day in sorted(known)]
        assert await known_on(db, ADVANCE + timedelta(days=on)) == expected


def test_a_fred_file_is_read_with_its_missing_values() -> None:
    content = (
        b"\xef\xbb\xbfDate,DCOILWTICO,VIX\r\n1/2/1986,25.56,.\r\n2020-04-20,-36.98,43.83\r\n\r\n"
    )
    found = read_fred_csv(content, lag=timedelta(days=1))
    assert [(r.symbol, r.observed_on, r.value) for r in found] == [
        ("DCOILWTICO", date(1986, 1, 2), Decimal("25.56")),
        ("VIX", date(1986, 1, 2), None),
        ("DCOILWTICO", date(2020, 4, 20), Decimal("-36.98")),
        ("VIX", date(2020, 4, 20), Decimal("43.83")),
    ]
    assert found[0].vintage_on == date(1986, 1, 3)
    assert read_fred_csv(content, vintage_on=THIRD)[0].vintage_on == THIRD


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("", "line 1"),
        ("DATE\n2024-01-01\n", "line 1"),
        ("DATE,gdp growth\n", "line 1"),
        ("DATE,GDP\n2024-01-01,1,2\n", "line 2"),
        ("DATE,GDP\n2024-01-01,1\n2024-02-30,1\n", "line 3, DATE"),
        ("DATE,GDP\n13/13/2024,1\n", "line 2, DATE"),
        ("DATE,GDP\n2024-01-01,1e5\n", "line 2, GDP"),
        ("DATE,GDP\n2024-01-01,1;5\n", "line 2, GDP"),
    ],
)
def test_a_broken_file_is_refused_by_line_and_column(content: str, place: str) -> None:
    with pytest.raises(InvalidData) as refused:
        read_fred_csv(content, vintage_on=THIRD)
    assert refused.value.field == place


async def test_rows_of_tetra_keep_their_revisions(db: Database) -> None:
    day = datetime(2023, 10, 1, tzinfo=UTC)
    rows = [
        {"symbol": "GDPC1", "date": day, "value": Decimal("22672.859"), "is_preliminary": True,
         "revision_date": None, "source": "FRED", "created_at": datetime(2024, 1, 25, tzinfo=UTC)},
        {"symbol": "GDPC1", "date": day, "value": "22668.986", "is_preliminary": False,
         "revision_date": datetime(2024, 2, 28, 13, 30, tzinfo=UTC), "source": "FRED"},
    ]  # fmt: skip
    assert (await ingest(db, *from_tetra(rows))).new == 2
    async with db.read(system="test") as unit:
        first, second = await unit.economic_releases.vintages("GDPC1", Q4)
    assert (first.vintage_on, first.is_preliminary) == (ADVANCE, True)
    assert (second.vintage_on, second.revised_at) == (SECOND, rows[1]["revision_date"])
    with pytest.raises(InvalidData, match="vintage"):
        list(from_tetra([{"symbol": "X", "date": day, "value": Decimal(1)}]))


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({"symbol": "gdp"}, "symbol"),
        ({"value": Decimal("NaN")}, "value"),
        ({"value": 1.5}, "value"),
        ({"revised_at": datetime(2024, 1, 1)}, "revised_at"),  # noqa: DTZ001 - that is the point
        ({"observed_on": datetime(2024, 1, 1, tzinfo=UTC)}, "observed_on"),
    ],
)
async def test_a_release_that_is_none_leaves_nothing_behind(
    db: Database, details: dict[str, Any], field: str
) -> None:
    bad: dict[str, Any] = {"symbol": "GDPC1", "observed_on": Q4, "vintage_on": THIRD} | details
    with pytest.raises(InvalidData) as refused:
        await ingest(db, gdp("1", ADVANCE), Release(**bad))
    assert refused.value.field == field
    assert await known_on(db, THIRD) == []


async def test_tenants_read_series_and_do_not_write_them(db: Database) -> None:
    account = await open_account(db)
    await ingest(db, gdp("1", ADVANCE))
    async with db.read(user=account.user.id) as unit:
        assert len(await unit.economic_releases.latest("GDPC1")) == 1
        assert await unit.session.scalar(text("SELECT count(*) FROM news.latest_releases")) == 1
    async with db.transaction(user=account.user.id) as unit:
        with pytest.raises(AccessDenied):
            await ingest_releases(unit, [gdp("2", SECOND)])
