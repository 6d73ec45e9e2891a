"""A database as Tetra's own documentation builds it, without TimescaleDB."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

DDL = """
CREATE SCHEMA market_data;
CREATE SCHEMA economic_data;
CREATE SCHEMA news;
CREATE SCHEMA events;
CREATE TABLE market_data.ohlcv (
    id UUID DEFAULT gen_random_uuid(),
    symbol VARCHAR(20) NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    open NUMERIC(20, 8) NOT NULL CHECK (open > 0),
    high NUMERIC(20, 8) NOT NULL CHECK (high > 0),
    low NUMERIC(20, 8) NOT NULL CHECK (low > 0),
    close NUMERIC(20, 8) NOT NULL CHECK (close > 0),
    volume BIGINT NOT NULL CHECK (volume >= 0),
    vwap NUMERIC(20, 8),
    trades_count INTEGER,
    timeframe VARCHAR(10) NOT NULL,
    source VARCHAR(50) NOT NULL,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    PRIMARY KEY (symbol, timestamp),
    CONSTRAINT chk_high_low CHECK (high >= low),
    CONSTRAINT chk_high_prices CHECK (high >= open AND high >= close),
    CONSTRAINT chk_low_prices CHECK (low <= open AND low <= close)
);
CREATE TABLE economic_data.economic_data (
    id UUID DEFAULT gen_random_uuid(),
    symbol VARCHAR(50) NOT NULL,
    date TIMESTAMPTZ NOT NULL,
    value NUMERIC(20, 8) NOT NULL,
    is_preliminary BOOLEAN DEFAULT FALSE,
    revision_date TIMESTAMPTZ,
    source VARCHAR(50) NOT NULL DEFAULT 'FRED',
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    PRIMARY KEY (symbol, date)
);
CREATE TABLE news.news_articles (
    id UUID DEFAULT gen_random_uuid() PRIMARY KEY,
    title TEXT NOT NULL,
    description TEXT,
    content TEXT,
    url TEXT UNIQUE NOT NULL,
    source VARCHAR(100),
    author VARCHAR(200),
    published_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ DEFAULT NOW()
);
CREATE TABLE events.event_data (
    id UUID DEFAULT gen_random_uuid() PRIMARY KEY,
    event_type VARCHAR(50) NOT NULL,
    event_datetime TIMESTAMPTZ NOT NULL,
    event_name VARCHAR(200) NOT NULL,
    description TEXT,
    impact_level INTEGER CHECK (impact_level BETWEEN 1 AND 4),
    symbol VARCHAR(20),
    currency VARCHAR(10),
    country VARCHAR(10),
    actual NUMERIC(20, 8),
    forecast NUMERIC(20, 8),
    previous NUMERIC(20, 8),
    source VARCHAR(50) NOT NULL,
    created_at TIMESTAMPTZ DEFAULT NOW()
)
"""


async def build(url: str, bars: Iterable[Mapping[str, Any]]) -> None:
    """Make Tetra's tables in an empty database and fill its bars."""

    async def work(connection: AsyncConnection) -> None:
        for statement in DDL.split(";"):
            await connection.execute(text(statement))
        await connection.execute(
            text(
                "INSERT INTO market_data.ohlcv (symbol, timestamp, open, high, low, close, volume,"
                " vwap, trades_count, timeframe, source) VALUES (:symbol, :timestamp, :open, :high,"
                " :low, :close, :volume, :vwap, :trades_count, :timeframe, :source)"
            ),
            list(bars),
        )

    await in_source(url, work)


async def in_source(url: str, work: Any) -> None:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await work(connection)
    finally:
        await engine.dispose()
