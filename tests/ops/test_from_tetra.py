"""A Tetra database comes over whole, and its bad rows are named."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from domain import Database
from domain.demo import files
from domain.errors import InvalidData, Unavailable
from domain.market.models import Bar
from domain.market.terms import InstrumentKind, Timeframe
from domain.ops.from_tetra import (
    BATCH,
    Directory,
    Migrated,
    article_of,
    event_of,
    import_tetra,
    release_of,
    timeframe_of,
)
from tests.factories.market import make_instrument
from tests.ops.tetra import build, in_source

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def bars(*symbols: str) -> list[dict[str, Any]]:
    """Return real bars as Tetra would have stored them."""
    return [
        {
            "symbol": bar.symbol,
            "timestamp": bar.starts_at,
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": int(bar.volume),
            "vwap": None,
            "trades_count": None,
            "timeframe": "1Day",
            "source": "Polygon.io",
        }
        for bar in files.bars()
        if bar.symbol in symbols
    ]


async def migrate(db: Database, url: str, **kinds: InstrumentKind) -> dict[str, Migrated]:
    return {report.table: report for report in await import_tetra(db, url, kinds=kinds)}


async def test_every_bar_comes_over_exactly(db: Database, empty_database: str) -> None:
    source = bars("AAPL", "IBM", "SPY")
    assert len(source) > BATCH
    await build(empty_database, source)
    report = (await migrate(db, empty_database, SPY=InstrumentKind.ETF))["market_data.ohlcv"]
    assert (report.read, report.inserted, report.updated) == (len(source), len(source), 0)
    async with db.read(system="test") as unit:
        (spy,) = await unit.instruments.by_symbol("SPY")
        (apple,) = await unit.instruments.by_symbol("AAPL")
        found = await unit.bars.all(unit.bars.query(Bar.instrument_id == spy.id).order_by(Bar.time))
    assert (spy.kind, apple.kind) == (InstrumentKind.ETF, InstrumentKind.STOCK)
    wanted = [row for row in source if row["symbol"] == "SPY"]
    names = ("open", "high", "low", "close", "volume")
    assert [[getattr(bar, name) for name in names] for bar in found] == [
        [row[name] for name in names] for row in wanted
    ]
    assert [bar.time for bar in found] == [row["timestamp"] for row in wanted]
    assert {(bar.timeframe, bar.source) for bar in found} == {(Timeframe.D1, "polygon.io")}


async def test_a_second_run_overwrites_and_adds(db: Database, empty_database: str) -> None:
    source = bars("IBM")[:100]
    await build(empty_database, source)
    await migrate(db, empty_database)

    async def later(connection: Any) -> None:
        await connection.execute(
            text("UPDATE market_data.ohlcv SET vwap = 101.25 WHERE timestamp = :first"),
            {"first": source[0]["timestamp"]},
        )
        await connection.execute(
            text(
                "INSERT INTO market_data.ohlcv (symbol, timestamp, open, high, low, close, volume,"
                " timeframe, source) VALUES ('IBM', now(), 1, 1, 1, 1, 9, '1d', 'polygon.io')"
            )
        )

    await in_source(empty_database, later)
    report = (await migrate(db, empty_database))["market_data.ohlcv"]
    assert (report.inserted, report.updated) == (1, 100)
    async with db.read(system="test") as unit:
        assert await unit.bars.count() == 101
        first = await unit.bars.first(unit.bars.query().order_by(Bar.time))
        assert first is not None and first.vwap == Decimal("101.25")


async def test_what_tetras_checks_let_pass_is_left_out_and_named(
    db: Database, empty_database: str
) -> None:
    source = bars("IBM")[:10]
    source[3] |= dict.fromkeys(("open", "high", "low", "close"), Decimal("NaN"))
    source[5]["timeframe"] = "fortnight"
    await build(empty_database, source)
    report = (await migrate(db, empty_database))["market_data.ohlcv"]
    assert (report.read, report.inserted, report.rejected) == (10, 8, 2)
    nan, unknown = report.examples
    assert (nan.field, nan.value, nan.rule) == ("open", "NaN", "be a finite number")
    assert (unknown.field, unknown.value) == ("timeframe", "fortnight")
    assert nan.key.startswith("IBM 2014-01-07 00:00")


async def test_a_known_instrument_is_used(db: Database, empty_database: str) -> None:
    async with db.transaction(system="test") as unit:
        known = await make_instrument(unit, "IBM", exchange="XNYS")
    await build(empty_database, bars("IBM")[:3])
    await migrate(db, empty_database)
    async with db.read(system="test") as unit:
        assert {bar.instrument_id for bar in await unit.bars.all()} == {known.id}


async def test_an_ambiguous_symbol_stops_before_anything_is_written(
    db: Database, empty_database: str
) -> None:
    async with db.transaction(system="test") as unit:
        for exchange in ("XNYS", "XLON"):
            await make_instrument(unit, "IBM", exchange=exchange)
    await build(empty_database, bars("IBM")[:3])
    with pytest.raises(InvalidData, match="symbol must mean one instrument"):
        await migrate(db, empty_database)


async def test_a_database_without_tetras_tables_has_nothing_to_bring(
    db: Database, empty_database: str
) -> None:
    reports = await migrate(db, empty_database)
    assert len(reports) == 4
    assert {report.is_there for report in reports.values()} == {False}


async def test_a_source_that_is_not_there_is_no_secret_leak(db: Database) -> None:
    with pytest.raises(Unavailable) as failed:
        await migrate(db, "postgresql://tetra:hunter2@127.0.0.1:1/tetra")
    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("1m", "1m"),
        ("1Min", "1m"),
        ("15 minutes", "15m"),
        ("1Hour", "1h"),
        ("1M", "1mo"),
        ("1mo", "1mo"),
        ("1 month", "1mo"),
        ("1week", "1w"),
        ("30sec", "30s"),
        ("1D", "1d"),
    ],
)
def test_timeframes_are_read_as_providers_write_them(written: str, ours: str) -> None:
    assert timeframe_of(written) == ours


@pytest.mark.parametrize("written", ["", "7d", "day", "1x", "1d1d", "1" * 50])
def test_an_unknown_timeframe_is_refused(written: str) -> None:
    with pytest.raises(InvalidData, match="timeframe must be one of"):
        timeframe_of(written)


def test_an_economic_value_becomes_the_vintage_of_its_revision() -> None:
    row = {
        "symbol": "GDPC1",
        "date": datetime(2024, 1, 1, tzinfo=timezone(timedelta(0))),
        "value": Decimal("22679.255"),
        "is_preliminary": None,
        "revision_date": datetime(2024, 3, 28, 12, 30, tzinfo=UTC),
        "source": "FRED",
        "created_at": NOON,
    }
    found = release_of(row, Directory({}))
    assert (found["observed_on"], found["vintage_on"]) == (date(2024, 1, 1), date(2024, 3, 28))
    assert (found["value"], found["is_preliminary"]) == (Decimal("22679.255"), False)
    unrevised = release_of(row | {"revision_date": None}, Directory({}))
    assert (unrevised["vintage_on"], unrevised["revised_at"]) == (NOON.date(), None)


def test_an_article_keeps_its_words_and_loses_its_fragment() -> None:
    row = {
        "title": "Fed holds  rates",
        "description": None,
        "content": "The Fed held.",
        "url": "https://example.com/a?id=1#top",
        "source": "Example",
        "author": "A. Writer",
        "published_at": NOON,
    }
    found = article_of(row, Directory({}))
    assert found["url"] == "https://example.com/a?id=1"
    assert (
        found["content_hash"]
        == article_of(row | {"title": "FED holds rates"}, Directory({}))["content_hash"]
    )


def event(**values: Any) -> dict[str, Any]:
    found = {
        "id": UUID(int=7),
        "event_type": "Rate Decision",
        "event_datetime": NOON,
        "event_name": " FOMC ",
        "description": None,
        "impact_level": 3,
        "symbol": None,
        "currency": "usd",
        "country": "US",
        "actual": Decimal("5.5"),
        "forecast": None,
        "previous": Decimal("5.5"),
        "source": "Forex Factory",
    }
    return found | values


def test_an_event_becomes_words_codes_and_exact_numbers() -> None:
    found = event_of(event(), Directory({}))
    assert (found["event_type"], found["source"], found["name"]) == (
        "rate_decision",
        "forex_factory",
        "FOMC",
    )
    assert (found["currency"], found["country"], found["impact"]) == ("USD", "US", 3)
    assert (found["actual"], found["forecast"], found["external_id"]) == (
        Decimal("5.5"),
        None,
        str(UUID(int=7)),
    )


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"country": "United St"}, "country"),
        ({"currency": "U$"}, "currency"),
        ({"event_name": " "}, "event_name"),
        ({"actual": Decimal("NaN")}, "actual"),
    ],
)
def test_an_event_that_breaks_a_rule_is_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidData) as refused:
        event_of(event(**values), Directory({}))
    assert refused.value.field == field
