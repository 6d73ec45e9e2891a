"""Get by id, list a hundred, stream, and a deep page."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from benchmarks.ground import ROWS, Ground, PeerMovements
from benchmarks.interleaving import Case
from domain.trading.models import CashMovement

_COLUMNS = ", ".join(column.name for column in CashMovement.__table__.columns)
_STREAMED = 100_000


def cases(ground: Ground) -> list[Case]:
    """Return the reading cases."""
    return [_get(ground), *_lists(ground), _stream(ground), _deep(ground)]


def _get(ground: Ground) -> Case:
    ids = itertools.cycle(ground.known)
    sql = f"SELECT {_COLUMNS} FROM trading.cash_movements WHERE id = $1"  # noqa: S608 - our names
    user = ground.user.id

    async def raw() -> Any:
        async with ground.raw.acquire() as connection:
            return await connection.fetchrow(sql, next(ids))

    async def ours() -> Any:
        async with ground.db.read(user=user) as unit:
            return await unit.cash_movements.get(next(ids))

    async def plain() -> Any:
        async with ground.plain() as session:
            return await session.get(CashMovement, next(ids))

    async def peer() -> Any:
        async with ground.plain() as session:
            return await PeerMovements(session=session).get(next(ids))

    contestants = {
        "asyncpg": raw,
        "tradekeep": ours,
        "sqlalchemy": plain,
        "advanced-alchemy": peer,
    }
    return Case(
        "get by id",
        "asyncpg",
        contestants,
        rounds=30,
        target=10,
        repeats=40,
        peer_target=("sqlalchemy", 0.75),
    )


def _lists(ground: Ground) -> list[Case]:
    sql = (
        f"SELECT {_COLUMNS} FROM trading.cash_movements"  # noqa: S608 - our names
        " WHERE portfolio_id = $1 ORDER BY effective_at DESC, id DESC LIMIT 100"
    )
    mine = CashMovement.portfolio_id == ground.portfolio.id
    newest = (CashMovement.effective_at.desc(), CashMovement.id.desc())

    async def raw() -> Any:
        async with ground.raw.acquire() as connection:
            return await connection.fetch(sql, ground.portfolio.id)

    async def ours() -> Any:
        async with ground.db.read(user=ground.user.id) as unit:
            statement = unit.cash_movements.query(mine).order_by(*newest)
            return await unit.cash_movements.all(statement.limit(100))

    async def plain() -> Any:
        async with ground.plain() as session:
            statement = select(CashMovement).where(mine).order_by(*newest).limit(100)
            return (await session.scalars(statement)).all()

    async def peer() -> Any:
        async with ground.plain() as session:
            # Typed for SQLAlchemy 2.0, where a select is of a tuple.
            statement: Any = select(CashMovement).order_by(*newest).limit(100)
            return await PeerMovements(session=session).get_many(mine, statement=statement)

    contestants = {
        "asyncpg": raw,
        "tradekeep": ours,
        "sqlalchemy": plain,
        "advanced-alchemy": peer,
    }
    return [Case("list 100 entities", "asyncpg", contestants, rounds=30, target=3.5, repeats=5)]


def _stream(ground: Ground) -> Case:
    sql = f"SELECT {_COLUMNS} FROM trading.cash_movements LIMIT {_STREAMED}"  # noqa: S608 - our names

    async def raw() -> Any:
        count = 0
        async with ground.raw.acquire() as connection, connection.transaction():
            async for _ in connection.cursor(sql, prefetch=5_000):
                count += 1
        return count

    async def fetched() -> Any:
        count = 0
        async with ground.raw.acquire() as connection, connection.transaction():
            cursor = await connection.cursor(sql)
            while rows := await cursor.fetch(1_000):
                count += len(rows)
        return count

    async def ours() -> Any:
        count = 0
        async with ground.db.snapshot(system="bench") as unit:
            statement = select(*CashMovement.__table__.columns).limit(_STREAMED)
            async for batch in unit.cash_movements.rows(statement):
                count += len(batch)
        return count

    contestants = {"asyncpg": raw, "asyncpg fetch": fetched, "tradekeep": ours}
    return Case("stream 100,000 rows", "asyncpg", contestants, rounds=8, target=1.1)


def _deep(ground: Ground) -> Case:
    mine = CashMovement.portfolio_id == ground.portfolio.id
    start = datetime(2020, 1, 1, tzinfo=UTC)

    def page(after: str | None) -> Any:
        async def read() -> Any:
            async with ground.db.read(user=ground.user.id) as unit:
                ordered = unit.cash_movements.query(mine).order_by(CashMovement.effective_at)
                return await unit.cash_movements.page(ordered, limit=50, after=after)

        return read

    async def offset() -> Any:
        async with ground.plain() as session:
            statement = select(CashMovement).where(mine).order_by(CashMovement.effective_at)
            return (await session.scalars(statement.offset(ROWS // 2).limit(50))).all()

    depth = start + timedelta(minutes=ROWS // 2)
    contestants = {
        "page at 0": page(None),
        "tradekeep": page(_cursor(ground, depth)),
        "offset": offset,
    }
    return Case("page at depth 500,000", "page at 0", contestants, rounds=10, target=1.5)


def _cursor(ground: Ground, depth: datetime) -> str:
    from domain.db.page import encode_cursor, order_keys  # noqa: PLC0415 - only this case

    keys = order_keys(select(CashMovement).order_by(CashMovement.effective_at), CashMovement)

    class Row:
        effective_at = depth
        id = ground.known[0]

    return encode_cursor(keys, Row())
