"""Economic series and rate decisions of the demo: real files, assumed days of publication."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from domain.database import Worker
from domain.demo import files
from domain.news.calendar import NewEvent, ingest_events
from domain.news.releases import ingest_releases, read_fred_csv
from domain.news.terms import Frequency, Impact

# The files do not say when their values were published: the usual lag of each series.
_LAGS: Final = {
    "fred_CPILFESL_monthly.csv": timedelta(days=43),
    "fred_DCOILWTICO_daily.csv": timedelta(days=2),
    "vix_daily_2014_2019.csv": timedelta(days=1),
    "us_macro_quarterly_1959_2009.csv": timedelta(days=118),
}
_SERIES: Final = (
    ("CPILFESL", "Core consumer prices, US cities", Frequency.MONTHLY, "index, 1982-84 = 100"),
    ("DCOILWTICO", "Crude oil, West Texas Intermediate", Frequency.DAILY, "US dollars a barrel"),
    ("VIX", "Cboe volatility index", Frequency.DAILY, "percent a year"),
    ("REALGDP", "Real gross domestic product, US", Frequency.QUARTERLY, "billions of 2005 dollars"),
    ("UNEMP", "Unemployment rate, US", Frequency.QUARTERLY, "percent"),
)
_RATES: Final = "us_primary_credit_rate_changes.csv"


async def load(unit: Worker) -> None:
    """Store the series, what was published about them, and the rate decisions."""
    await unit.economic_series.insert_many(
        [
            {"symbol": symbol, "title": title, "frequency": frequency, "units": units}
            for symbol, title, frequency, units in _SERIES
        ]
    )
    for name, lag in _LAGS.items():
        await ingest_releases(unit, read_fred_csv(files.content(name), lag=lag))
    await ingest_events(unit, list(_decisions()))


def _decisions() -> Iterator[NewEvent]:
    rows = list(csv.reader(files.content(_RATES).decode().splitlines()))[1:]
    for (_, before), (day, rate) in pairwise([("", ""), *((row[0], row[1]) for row in rows)]):
        yield NewEvent(
            event_type="rate_decision",
            name="Primary credit rate changed",
            occurs_at=datetime.fromisoformat(day).replace(tzinfo=UTC),
            source="lean",
            impact=Impact.CRITICAL,
            currency="USD",
            country="US",
            unit="percent",
            actual=Decimal(rate),
            previous=Decimal(before) if before else None,
        )
