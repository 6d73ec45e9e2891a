"""The demo's research: watchlists, a screener, analyses and metrics from real bars, documents."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from domain.database import Worker
from domain.demo import files
from domain.demo.studies import Day, average, split_adjusted, volatility
from domain.identity.models import User
from domain.research.analysing import save_analysis
from domain.research.ingesting import ingest_document
from domain.research.measuring import NewMetric, insert_metrics
from domain.research.models import Screener
from domain.research.screening import save_screener, save_screener_run
from domain.research.watching import update_watchlist
from domain.storage import Staged

DOCUMENTS: Final = ("options/strategies.md", "trading/risk-management.md")

_WATCHLISTS: Final = (
    ("Shares", "US large caps", ("AAPL", "GOOG", "IBM")),
    ("Index and oil", "Traded around the 50-day average", ("SPY", "USO")),
    ("Crypto", "Trades every day", ("BTC-USD",)),
)
_CLOSE: Final = timedelta(hours=20)
_SHORT, _LONG, _WINDOW = 50, 200, 20
_EVERY: Final = 5
_RUNS: Final = 6


async def load_research(unit: Worker, staged: Staged, user: User) -> None:
    """Load watchlists, a screener with its runs, analyses, metrics and two documents."""
    for name, description, symbols in _WATCHLISTS:
        await update_watchlist(unit, name, symbols, description=description, user_id=user.id)
    series = split_adjusted(files.bars(), files.splits())
    await _screen(unit, user, series)
    for symbol, days in series.items():
        result = _trend(symbol, days)
        await save_analysis(
            unit,
            symbol,
            "trend",
            result,
            params={"short": _SHORT, "long": _LONG},
            recommendation=_recommendation(result),
            workflow_id=f"demo-{symbol}",
            model="50-day and 200-day averages",
            user_id=user.id,
        )
    await insert_metrics(unit, _volatilities(series))
    for path in DOCUMENTS:
        await ingest_document(unit, staged, path, files.content(f"knowledge/{path}"))


async def _screen(unit: Worker, user: User, series: Mapping[str, Sequence[Day]]) -> None:
    screener = await save_screener(
        unit,
        "Above the 50-day average",
        "stock",
        {"above_average_of_days": _SHORT, "symbols": sorted(series)},
        description="Closes above their 50-day average, farthest first",
        auto_run=True,
        schedule="30 16 * * MON-FRI",
        timezone="America/New_York",
        notify_channels=["email"],
        user_id=user.id,
    )
    last = max(days[-1].day for days in series.values())
    for day in sorted(_month_ends(series, last))[-_RUNS:]:
        await _run(unit, screener, series, day)


async def _run(
    unit: Worker, screener: Screener, series: Mapping[str, Sequence[Day]], day: date
) -> None:
    found = []
    for symbol, days in series.items():
        known = [item for item in days if item.day <= day]
        if known[-1].day == day and len(known) > _SHORT:
            mean = average(known, _SHORT)
            distance = known[-1].close / mean - 1
            if distance > 0:
                found.append((distance, symbol, known[-1].close, mean))
    results = [
        {"symbol": symbol, "close": close, "average": mean, "distance": round(distance, 4)}
        for distance, symbol, close, mean in sorted(found, reverse=True)
    ]
    await save_screener_run(unit, screener, results, run_at=_at_close(day))


def _month_ends(series: Mapping[str, Sequence[Day]], last: date) -> set[date]:
    days = sorted({item.day for each in series.values() for item in each if item.day <= last})
    return {day for day, after in pairwise(days) if day.month != after.month} | {last}


def _trend(symbol: str, days: Sequence[Day]) -> dict[str, Any]:
    return {
        "on": days[-1].day,
        "close": days[-1].close,
        "average_50": average(days, _SHORT),
        "average_200": average(days, _LONG),
        "volatility_20d": volatility(days, _WINDOW, days_a_year=_days_a_year(symbol)),
    }


def _recommendation(result: Mapping[str, Any]) -> str:
    short, long = result["average_50"], result["average_200"]
    if result["close"] > short > long:
        return "select"
    return "reject" if result["close"] < short < long else "neutral"


def _volatilities(series: Mapping[str, Sequence[Day]]) -> Iterator[NewMetric]:
    for symbol, days in series.items():
        for end in range(_WINDOW + 1, len(days) + 1, _EVERY):
            value: Decimal = volatility(
                days[:end][-_WINDOW - 1 :], _WINDOW, days_a_year=_days_a_year(symbol)
            )
            at = _at_close(days[end - 1].day)
            yield NewMetric("volatility_20d", value, {"symbol": symbol, "source": "lean"}, at)


def _days_a_year(symbol: str) -> int:
    return 365 if symbol.startswith("BTC") else 252


def _at_close(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + _CLOSE
