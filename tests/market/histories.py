"""Real bars as rows for `ingest_bars`."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.demo import files
from domain.market.terms import Timeframe

_FOLDER = Path(__file__).parents[1] / "data"
_PRICES = ("open", "high", "low", "close", "volume")


def daily(symbol: str, instrument: UUID) -> list[dict[str, Any]]:
    """Return the demo's daily bars of a symbol, 2018 on."""
    return [
        _row(
            instrument, Timeframe.D1, bar.starts_at, {name: getattr(bar, name) for name in _PRICES}
        )
        for bar in files.bars()
        if bar.symbol == symbol
    ]


def daily_of_uso(instrument: UUID) -> list[dict[str, Any]]:
    """Return the daily bars of both companies that traded as USO."""
    with (_FOLDER / "uso_daily.csv").open() as file:
        return [
            _row(
                instrument,
                Timeframe.D1,
                datetime.fromisoformat(row["date"]).replace(tzinfo=UTC),
                row,
            )
            for row in csv.DictReader(file)
        ]


def minutes_of_spy(instrument: UUID) -> list[dict[str, Any]]:
    """Return the minute bars of 7 October 2013, 04:00 to 20:00 in New York."""
    zone = ZoneInfo("America/New_York")
    return [
        _row(
            instrument,
            Timeframe.M1,
            datetime.fromisoformat(row["timestamp_america_new_york"])
            .replace(tzinfo=zone)
            .astimezone(UTC),
            row,
        )
        for row in files.rows("spy_minute_2013-10-07.csv")
    ]


def _row(
    instrument: UUID, timeframe: Timeframe, time: datetime, values: dict[str, Any]
) -> dict[str, Any]:
    prices = {name: Decimal(values[name]) for name in _PRICES}
    keys = {"instrument_id": instrument, "timeframe": timeframe, "time": time, "source": "lean"}
    return keys | prices
