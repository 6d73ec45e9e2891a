"""The demo's time series: a real day of minutes, ticks replayed from it, and bigger bars."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.database import Worker
from domain.demo import files
from domain.market.ingesting import ingest_bars, ingest_ticks
from domain.market.rolling_up import Span, bars_from_bars, roll_up_days
from domain.market.terms import Timeframe

NEW_YORK: Final = "America/New_York"
_PRICES: Final = ("open", "high", "low", "close", "volume")
_WEEKS: Final = (datetime(2014, 1, 1, tzinfo=UTC), datetime(2021, 4, 1, tzinfo=UTC))


async def load(unit: Worker, instruments: dict[str, UUID]) -> None:
    """Store minutes and ticks of SPY, bigger bars of them, weeks of all, and the daily roll-up.

    Args:
        unit: A trusted unit; the daily bars are there.
        instruments: Ids by symbol.
    """
    spy = instruments["SPY"]
    minutes = list(_minutes(spy))
    await ingest_bars(unit, minutes)
    # No file of real ticks may be shipped: each minute's close stands for one.
    await ingest_ticks(unit, [_tick(minute) for minute in minutes])
    day = Span(spy, minutes[0]["time"], minutes[-1]["time"] + timedelta(minutes=1))
    for timeframe in (Timeframe.M5, Timeframe.H1):
        await bars_from_bars(unit, day, timeframe, base=Timeframe.M1)
    for instrument in instruments.values():
        await bars_from_bars(unit, Span(instrument, *_WEEKS), Timeframe.W1, base=Timeframe.D1)
    while await roll_up_days(unit, limit=20_000):
        pass


def _minutes(instrument: UUID) -> Iterator[dict[str, Any]]:
    zone = ZoneInfo(NEW_YORK)
    for row in files.rows("spy_minute_2013-10-07.csv"):
        local = datetime.fromisoformat(row["timestamp_america_new_york"]).replace(tzinfo=zone)
        yield {
            "instrument_id": instrument,
            "timeframe": Timeframe.M1,
            "time": local.astimezone(UTC),
            "source": "lean",
            **{name: Decimal(row[name]) for name in _PRICES},
        }


def _tick(minute: dict[str, Any]) -> dict[str, Any]:
    return {
        "instrument_id": minute["instrument_id"],
        "time": minute["time"] + timedelta(seconds=59),
        "source": "replay",
        "price": minute["close"],
        "size": minute["volume"],
    }
