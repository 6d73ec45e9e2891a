"""Insert one, insert ten thousand, upsert ten thousand."""

import itertools
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from benchmarks.ground import Ground, PeerMovements, PeerRates, movement
from benchmarks.interleaving import Case
from domain.clock import new_id
from domain.market.models import FxRate
from domain.trading.models import CashMovement

_KEYS = itertools.count()
_BULK = 10_000
_BULK_ROUNDS = 4
_PEER_BATCH = 500
_TURNS = 4 * (_BULK_ROUNDS + 1)
_RATE_COLUMNS = ["base_currency", "quote_currency", "on", "source", "rate"]


def cases(ground: Ground) -> list[Case]:
    """Return the writing cases."""
    return [_insert(ground), _bulk(ground), _upsert(ground)]


def _insert(ground: Ground) -> Case:
    names = list(movement(ground, "x"))
    marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    sql = f"INSERT INTO trading.cash_movements ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our names

    async def raw() -> Any:
        async with ground.raw.acquire() as connection, connection.transaction():
            await connection.execute(sql, *movement(ground, f"raw{next(_KEYS)}").values())

    async def ours() -> Any:
        async with ground.db.transaction(user=ground.user.id) as unit:
            unit.cash_movements.add(CashMovement(**movement(ground, f"o{next(_KEYS)}")))

    async def plain() -> Any:
        async with ground.plain() as session, session.begin():
            session.add(CashMovement(**movement(ground, f"p{next(_KEYS)}")))

    async def peer() -> Any:
        async with ground.plain() as session:
            row = CashMovement(**movement(ground, f"a{next(_KEYS)}"))
            await PeerMovements(session=session).add(row, auto_commit=True)

    contestants = {
        "asyncpg": raw,
        "tradekeep": ours,
        "sqlalchemy": plain,
        "advanced-alchemy": peer,
    }
    return Case("insert 1 and commit", "asyncpg", contestants, rounds=20, repeats=20)


def _bulk(ground: Ground) -> Case:
    # Made before the clock starts, one batch a turn: making rows is no part of inserting them.
    waiting = iter([[movement(ground, str(new_id())) for _ in range(_BULK)] for _ in range(_TURNS)])

    def rows() -> list[dict[str, Any]]:
        return next(waiting)

    names = list(movement(ground, "x"))

    async def copy() -> Any:
        records = [tuple(row.values()) for row in rows()]
        async with ground.raw.acquire() as connection:
            await connection.copy_records_to_table(
                "cash_movements", schema_name="trading", columns=names, records=records
            )

    async def ours() -> Any:
        async with ground.db.transaction(system="bench") as unit:
            await unit.cash_movements.insert_many(rows())

    async def plain() -> Any:
        async with ground.plain() as session, session.begin():
            session.add_all(CashMovement(**row) for row in rows())

    async def peer() -> Any:
        async with ground.plain() as session, session.begin():
            made = [CashMovement(**row) for row in rows()]
            await PeerMovements(session=session).add_many(made)

    contestants = {"COPY": copy, "tradekeep": ours, "sqlalchemy": plain, "advanced-alchemy": peer}
    return Case("insert 10,000", "COPY", contestants, rounds=_BULK_ROUNDS, target=3)


def _upsert(ground: Ground) -> Case:
    start = date(1990, 1, 1)
    rows: list[dict[str, Any]] = [
        {
            "base_currency": "EUR",
            "quote_currency": "USD",
            "on": start + timedelta(days=number),
            "source": "bench",
            "rate": Decimal(number + 1) / 1000,
        }
        for number in range(_BULK)
    ]
    columns = [[row[name] for row in rows] for name in _RATE_COLUMNS]
    sql = (
        'INSERT INTO market.fx_rates (base_currency, quote_currency, "on", source, rate)'
        " SELECT * FROM unnest($1::text[], $2::text[], $3::date[], $4::text[], $5::numeric[])"
        ' ON CONFLICT (base_currency, quote_currency, "on", source)'
        " DO UPDATE SET rate = excluded.rate"
    )
    key = _RATE_COLUMNS[:4]

    async def raw() -> Any:
        async with ground.raw.acquire() as connection, connection.transaction():
            await connection.execute(sql, *columns)

    async def ours() -> Any:
        async with ground.db.transaction(system="bench") as unit:
            return await unit.fx_rates.upsert_many(rows, key=key, update=["rate"])

    async def peer() -> Any:
        async with ground.plain() as session, session.begin():
            repository = PeerRates(session=session)
            # It puts every key into one IN list: 10,000 of them exceed the server's stack.
            for start in range(0, _BULK, _PEER_BATCH):
                made = [FxRate(**row) for row in rows[start : start + _PEER_BATCH]]
                await repository.upsert_many(made, match_fields=key, no_merge=True)

    async def plain() -> Any:
        async with ground.plain() as session, session.begin():
            await session.execute(
                text(
                    'INSERT INTO market.fx_rates (base_currency, quote_currency, "on", source,'
                    " rate) VALUES (:base_currency, :quote_currency, :on, :source, :rate)"
                    ' ON CONFLICT (base_currency, quote_currency, "on", source)'
                    " DO UPDATE SET rate = excluded.rate"
                ),
                rows,
            )

    contestants = {"asyncpg": raw, "tradekeep": ours, "sqlalchemy": plain, "advanced-alchemy": peer}
    return Case("upsert 10,000", "asyncpg", contestants, rounds=4, target=1.5)
