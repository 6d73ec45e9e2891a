"""`tradekeep series …` on real bars: what an operator sees and what a cron job is told."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

import pytest
from click.testing import Result
from sqlalchemy import text
from typer.testing import CliRunner

from domain import Database
from domain.cli.app import app
from domain.clock import now
from domain.market.ingesting import ingest_bars, ingest_ticks
from domain.market.models import Bar
from tests.factories.market import make_instrument
from tests.market import histories
from tests.timeseries.rows import DAY, tick

GONE = [date(2018, 12, 4), date(2018, 12, 6), date(2018, 12, 7)]
GAPS = ("series", "gaps", "SPY", "--calendar", "XNYS", "--from", "2018-01-01", "--to", "2019-01-01")
Run = Callable[..., Result]


async def fill(url: str) -> None:
    """Store SPY's days without three of them, two instruments with one symbol, and a tick."""
    async with Database(url) as db, db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY", time_zone="America/New_York")
        await ingest_bars(unit, histories.daily("SPY", spy.id))
        for day in GONE:
            await unit.bars.delete_where(Bar.time == datetime.combine(day, time(), UTC))
        await ingest_ticks(unit, [tick(spy.id, now())])
        for exchange in ("XNAS", "XLON"):
            await make_instrument(unit, "VOD", exchange=exchange)


@pytest.fixture
def run(migrated_database: str) -> Run:
    asyncio.run(fill(migrated_database))
    environment = {"DATABASE_URL": migrated_database, "COLUMNS": "200"}

    def invoke(*words: str, code: int = 0, **settings: str) -> Result:
        done = CliRunner().invoke(app, words, env=environment | settings)
        assert done.exit_code == code, done.output
        return done

    return invoke


def rows(done: Result) -> dict[str, dict[str, Any]]:
    return {row["table"]: row for row in json.loads(done.stdout)}


def test_status_says_what_every_time_series_holds(run: Run, migrated_database: str) -> None:
    asyncio.run(analyze(migrated_database))
    found = rows(run("series", "status", "--format", "json"))
    assert set(found) >= {"market.bars", "market.bars_archive", "market.ticks"}
    bars, archive = found["market.bars"], found["market.bars_archive"]
    assert (bars["form"], bars["oldest"]) == ("partitions", "2014-01-01T00:00:00+00:00")
    assert bars["rows"] == len(histories.daily("SPY", UUID(int=0))) - len(GONE)
    assert bars["pieces"] >= 3
    assert bars["bytes"] > 100_000
    assert (archive["pieces"], archive["rows"], archive["oldest"]) == (0, 0, None)
    assert (archive["newest"], archive["bytes"]) == (None, 0)
    assert found["market.ticks"]["pieces"] == 1
    shown = run("series", "status").stdout
    assert "kB" in shown
    assert "partitions" in shown


def test_status_knows_no_number_of_rows_before_they_were_counted(run: Run) -> None:
    assert rows(run("series", "status", "--format", "json"))["market.ticks"]["rows"] is None


async def analyze(url: str) -> None:
    async with Database(url) as db, db.engine.begin() as connection:
        await connection.execute(text("ANALYZE market.bars"))


def test_maintain_archives_what_the_settings_or_the_option_say(run: Run) -> None:
    kept = rows(run("series", "maintain", "--format", "json"))
    assert kept["market.bars"]["archived"] == 0
    assert kept["market.bars"]["made"] > 0
    moved = rows(run("series", "maintain", "--keep", "market.bars=1000", "--format", "json"))
    assert moved["market.bars"]["archived"] > 0
    assert moved["market.ticks"] == {
        "table": "market.ticks", "made": 0, "compressed": 0, "archived": 0, "dropped": 0
    }  # fmt: skip
    again = run("series", "maintain", "--format", "json", TRADEKEEP_KEEP_BARS_DAYS="1000")
    assert rows(again)["market.bars"]["archived"] == 0
    assert rows(run("series", "status", "--format", "json"))["market.bars_archive"]["pieces"] > 0
    assert "missing bars: 3" in run(*GAPS, code=1).output


@pytest.mark.parametrize(
    ("keep", "rule"),
    [
        ("market.bats=730", "name one of market.ticks, market.bars, market.bars_archive"),
        ("730", "name one of"),
        ("market.bars", "give 1 to 36500 days"),
        ("market.bars=", "give 1 to 36500 days"),
        ("market.bars=0", "give 1 to 36500 days"),
        ("market.bars=two years", "give 1 to 36500 days"),
        ("market.bars=36501", "give 1 to 36500 days"),
        ("market.bars=-5", "give 1 to 36500 days"),
        ("market.bars=٣٠", "give 1 to 36500 days"),
    ],
)
def test_a_wrong_keep_is_refused_before_anything_is_opened(keep: str, rule: str) -> None:
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    done = CliRunner().invoke(app, ["series", "maintain", "--keep", keep], env=nowhere)
    assert done.exit_code == 1
    assert rule in " ".join(done.output.split())
    assert keep in done.output


def test_rolling_up_goes_on_until_nothing_is_left(run: Run, migrated_database: str) -> None:
    days = len(histories.daily("SPY", UUID(int=0)))
    assert run("series", "roll-up").stdout == f"{days} days rolled up, 0 waiting\n"
    assert run("series", "roll-up").stdout == "0 days rolled up, 0 waiting\n"
    assert asyncio.run(count_days(migrated_database)) == days - len(GONE)
    # The three days had marks and no bars; a rebuild looks at days with bars alone.
    again = run("series", "roll-up", "--rebuild").stdout
    assert again == f"{days - len(GONE)} days rolled up, 0 waiting\n"


async def count_days(url: str) -> int:
    async with Database(url) as db, db.read(system="test") as unit:
        return await unit.daily_bars.count()


def test_gaps_are_printed_and_fail_the_job(run: Run) -> None:
    done = run(*GAPS, "--format", "json", code=1)
    assert json.loads(done.stdout) == [
        {"first": "2018-12-04T14:30:00+00:00", "last": "2018-12-07T14:30:00+00:00", "missing": 3}
    ]
    assert done.stderr == "gaps: 1, missing bars: 3\n"
    table = run(*GAPS, code=1).stdout
    assert "2018-12-04T14:30:00+00:00" in table


def test_no_gaps_are_said_and_pass(run: Run) -> None:
    done = run(*GAPS[:-1], "2018-12-01")
    assert (done.stdout, done.stderr) == ("", "no gaps\n")
    empty = run(*GAPS[:-1], "2018-12-01", "--format", "json")
    assert json.loads(empty.stdout) == []


def test_gaps_of_one_source_and_of_a_market_that_never_closes(run: Run) -> None:
    elsewhere = run(*GAPS, "--source", "elsewhere", "--format", "json", code=1)
    assert json.loads(elsewhere.stdout)[0]["missing"] == 251
    week = ("--from", "2018-01-05", "--to", "2018-01-09")  # Friday to Monday
    always = run("series", "gaps", "SPY", "--calendar", "always", *week, "--format", "csv", code=1)
    assert always.stdout.splitlines() == [
        "first,last,missing",
        "2018-01-06T00:00:00+00:00,2018-01-07T00:00:00+00:00,2",
    ]


def test_gaps_end_today_when_no_end_is_given(run: Run) -> None:
    yesterday = (now() - DAY).date().isoformat()
    done = run(
        "series", "gaps", "SPY", "--calendar", "always", "--from", yesterday, "-f", "json", code=1
    )
    assert [gap["missing"] for gap in json.loads(done.stdout)] == [1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("SPX", "--calendar", "XNYS", "--from", "2018-01-01"), "no instrument SPX"),
        (("VOD", "--calendar", "XNYS", "--from", "2018-01-01"), "several instruments"),
        (("SPY", "--calendar", "XMOON", "--from", "2018-01-01"), "XMOON"),
        (
            ("SPY", "--calendar", "XNYS", "--from", "2018-01-01", "--timeframe", "1w"),
            "timeframe must be a day or shorter",
        ),
        (
            ("01900000-0000-7000-8000-00000000ffff", "--calendar", "XNYS", "--from", "2018-01-01"),
            "was not found",
        ),
    ],
)
def test_what_cannot_be_looked_at_is_said_in_one_line(
    run: Run, words: tuple[str, ...], message: str
) -> None:
    done = run("series", "gaps", *words, code=1)
    assert message in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_id_tells_two_instruments_with_one_symbol_apart(run: Run) -> None:
    error = run("series", "gaps", "VOD", "--calendar", "XNYS", "--from", "2018-01-01", code=1)
    ident = error.stderr.split()[-1]
    days = ("--from", "2018-01-02", "--to", "2018-01-03")
    done = run("series", "gaps", ident, "--calendar", "XNYS", *days, "-f", "json", code=1)
    assert [gap["missing"] for gap in json.loads(done.stdout)] == [1]


def test_a_wrong_date_is_a_wrong_usage(run: Run) -> None:
    run("series", "gaps", "SPY", "--calendar", "XNYS", "--from", "5 January", code=2)
