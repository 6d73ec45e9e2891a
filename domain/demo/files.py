"""Reads the data files that travel with the package."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Final

TASTYTRADE: Final = "tastytrade_2018_2019.csv"
_FOLDER: Final = files("domain.demo") / "data"


@dataclass(frozen=True, slots=True)
class DailyBar:
    """One day of one symbol, raw.

    Args:
        symbol: Ticker or pair.
        day: The trading day.
        open: First price.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Units traded.
    """

    symbol: str
    day: date
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def starts_at(self) -> datetime:
        """Midnight UTC at which the day's bar begins."""
        return datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)


def content(name: str) -> bytes:
    """Return a data file's bytes."""
    return (_FOLDER / name).read_bytes()


def bars() -> list[DailyBar]:
    """Return all bars, by symbol and day."""
    return [
        DailyBar(
            row["symbol"],
            date.fromisoformat(row["date"]),
            *(Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")),
        )
        for row in rows("bars_daily.csv")
    ]


def euro_rates() -> list[tuple[date, Decimal]]:
    """Return (day, US dollars for one euro), by day."""
    found = rows("ecb_eurusd_daily.csv")
    return [(date.fromisoformat(row["date"]), Decimal(row["usd_per_eur"])) for row in found]


def splits() -> list[dict[str, str]]:
    """Return the rows of corporate_actions.csv."""
    return list(rows("corporate_actions.csv"))


def rows(name: str) -> Iterator[dict[str, str]]:
    """Return the rows of a CSV file by column name."""
    return csv.DictReader(content(name).decode().splitlines())
