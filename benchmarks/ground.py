"""The database that everybody runs on: one server, a table of a million cash movements."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from domain import Database, Instrument, Portfolio, User
from domain.db import migrations
from domain.market.models import FxRate
from domain.market.terms import InstrumentKind
from domain.settings import Settings
from domain.trading.models import CashMovement

ROWS = 1_000_000


class PeerMovements(SQLAlchemyAsyncRepository[CashMovement]):
    """advanced-alchemy's repository over the same model."""

    model_type = CashMovement


class PeerRates(SQLAlchemyAsyncRepository[FxRate]):
    """advanced-alchemy's repository over exchange rates."""

    model_type = FxRate


@dataclass
class Ground:
    """What the cases use.

    Args:
        db: Ours.
        raw: A pool of the bare driver.
        plain: SQLAlchemy as its documentation shows it.
        user: A tenant.
        portfolio: With a million movements.
        instrument: To trade.
        known: Ids of some movements.
    """

    db: Database
    raw: asyncpg.Pool
    plain: async_sessionmaker[Any]
    engine: AsyncEngine
    user: User
    portfolio: Portfolio
    instrument: Instrument
    known: list[UUID]


async def prepare(url: str) -> tuple[Ground, Database]:
    """Migrate, fill and return the ground; the caller closes its pools."""
    await migrations.upgrade(url)
    db = Database(url, settings=Settings(statement_timeout=600, pool_size=4))
    await db.__aenter__()
    async with db.transaction(system="bench") as unit:
        user = unit.users.add(User(username="bench"))
        instrument = unit.instruments.add(
            Instrument(symbol="AAPL", kind=InstrumentKind.STOCK, quote_currency="USD")
        )
        await unit.flush()
        portfolio = unit.portfolios.add(Portfolio(user_id=user.id, name="Main"))
        await unit.flush()
        await unit.session.execute(_FILL, {"user": user.id, "portfolio": portfolio.id})
    engine = create_async_engine(url, pool_size=4)
    async with engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(
            text("VACUUM ANALYZE trading.cash_movements")
        )
    raw = await asyncpg.create_pool(_dsn(url), min_size=2, max_size=4)
    known = [
        row["id"]
        for row in await raw.fetch(
            "SELECT id FROM trading.cash_movements ORDER BY effective_at LIMIT 500"
        )
    ]
    plain = async_sessionmaker(engine, expire_on_commit=False)
    ground = Ground(db, raw, plain, engine, user, portfolio, instrument, known)
    return ground, db


def movement(ground: Ground, key: str) -> dict[str, Any]:
    """Return a new movement's columns."""
    return {
        "user_id": ground.user.id,
        "portfolio_id": ground.portfolio.id,
        "kind": "interest",
        "amount": Decimal("1.25"),
        "currency": "USD",
        "effective_at": datetime(2030, 1, 1, tzinfo=UTC),
        "source": "bench",
        "dedupe_key": key,
    }


def _dsn(url: str) -> str:
    return url.replace("postgresql+asyncpg://", "postgresql://")


_FILL = text(
    f"""
INSERT INTO trading.cash_movements
  (user_id, portfolio_id, kind, amount, currency, effective_at, source, dedupe_key, description)
SELECT :user, :portfolio, 'interest', n * 0.01, 'USD',
       timestamptz '2020-01-01' + n * interval '1 minute', 'bench', n::text, 'benchmark row'
  FROM generate_series(1, {ROWS}) AS n
"""  # noqa: S608 - a constant
)
