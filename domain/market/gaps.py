"""Finds bars that should be there and are not.

What should be there is said by a trading calendar, so holidays and early closes are no gaps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from domain.db.unit import Unit
from domain.errors import InvalidData
from domain.market.calendars import Session, TradingCalendar
from domain.market.models import Instrument
from domain.market.terms import Timeframe


@dataclass(frozen=True, slots=True)
class Series:
    """Which bars are looked at.

    Args:
        instrument_id: The instrument.
        timeframe: Their length: up to a day.
        source: Where they came from; None: any source will do.
    """

    instrument_id: UUID
    timeframe: Timeframe
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Bars that are missing one after the other.

    Args:
        first: Start of the first missing bar, UTC; the session's opening for a daily bar.
        last: Start of the last missing bar, UTC.
        missing: How many bars are missing.
    """

    first: datetime
    last: datetime
    missing: int


async def find_gaps(
    unit: Unit, series: Series, calendar: TradingCalendar, *, start: date, end: date
) -> Sequence[Gap]:
    """Return the gaps of a series, oldest first; archived bars count as present.

    For bars shorter than a day every interval of a session is expected: an instrument that does
    not trade in every minute shows the minutes in which it did not.

    Args:
        unit: Any unit.
        series: Which bars.
        calendar: When the market is open.
        start: First trading day looked at.
        end: End of the trading days, exclusive.

    Raises:
        InvalidData: The timeframe is longer than a day, or the calendar does not know the days.
        NotFound: There is no such instrument.
    """
    await unit[Instrument].get(series.instrument_id)
    sessions = calendar.sessions(start, end)
    if not sessions:
        return []
    statement, parameters = _question(series, sessions)
    found = await unit.session.execute(statement, parameters)
    return [Gap(*row) for row in found]


def _question(series: Series, sessions: Sequence[Session]) -> tuple[Any, dict[str, Any]]:
    parameters: dict[str, Any] = {
        "instrument": series.instrument_id,
        "timeframe": series.timeframe.value,
        "source": series.source,
        "opens": [session.opens_at for session in sessions],
    }
    if series.timeframe is Timeframe.D1:
        return _DAYS, parameters | {"days": [session.on for session in sessions]}
    step = series.timeframe.step
    if step is None:
        raise InvalidData("timeframe", series.timeframe.value, "be a day or shorter")
    closes = [session.closes_at for session in sessions]
    return _INTERVALS, parameters | {"closes": closes, "step": step}


_ISLANDS: Final = """
SELECT min(moment), max(moment), count(*)
FROM (SELECT moment, place - row_number() OVER (ORDER BY place) AS island FROM missing) AS m
GROUP BY island ORDER BY 1
"""

_DAYS: Final = text(
    f"""
WITH expected AS (
  SELECT day, moment, place
  FROM unnest(CAST(:days AS date[]), CAST(:opens AS timestamptz[])) WITH ORDINALITY
       AS e (day, moment, place)
),
present AS MATERIALIZED (
  SELECT DISTINCT market.trading_day(time, timeframe, time_zone) AS day
  FROM market.bars_history AS b JOIN market.instruments AS i ON i.id = b.instrument_id
  WHERE instrument_id = :instrument AND timeframe = :timeframe
    AND (CAST(:source AS text) IS NULL OR source = :source)
    AND time >= (SELECT min(moment) - interval '2 days' FROM expected)
    AND time < (SELECT max(moment) + interval '2 days' FROM expected)
),
missing AS (
  SELECT moment, place FROM expected WHERE day NOT IN (SELECT day FROM present)
)
{_ISLANDS}"""  # noqa: S608 - a constant of ours
)

_INTERVALS: Final = text(
    f"""
WITH expected AS (
  SELECT moment, row_number() OVER (ORDER BY moment) AS place
  FROM unnest(CAST(:opens AS timestamptz[]), CAST(:closes AS timestamptz[])) AS s (opens, closes),
       generate_series(opens, closes - CAST(:step AS interval), CAST(:step AS interval)) AS moment
),
present AS MATERIALIZED (
  SELECT DISTINCT time FROM market.bars_history
  WHERE instrument_id = :instrument AND timeframe = :timeframe
    AND (CAST(:source AS text) IS NULL OR source = :source)
    AND time >= (SELECT min(moment) FROM expected) AND time <= (SELECT max(moment) FROM expected)
),
missing AS (
  SELECT moment, place FROM expected WHERE moment NOT IN (SELECT time FROM present)
)
{_ISLANDS}"""  # noqa: S608 - a constant of ours
)
