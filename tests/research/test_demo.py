"""The demo's journal and research: computed from real bars and real trades."""

import statistics
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from math import log, sqrt
from pathlib import Path

import pytest
from rich.console import Console

from domain import Database
from domain.demo import files
from domain.demo.loading import USERNAME, load_demo
from domain.demo.studies import Day, average, split_adjusted, volatility
from domain.journal.profit import refresh_profit
from domain.journal.statistics import performance_by_setup
from domain.journal.terms import EntryKind, PnlSource
from domain.research.searching import search_text
from domain.research.watching import list_watchlists
from domain.settings import Settings
from domain.storage import Storage

SERIES = split_adjusted(files.bars(), files.splits())


def test_closes_are_comparable_across_a_split() -> None:
    apple = {item.day: item.close for item in SERIES["AAPL"]}
    assert apple[date(2020, 8, 31)] == Decimal("129.04")  # the first day of four shares for one
    assert apple[date(2020, 8, 28)] == Decimal("124.8075")  # 499.23 before
    moves = [abs(log(b.close / a.close)) for a, b in pairwise(SERIES["AAPL"])]  # fmt: skip
    assert max(moves) < 0.2


def test_volatility_is_the_annualised_deviation_of_log_returns() -> None:
    days = SERIES["SPY"][-21:]
    closes = [float(item.close) for item in days]
    returns = [log(b / a) for a, b in pairwise(closes)]
    expected = statistics.stdev(returns) * sqrt(252)
    assert float(volatility(days, 20, days_a_year=252)) == pytest.approx(expected, abs=1e-6)
    still = [Day(date(2024, 1, day), Decimal(100)) for day in range(1, 22)]
    assert volatility(still, 20, days_a_year=252) == 0


def test_an_average_takes_the_last_days() -> None:
    days = [Day(date(2024, 1, day), Decimal(day)) for day in range(1, 11)]
    assert average(days, 4) == Decimal("8.5")


async def test_the_demo_has_a_journal_and_research(migrated_database: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    async with Database(migrated_database, settings=settings) as db:
        assert await load_demo(db, Console(quiet=True))
        assert not await load_demo(db, Console(quiet=True))
        async with db.read(system="test") as unit:
            user = await unit.users.named(USERNAME)
        async with db.transaction(user=user.id) as unit:
            entries = await unit.journal_entries.all()
            trades = [entry for entry in entries if entry.kind is EntryKind.TRADE]
            assert len(trades) == 24
            assert {entry.pnl_source for entry in trades} == {PnlSource.LEDGER}
            assert all("Invented" in (entry.thesis or "") for entry in trades)
            assert await refresh_profit(unit) == 0
            assert {row.name for row in await performance_by_setup(unit)} == {
                "50-day crossover",
                "Premium selling",
            }
            lists = {item.watchlist.name: item.symbols for item in await list_watchlists(unit)}
            assert lists["Shares"] == ["AAPL", "GOOG", "IBM"]
            assert len(await unit.screener_runs.recent()) == 6
            apple = await unit.analyses.latest("AAPL", "trend")
            assert apple is not None
            assert apple.result["close"] == "122.15"
            bitcoin = await unit.metrics.latest("volatility_20d", labels={"symbol": "BTC-USD"})
            assert bitcoin is not None
            assert bitcoin.time < datetime(2018, 9, 1, tzinfo=UTC)
            assert (await search_text(unit, "iron condor"))[0].path == "options/strategies.md"
    storage = Storage(settings=settings)
    assert await storage.list_knowledge_docs() == [
        "options/strategies.md",
        "trading/risk-management.md",
    ]
