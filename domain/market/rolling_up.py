"""Makes bigger bars from ticks and from smaller bars, and keeps the daily roll-up current.

Open is the first price, close the last one, vwap is weighted by volume. A vwap is rounded half
away from zero to `VWAP_SCALE` decimals, as a quotient has no end; where a bar with volume does
not say its vwap, the bigger bar's is unknown too, never guessed.

Days, weeks and months begin at midnight in the instrument's `time_zone`; weeks on Monday.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from domain.clock import as_utc
from domain.db.timeseries import in_transit, room_for
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData, NotFound
from domain.market.models import Bar
from domain.market.terms import Timeframe

VWAP_SCALE: Final = 10

_ORDER: Final = [frame.value for frame in Timeframe]
_PERIODS: Final = {Timeframe.D1: "day", Timeframe.W1: "week", Timeframe.MO1: "month"}


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of an instrument's history.

    Args:
        instrument_id: The instrument.
        start: First instant, aware.
        end: End, exclusive, aware.

    Raises:
        InvalidData: An instant is naive.
    """

    instrument_id: UUID
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            as_utc(getattr(self, name), name)


async def bars_from_ticks(unit: UnitOfWork, span: Span, timeframe: Timeframe) -> int:
    """Make bars from ticks, and overwrite those that are there.

    Every interval that the span touches is made from all of its ticks. Volume counts ticks with a
    size; ticks without one give prices only.

    Args:
        unit: A unit of staff or of a trusted job.
        span: Which ticks.
        timeframe: Length of the bars.

    Returns:
        How many bars were written: one an interval with ticks and a source.

    Raises:
        NotFound: There is no such instrument.
    """
    return await _aggregate(unit, span, timeframe, source=_TICKS)


async def bars_from_bars(
    unit: UnitOfWork, span: Span, timeframe: Timeframe, *, base: Timeframe
) -> int:
    """Make bigger bars from smaller ones, and overwrite those that are there.

    Args:
        unit: A unit of staff or of a trusted job.
        span: Which bars; every interval it touches is made from all of its bars.
        timeframe: Length of the bigger bars.
        base: Length of the smaller ones.

    Returns:
        How many bars were written: one an interval with bars and a source.

    Raises:
        InvalidData: `base` does not fit into `timeframe` a whole number of times.
        NotFound: There is no such instrument.
    """
    _check_fit(base, timeframe)
    return await _aggregate(unit, span, timeframe, source=_BARS, base=base.value)


async def roll_up_days(unit: UnitOfWork, *, limit: int = 1_000) -> int:
    """Bring ``market.daily_bars`` up to date with the days that were marked, oldest mark first.

    A day is made from its finest bars of up to a day, source by source, archived ones included.
    Workers may do this at the same time; each takes marks that no other has. Nothing is taken
    while retention has old bars on the way to the archive, where nobody sees them.

    Args:
        unit: A unit of staff or of a trusted job.
        limit: The most marks to take.

    Returns:
        How many marks were taken; 0 when nothing is left to do.
    """
    found = await unit.session.execute(_ROLL_UP, {"limit": limit, "order": _ORDER})
    return int(found.scalar_one())


async def rebuild_days(unit: UnitOfWork, instruments: Iterable[UUID] | None = None) -> int:
    """Mark every day that has bars, and roll all of them up.

    Args:
        unit: A unit of staff or of a trusted job.
        instruments: Whose days; None for all.

    Returns:
        How many days were marked.
    """
    idents = None if instruments is None else list(instruments)
    await unit.session.execute(_MARK_ALL, {"idents": idents})
    marked = 0
    while taken := await roll_up_days(unit, limit=10_000):
        marked += taken
    return marked


def _check_fit(base: Timeframe, timeframe: Timeframe) -> None:
    step, whole = base.step, timeframe.step
    if step is not None and whole is not None:
        fits = whole > step and not whole % step
    elif step is not None:
        fits = True
    else:
        fits = base is Timeframe.D1 and timeframe in {Timeframe.W1, Timeframe.MO1}
    if not fits:
        raise InvalidData("base", base.value, f"fit into {timeframe} a whole number of times")


async def _aggregate(
    unit: UnitOfWork, span: Span, timeframe: Timeframe, *, source: str, base: str | None = None
) -> int:
    interval = _interval(timeframe)
    bounds = text(_BOUNDS.format(bucket=interval))
    parameters: dict[str, Any] = {
        "instrument": span.instrument_id,
        "start": span.start,
        "end": span.end,
    }
    found = (await unit.session.execute(bounds, parameters)).first()
    if found is None:
        raise NotFound(f"there is no instrument {span.instrument_id}")
    first, last = found
    days = [first + n * timedelta(days=1) for n in range((last - first).days + 1)]
    if room := room_for(Bar.metadata.tables["market.bars"], [*days, last]):
        await unit.session.execute(*room)
    statement = text(_AGGREGATE.format(source=source.format(bucket=interval), known=_KNOWN))
    given = {"instrument": span.instrument_id, "first": first, "last": last}
    given |= {"timeframe": timeframe.value} | ({} if base is None else {"base": base})
    return int((await unit.session.execute(statement, given)).scalar_one())


def _interval(timeframe: Timeframe) -> str:
    """Return the SQL for the start of the interval that ``moment`` is in."""
    if timeframe.step is not None:
        seconds = int(timeframe.step.total_seconds())
        return f"date_bin('{seconds} s', moment, TIMESTAMPTZ '2000-01-01 00:00Z')"
    return f"date_trunc('{_PERIODS[timeframe]}', moment, zone)"


# The vwap and the number of trades of several bars: known when every bar's is.
_KNOWN: Final = f"""CASE WHEN sum(volume) > 0 AND bool_and(vwap IS NOT NULL OR volume = 0)
            THEN round(sum(vwap * volume) / sum(volume), {VWAP_SCALE}) END,
       CASE WHEN bool_and(trades_count IS NOT NULL) THEN sum(trades_count)::bigint END"""

# The spans of whole intervals that :start to :end touches; the end is the next interval's start.
_BOUNDS: Final = """
SELECT (SELECT {bucket} FROM (SELECT CAST(:start AS timestamptz) AS moment, zone) AS t),
       (SELECT {bucket}
        FROM (SELECT CAST(:end AS timestamptz) - interval '1 us' AS moment, zone) AS t)
FROM (SELECT coalesce(time_zone, 'UTC') AS zone FROM market.instruments
      WHERE id = :instrument) AS instrument
"""

_TICKS: Final = """
  SELECT instrument_id, source, {bucket} AS bucket, moment, sequence,
         price AS open, price AS high, price AS low, price AS close,
         coalesce(size, 0) AS volume, price AS vwap,
         CASE WHEN size IS NULL THEN 0 ELSE 1 END AS trades_count
  FROM (SELECT *, time AS moment FROM market.ticks WHERE instrument_id = :instrument
        AND time >= CAST(:first AS timestamptz)) AS tick CROSS JOIN zoned
"""

_BARS: Final = """
  SELECT instrument_id, source, {bucket} AS bucket, moment, 0 AS sequence,
         open, high, low, close, volume, vwap, trades_count
  FROM zoned CROSS JOIN LATERAL (
    SELECT *, CASE timeframe WHEN '1d'
                THEN market.trading_day(time, timeframe, zone)::timestamp AT TIME ZONE zone
                ELSE time END AS moment
    FROM market.bars_history WHERE instrument_id = :instrument AND timeframe = :base
      AND time >= CAST(:first AS timestamptz) - interval '1 day'
  ) AS bar
"""

_AGGREGATE: Final = """
WITH zoned AS (
  SELECT coalesce(time_zone, 'UTC') AS zone FROM market.instruments WHERE id = :instrument
),
part AS ({source}),
written AS (
INSERT INTO market.bars AS stored (instrument_id, timeframe, time, source, open, high, low, close,
                                   volume, vwap, trades_count)
SELECT instrument_id, CAST(:timeframe AS text), bucket, source,
       (array_agg(open ORDER BY moment, sequence))[1], max(high), min(low),
       (array_agg(close ORDER BY moment DESC, sequence DESC))[1], sum(volume),
       {known}
FROM part
WHERE bucket BETWEEN CAST(:first AS timestamptz) AND CAST(:last AS timestamptz)
GROUP BY instrument_id, bucket, source
ON CONFLICT (instrument_id, timeframe, time, source) DO UPDATE
SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
    volume = excluded.volume, vwap = excluded.vwap, trades_count = excluded.trades_count
RETURNING stored.instrument_id, stored.time
),
marked AS (
  INSERT INTO market.stale_days (instrument_id, "on")
  -- In the order of `mark_days`: two batches in different orders would wait for each other.
  SELECT DISTINCT instrument_id, (time AT TIME ZONE 'UTC')::date FROM written ORDER BY 1, 2
  ON CONFLICT (instrument_id, "on") DO UPDATE SET "on" = excluded."on"
)
SELECT count(*) FROM written
"""

_ROLL_UP: Final = text(
    f"""
WITH taken AS (
  DELETE FROM market.stale_days AS s
  USING (SELECT instrument_id, "on" FROM market.stale_days
         WHERE NOT {in_transit("market.bars")}
         ORDER BY marked_at, instrument_id, "on" LIMIT :limit FOR UPDATE SKIP LOCKED) AS next
  WHERE s.instrument_id = next.instrument_id AND s."on" = next."on"
  RETURNING s.instrument_id, s."on"
),
day AS (
  -- A UTC day lies in one or two days of the zone; a daily bar may be dated by either.
  SELECT DISTINCT t.instrument_id, coalesce(time_zone, 'UTC') AS zone, local."on"
  FROM taken AS t JOIN market.instruments AS i ON i.id = t.instrument_id, LATERAL (
    SELECT t."on" AS "on"
    UNION SELECT (t."on"::timestamp AT TIME ZONE 'UTC'
                  AT TIME ZONE coalesce(time_zone, 'UTC'))::date
    UNION SELECT (((t."on" + 1)::timestamp AT TIME ZONE 'UTC' - interval '1 us')
                  AT TIME ZONE coalesce(time_zone, 'UTC'))::date
  ) AS local
),
part AS (
  SELECT b.*, day."on",
         dense_rank() OVER (
           PARTITION BY b.instrument_id, day."on", b.source
           ORDER BY array_position(CAST(:order AS text[]), b.timeframe)) AS coarseness
  FROM day CROSS JOIN LATERAL (
    SELECT * FROM market.bars_history AS history
    WHERE history.instrument_id = day.instrument_id AND timeframe NOT IN ('1w', '1mo')
      AND time >= (day."on" - 1)::timestamp AT TIME ZONE 'UTC'
      AND time < (day."on" + 2)::timestamp AT TIME ZONE 'UTC'
      AND market.trading_day(time, timeframe, zone) = day."on"
  ) AS b
),
made AS (
  INSERT INTO market.daily_bars AS d (instrument_id, "on", source, timeframe, open, high, low,
                                      close, volume, bars_count, vwap, trades_count)
  SELECT instrument_id, "on", source, timeframe,
         (array_agg(open ORDER BY time))[1], max(high), min(low),
         (array_agg(close ORDER BY time DESC))[1], sum(volume), count(*),
         {_KNOWN}
  FROM part WHERE coarseness = 1
  GROUP BY instrument_id, "on", source, timeframe
  ON CONFLICT (instrument_id, "on", source) DO UPDATE
  SET timeframe = excluded.timeframe, open = excluded.open, high = excluded.high,
      low = excluded.low, close = excluded.close, volume = excluded.volume,
      bars_count = excluded.bars_count, vwap = excluded.vwap, trades_count = excluded.trades_count
  RETURNING d.instrument_id, d."on", d.source
),
gone AS (
  DELETE FROM market.daily_bars AS d USING day
  WHERE d.instrument_id = day.instrument_id AND d."on" = day."on"
    AND NOT EXISTS (SELECT FROM part WHERE part.instrument_id = d.instrument_id
                    AND part."on" = d."on" AND part.source = d.source)
)
SELECT count(*) FROM taken
"""  # noqa: S608 - a constant of ours
)

_MARK_ALL: Final = text(
    """
INSERT INTO market.stale_days (instrument_id, "on")
SELECT DISTINCT instrument_id, (time AT TIME ZONE 'UTC')::date FROM market.bars_history
WHERE timeframe NOT IN ('1w', '1mo')
  AND (CAST(:idents AS uuid[]) IS NULL OR instrument_id = ANY (CAST(:idents AS uuid[])))
UNION
SELECT instrument_id, "on" FROM market.daily_bars
WHERE CAST(:idents AS uuid[]) IS NULL OR instrument_id = ANY (CAST(:idents AS uuid[]))
ON CONFLICT DO NOTHING
"""
)
