"""Takes bars and ticks in, by the thousand, inside the caller's unit of work.

Partitions are made on the way; days whose bars changed are marked for `domain.market.rolling_up`;
ticks move the latest price. What arrives twice is stored once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, text

from domain.clock import as_utc
from domain.db.repository import Repository
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.market.models import Bar, LatestPrice, StaleDay, Tick
from domain.market.terms import Timeframe

Row = Mapping[str, Any]
Mode = Literal["append", "upsert"]
"""``append`` refuses rows that are there already and is the fastest; ``upsert`` overwrites them."""

_BAR_KEY: Final = ("instrument_id", "timeframe", "time", "source")
_TICK_KEY: Final = ("instrument_id", "time", "sequence", "source")
_LONGER_THAN_A_DAY: Final = frozenset({Timeframe.W1, Timeframe.MO1})


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the rows.

    Args:
        inserted: Rows that were new.
        updated: Rows that were there and were overwritten.
    """

    inserted: int
    updated: int


async def ingest_bars(unit: UnitOfWork, rows: Sequence[Row], *, mode: Mode = "upsert") -> Ingested:
    """Store bars and mark their days for the daily roll-up.

    Args:
        unit: A unit of staff or of a trusted job.
        rows: Attributes of `domain.market.models.Bar`, the same ones in every row; of several
            rows with one key the last counts in ``upsert``.
        mode: See `Mode`.

    Returns:
        How many rows were inserted and updated.

    Raises:
        AlreadyExists: ``append`` met a bar that is there already; nothing was stored.
        InvalidData: A value is not exact, a time is naive, or rows have unlike attributes.
        CheckFailed: A bar contradicts itself, say a low above its high.
        ReferenceViolation: No such instrument.
    """
    done = await _store(unit[Bar], rows, _BAR_KEY, mode)
    days = {
        (row["instrument_id"], _utc_day(row["time"]))
        for row in rows
        if row["timeframe"] not in _LONGER_THAN_A_DAY
    }
    await mark_days(unit, days)
    return done


async def ingest_ticks(unit: UnitOfWork, rows: Sequence[Row], *, mode: Mode = "append") -> Ingested:
    """Store ticks and move the latest prices of their instruments forward, never back.

    Args:
        unit: A unit of staff or of a trusted job.
        rows: Attributes of `domain.market.models.Tick`, the same ones in every row.
        mode: See `Mode`.

    Returns:
        How many rows were inserted and updated.

    Raises:
        AlreadyExists: ``append`` met a tick that is there already; nothing was stored.
        InvalidData: An instrument is unknown, a value is not exact, a time is naive.
    """
    await _check_instruments(unit, {row["instrument_id"] for row in rows})
    full = rows if not rows or "sequence" in rows[0] else [{**row, "sequence": 0} for row in rows]
    done = await _store(unit[Tick], full, _TICK_KEY, mode)
    await advance_latest_prices(unit, _newest(full))
    return done


async def advance_latest_prices(unit: UnitOfWork, rows: Iterable[Row]) -> int:
    """Store the newest known prices; an older price than the stored one changes nothing.

    Args:
        unit: A unit of staff or of a trusted job.
        rows: ``instrument_id, price, time, source``, and ``bid, ask, mark`` where known; at most
            one an instrument.

    Returns:
        How many prices moved.
    """
    # In one order everywhere: two batches in different orders would wait for each other.
    ordered = sorted(rows, key=lambda row: row["instrument_id"])
    columns = ("price", "time", "source", "bid", "ask", "mark")
    full = [
        {"instrument_id": row["instrument_id"], **{name: row.get(name) for name in columns}}
        for row in ordered
    ]
    done = await unit[LatestPrice].upsert_many(
        full, key=["instrument_id"], update=columns, newer="time"
    )
    return done.inserted + done.updated


async def mark_days(unit: UnitOfWork, days: Iterable[tuple[UUID, date]]) -> int:
    """Mark days for the next roll-up; for bars that were written past `ingest_bars`.

    Args:
        unit: A unit of staff or of a trusted job.
        days: (instrument, UTC day of the changed bars).

    Returns:
        How many days were marked.
    """
    rows = [{"instrument_id": instrument, "on": day} for instrument, day in sorted(set(days))]
    done = await unit[StaleDay].upsert_many(rows, key=["instrument_id", "on"], update=["on"])
    return done.inserted + done.updated


async def _store(
    repository: Repository[Any], rows: Sequence[Row], key: Sequence[str], mode: Mode
) -> Ingested:
    if not rows:
        return Ingested(0, 0)
    if missing := [name for name in key if name not in rows[0]]:
        raise InvalidData("rows[0]", sorted(rows[0]), f"have {', '.join(missing)}")
    if mode == "append":
        return Ingested(await repository.copy_in(rows), 0)
    values = [name for name in rows[0] if name not in key]
    done = await repository.upsert_many(rows, key=key, update=values)
    return Ingested(done.inserted, done.updated)


def _newest(rows: Sequence[Row]) -> Iterable[Row]:
    newest: dict[UUID, Row] = {}
    for row in rows:
        known = newest.get(row["instrument_id"])
        if known is None or (row["time"], row["sequence"]) >= (known["time"], known["sequence"]):
            newest[row["instrument_id"]] = row
    return newest.values()


def _utc_day(time: datetime) -> date:
    return time.date() if time.tzinfo is UTC else as_utc(time).date()


async def _check_instruments(unit: UnitOfWork, idents: Iterable[UUID]) -> None:
    unknown = (await unit.session.execute(_UNKNOWN, {"idents": [*idents]})).scalars().first()
    if unknown is not None:
        raise InvalidData("instrument_id", str(unknown), "be the id of an instrument")


_UNKNOWN: Final = text(
    "SELECT unnest(:idents) EXCEPT SELECT id FROM market.instruments WHERE id = ANY (:idents)"
).bindparams(bindparam("idents", type_=ARRAY(Uuid())))
