"""What the market schema has beside its tables: the trading day of a bar, and all bars at once."""

from domain.db.objects import Function, Grant, View, declare
from domain.db.orm import Base
from domain.db.roles import ACTING, READONLY

TRADING_DAY = Function(
    schema="market",
    name="trading_day",
    arguments='"time" timestamptz, timeframe text, zone text',
    returns="date",
    language="sql",
    # Sources date a daily bar by midnight UTC or by midnight of the exchange: both mean that day.
    body="""
SELECT CASE
  WHEN timeframe IN ('1d', '1w', '1mo') AND "time" = date_trunc('day', "time", 'UTC')
  THEN ("time" AT TIME ZONE 'UTC')::date
  ELSE ("time" AT TIME ZONE coalesce(zone, 'UTC'))::date
END
""",
    options="IMMUTABLE PARALLEL SAFE",
)

BARS_HISTORY = View(
    schema="market",
    name="bars_history",
    comment="All bars: those in market.bars and those that retention moved to the archive",
    definition="""
SELECT instrument_id, timeframe, time, source, open, high, low, close, volume, vwap, trades_count
  FROM market.bars
 UNION ALL
SELECT instrument_id, timeframe, time, source, open, high, low, close, volume, vwap, trades_count
  FROM market.bars_archive
""",
)

declare(Base.metadata, TRADING_DAY, BARS_HISTORY)
for _role in (*ACTING, READONLY):
    declare(
        Base.metadata,
        Grant("EXECUTE", "FUNCTION market.trading_day(timestamptz, text, text)", _role),
        Grant("SELECT", "TABLE market.bars_history", _role),
    )
