"""Brings a Tetra database over: bars, economic data, news and events, streamed in batches.

Reads another PostgreSQL database and writes ours; both stay usable meanwhile. A row that breaks
one of our rules is left out and reported, the others are stored. Running it again overwrites what
it stored and adds what is new, so a run that was interrupted is simply started again.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.clock import as_utc
from domain.database import Database, Worker
from domain.db.engine import parse_url, write_engine
from domain.db.orm import Base
from domain.errors import InvalidData
from domain.market.ingesting import mark_days
from domain.market.models import Instrument
from domain.market.terms import InstrumentKind, Timeframe
from domain.money import checked

Row: TypeAlias = Mapping[str, Any]
Values: TypeAlias = dict[str, Any]

BATCH: Final = 5_000
"""Rows a transaction."""

_EXAMPLES: Final = 20
_TIMEFRAME: Final = re.compile(r"(\d{1,2}) ?(s|m|h|d|w|mo)(?:ec|in|our|ay|eek|nth|ond|ute)*s?")
_WORD: Final = re.compile(r"[^a-z0-9_.:-]+")
_COUNTRY: Final = re.compile(r"[A-Z]{2,3}")
_CURRENCY: Final = re.compile(r"[A-Z0-9]{2,12}")
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was left out.

    Args:
        key: What names it: symbol and time, address, or id.
        field: The column.
        value: What stood there, shortened.
        rule: What it must be.
    """

    key: str
    field: str
    value: str
    rule: str


@dataclass(slots=True)
class Migrated:
    """What became of one table.

    Args:
        table: Tetra's name of it.
        is_there: Whether the source has it, and we have a table for it.
        read: Rows that were read.
        inserted: Rows that were new.
        updated: Rows that were there and were overwritten.
        rejected: Rows that were left out.
        examples: The first of them.
    """

    table: str
    is_there: bool = True
    read: int = 0
    inserted: int = 0
    updated: int = 0
    rejected: int = 0
    examples: list[Rejected] = field(default_factory=list)


class Directory:
    """Instruments by Tetra's symbols; what is missing is made.

    Args:
        kinds: What symbols are; the others are stocks.
    """

    def __init__(self, kinds: Mapping[str, InstrumentKind]) -> None:
        self._kinds = kinds
        self._known: dict[str, UUID] = {}

    async def learn(self, unit: Worker, symbols: set[str]) -> None:
        """Find or make the instruments of `symbols`.

        Raises:
            InvalidData: A symbol means several instruments.
        """
        for symbol in sorted(symbols - self._known.keys()):
            found = await unit.instruments.by_symbol(symbol)
            if len(found) > 1:
                raise InvalidData("symbol", symbol, "mean one instrument; give its kind")
            instrument = found[0] if found else await self._make(unit, symbol)
            self._known[symbol] = instrument.id

    async def _make(self, unit: Worker, symbol: str) -> Instrument:
        kind = self._kinds.get(symbol, InstrumentKind.STOCK)
        made = unit.instruments.add(Instrument(symbol=symbol, kind=kind, quote_currency="USD"))
        await unit.flush()
        return made

    def of(self, symbol: str) -> UUID:
        """Return the id of a symbol that was learnt."""
        return self._known[symbol]


@dataclass(frozen=True, slots=True)
class Transfer:
    """How one table of Tetra becomes rows of ours.

    Args:
        source: Its name there.
        columns: What is read, in an order that its index serves.
        order: The columns to read by.
        target: Our table.
        key: Attributes that make a row the same one.
        make: Turns a row into ours; raises `InvalidData` for one that breaks a rule.
        before: Writes what rows refer to, such as series.
    """

    source: str
    columns: str
    order: str
    target: str
    key: tuple[str, ...]
    make: Callable[[Row, Directory], Values]
    before: Callable[[Worker, Sequence[Values]], Awaitable[None]] | None = None

    @property
    def statement(self) -> str:
        """The SELECT."""
        return f"SELECT {self.columns} FROM {self.source} ORDER BY {self.order}"  # noqa: S608 - our own words


async def import_tetra(
    db: Database, source: str, *, kinds: Mapping[str, InstrumentKind] | None = None
) -> list[Migrated]:
    """Copy a Tetra database into ours.

    Args:
        db: Ours, migrated.
        source: URL of the Tetra database; a role that may only read is enough.
        kinds: What symbols are, by symbol; symbols that we do not know and that are not named
            here become stocks in US dollars.

    Returns:
        One report a table.

    Raises:
        InvalidData: A symbol means several of our instruments.
        Unavailable: One of the databases cannot be reached.
    """
    directory = Directory(kinds or {})
    async with _reading(db, source) as connection:
        return [await _copy(db, connection, transfer, directory) for transfer in TRANSFERS]


@asynccontextmanager
async def _reading(db: Database, source: str) -> AsyncIterator[AsyncConnection]:
    engine = write_engine(parse_url(source), db.settings)
    try:
        async with engine.connect() as connection:
            # One state of all tables, whatever Tetra's pipeline writes meanwhile.
            yield await connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
    finally:
        await engine.dispose()


async def _copy(
    db: Database, connection: AsyncConnection, transfer: Transfer, directory: Directory
) -> Migrated:
    report = Migrated(transfer.source)
    exists = await connection.scalar(text("SELECT to_regclass(:name)"), {"name": transfer.source})
    if exists is None or _model(transfer.target) is None:
        report.is_there = False
        return report
    stream = await connection.stream(
        text(transfer.statement), execution_options={"yield_per": BATCH}
    )
    async for mappings in stream.mappings().partitions(BATCH):
        rows = [dict(mapping) for mapping in mappings]
        async with db.transaction(system="migration from Tetra") as unit:
            await _store(unit, transfer, rows, directory=directory, report=report)
    return report


async def _store(
    unit: Worker,
    transfer: Transfer,
    rows: Sequence[Row],
    *,
    directory: Directory,
    report: Migrated,
) -> None:
    report.read += len(rows)
    await directory.learn(unit, {row["symbol"] for row in rows if _is_listed(transfer, row)})
    values = []
    for row in rows:
        try:
            values.append(transfer.make(row, directory))
        except InvalidData as error:
            _reject(report, transfer, row, error)
    if not values:
        return
    if transfer.before is not None:
        await transfer.before(unit, values)
    model = _model(transfer.target)
    assert model is not None  # noqa: S101 - asked before the first row
    update = [name for name in values[0] if name not in transfer.key]
    done = await unit[model].upsert_many(values, key=transfer.key, update=update)
    report.inserted += done.inserted
    report.updated += done.updated


def _is_listed(transfer: Transfer, row: Row) -> bool:
    """Return whether the row's symbol is one of the market, not of a series or of nothing."""
    return transfer.target != _RELEASES and bool(row.get("symbol"))


def _reject(report: Migrated, transfer: Transfer, row: Row, error: InvalidData) -> None:
    report.rejected += 1
    if len(report.examples) < _EXAMPLES:
        key = " ".join(str(row[name.strip()]) for name in transfer.order.split(","))
        report.examples.append(Rejected(key, error.field, str(error.value)[:80], error.rule))


def _model(table: str) -> type[Base] | None:
    """Return the model of a table, or None where this installation has no such area."""
    for mapper in Base.registry.mappers:
        if mapper.local_table is not None and str(mapper.local_table) == table:
            return mapper.class_
    return None


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


def bar_of(row: Row, directory: Directory) -> Values:
    """Return a row of ``market_data.ohlcv`` as a bar.

    Raises:
        InvalidData: A price is NaN or the bar contradicts itself, both of which Tetra's checks let
            pass (NaN is above zero there), or the timeframe is unknown.
    """
    prices = {name: checked(row[name], name) for name in ("open", "high", "low", "close")}
    if prices["high"] < max(prices.values()) or prices["low"] > min(prices.values()):
        raise InvalidData("high", str(prices["high"]), "be the highest, and low the lowest price")
    return {
        "instrument_id": directory.of(row["symbol"]),
        "timeframe": timeframe_of(row["timeframe"]),
        "time": as_utc(row["timestamp"], "timestamp"),
        "source": _word(row["source"]),
        **prices,
        "volume": checked(Decimal(row["volume"]), "volume"),
        "vwap": _optional(row, "vwap"),
        "trades_count": row["trades_count"],
    }


def timeframe_of(name: str) -> Timeframe:
    """Return our timeframe for the ways in which providers write it.

    Raises:
        InvalidData: It is none of ours.

    Example:
        >>> [str(timeframe_of(name)) for name in ("1d", "5Min", "1 hour", "1M", "1Day")]
        ['1d', '5m', '1h', '1mo', '1d']
    """
    # Where upper and lower case differ, M is a month.
    found = _TIMEFRAME.fullmatch("1mo" if name == "1M" else name.strip().lower())
    word = found[1] + found[2] if found else name
    if word not in set(Timeframe):
        raise InvalidData("timeframe", name, f"be one of {', '.join(Timeframe)}")
    return Timeframe(word)


def release_of(row: Row, directory: Directory) -> Values:
    """Return a row of ``economic_data.economic_data`` as a release.

    Tetra keeps one value a day and overwrites it; the vintage is the day of that value.
    """
    del directory
    known_at: datetime = row["revision_date"] or row["created_at"] or row["date"]
    revised_at = row["revision_date"]
    return {
        "symbol": row["symbol"],
        "observed_on": as_utc(row["date"], "date").date(),
        "vintage_on": as_utc(known_at, "revision_date").date(),
        "value": checked(row["value"], "value"),
        "is_preliminary": bool(row["is_preliminary"]),
        "revised_at": None if revised_at is None else as_utc(revised_at, "revision_date"),
        "source": _word(row["source"]),
    }


def article_of(row: Row, directory: Directory) -> Values:
    """Return a row of ``news.news_articles`` as an article."""
    del directory
    words = f"{row['title']} {row['content'] or row['description'] or ''}"
    return {
        "title": row["title"],
        "description": row["description"],
        "content": row["content"],
        "url": row["url"].partition("#")[0],
        "source": row["source"],
        "author": row["author"],
        "published_at": as_utc(row["published_at"], "published_at"),
        "content_hash": sha256(" ".join(words.lower().split()).encode()).digest(),
    }


def event_of(row: Row, directory: Directory) -> Values:
    """Return a row of ``events.event_data`` as a calendar event.

    Raises:
        InvalidData: A code is no code, a number no number, or the name too long.
    """
    name = row["event_name"].strip()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise InvalidData("event_name", name, f"be 1 to {_LONGEST_NAME} characters")
    return {
        "event_type": _word(row["event_type"]),
        "name": name,
        "occurs_at": as_utc(row["event_datetime"], "event_datetime"),
        "source": _word(row["source"]),
        # Tetra's own id makes the same event the same row on the next run.
        "external_id": str(row["id"]),
        "description": row["description"],
        "impact": row["impact_level"],
        "instrument_id": directory.of(row["symbol"]) if row["symbol"] else None,
        "currency": _code(row, "currency", _CURRENCY),
        "country": _code(row, "country", _COUNTRY),
        **{name: _optional(row, name) for name in ("actual", "forecast", "previous")},
    }


def _optional(row: Row, name: str) -> Decimal | None:
    return None if row[name] is None else checked(row[name], name)


def _code(row: Row, name: str, pattern: re.Pattern[str]) -> str | None:
    code = (row[name] or "").strip().upper()
    if code and not pattern.fullmatch(code):
        raise InvalidData(name, row[name], "be a code of capital letters")
    return code or None


def _word(name: str) -> str:
    return _WORD.sub("_", name.strip().lower()).strip("_.:-")[:64] or "tetra"


async def _mark_days(unit: Worker, bars: Sequence[Values]) -> None:
    """Let the daily roll-up, which replaces Tetra's aggregate, take the new bars in."""
    await mark_days(unit, ((bar["instrument_id"], bar["time"].date()) for bar in bars))


async def _make_series(unit: Worker, releases: Sequence[Values]) -> None:
    model = _model(_SERIES)
    assert model is not None  # noqa: S101 - of the same area as the releases
    series = {row["symbol"]: row["source"] for row in releases}
    rows = [{"symbol": symbol, "source": source} for symbol, source in sorted(series.items())]
    await unit[model].upsert_many(rows, key=["symbol"], update=[])


_SERIES: Final = "news.economic_series"
_RELEASES: Final = "news.economic_releases"

TRANSFERS: Final = (
    Transfer(
        source="market_data.ohlcv",
        columns="symbol, timestamp, open, high, low, close, volume, vwap, trades_count,"
        " timeframe, source",
        order="symbol, timestamp",
        target="market.bars",
        key=("instrument_id", "timeframe", "time", "source"),
        make=bar_of,
        before=_mark_days,
    ),
    Transfer(
        source="economic_data.economic_data",
        columns="symbol, date, value, is_preliminary, revision_date, source, created_at",
        order="symbol, date",
        target=_RELEASES,
        key=("symbol", "observed_on", "vintage_on"),
        make=release_of,
        before=_make_series,
    ),
    Transfer(
        source="news.news_articles",
        columns="title, description, content, url, source, author, published_at",
        order="url",
        target="news.articles",
        key=("url",),
        make=article_of,
    ),
    Transfer(
        source="events.event_data",
        columns="id, event_type, event_datetime, event_name, description, impact_level, symbol,"
        " currency, country, actual, forecast, previous, source",
        order="id",
        target="news.calendar_events",
        key=("source", "external_id"),
        make=event_of,
    ),
)
"""The four tables of Tetra; its daily aggregate is computed from bars."""
