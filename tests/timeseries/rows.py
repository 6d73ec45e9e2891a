"""Bars and ticks to write, and what a test reads back."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain import Database
from domain.market.terms import Timeframe
from tests.factories.market import make_instrument

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def bar(instrument: UUID, at: datetime, price: str = "190.25", **values: Any) -> dict[str, Any]:
    return {
        "instrument_id": instrument,
        "timeframe": Timeframe.M1,
        "time": at,
        "source": "test",
        **dict.fromkeys(("open", "high", "low", "close", "vwap"), Decimal(price)),
        "volume": Decimal(100),
        "trades_count": 3,
    } | values


def tick(instrument: UUID, time: datetime, price: str = "190.25", **values: Any) -> dict[str, Any]:
    return {
        "instrument_id": instrument,
        "time": time,
        "source": "test",
        "price": Decimal(price),
        "size": Decimal(10),
    } | values


async def stored(db: Database, sql: str, **given: Any) -> list[tuple[Any, ...]]:
    async with db.transaction(system="test") as unit:
        return [tuple(row) for row in await unit.session.execute(text(sql), given)]


async def instrument_in(db: Database, symbol: str = "AAPL") -> UUID:
    async with db.transaction(system="test") as unit:
        return (await make_instrument(unit, symbol)).id
