"""Streams quotes from a source to everybody and into the database, day and night.

A quote is published within milliseconds; what is stored is the newest of each symbol, a few times
a second, so that alerts and the admin see it. A bad quote is refused and counted, a lost source is
connected again, and a Redis or a PostgreSQL that is away costs only what newer quotes replace.
"""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from domain.db.connection import Connections
from domain.errors import InvalidData, ReferenceViolation, TradekeepError, Unavailable
from domain.market.ingesting import advance_latest_prices, ingest_ticks
from domain.market.repositories import InstrumentRepository
from domain.realtime.live import Live
from domain.realtime.quotes import Quote, checked_quote

_log: Final = logging.getLogger(__name__)
_JOB: Final = "streaming quotes"


class QuoteFeed(Protocol):
    """One connection to a source."""

    async def watch(self, symbols: frozenset[str]) -> None:
        """Send the quotes of exactly these symbols from now on."""
        ...

    def __aiter__(self) -> AsyncIterator[Quote]:
        """Give quotes until the connection ends."""
        ...


class QuoteSource(Protocol):
    """Where quotes come from: a broker, an exchange, a replay."""

    @property
    def name(self) -> str:
        """What is stored as the source of prices."""
        ...

    @property
    def is_finite(self) -> bool:
        """Whether a feed that ends has no more to say, now or later."""
        ...

    def connect(self) -> AbstractAsyncContextManager[QuoteFeed]:
        """Return a new connection; leaving it closes it."""
        ...


@dataclass(frozen=True, slots=True)
class PriceChanged:
    """A stored price is another one than before.

    Args:
        instrument_id: The instrument.
        symbol: Its symbol.
        price: The new price, quote currency a unit.
        previous: The price before; None: the first one that this worker stored.
        at: When the market said it, UTC.
    """

    instrument_id: UUID
    symbol: str
    price: Decimal
    previous: Decimal | None
    at: datetime


Listener = Callable[[Sequence[PriceChanged]], Awaitable[None]]
"""Is told after the commit. What it raises is logged and stops nothing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are done; seconds.

    Args:
        publish: Pause between two publications of what came in.
        persist: Pause between two writes of what came in.
        first_pause: Before the source is connected again; it doubles with each failure.
        longest_pause: No pause is longer.
        keep_ticks: Store each write's quotes as ticks too.
    """

    publish: float = 0.02
    persist: float = 0.5
    first_pause: float = 0.1
    longest_pause: float = 30.0
    keep_ticks: bool = False


@dataclass(slots=True)
class StreamTally:
    """What a worker has done.

    Args:
        received: Quotes that came from the source.
        refused: Refused ones, by the field that was wrong.
        late: Older than one of the symbol that was known already.
        published: Quotes that Redis was told.
        persisted: Quotes that were stored.
        conflated: Quotes that newer ones replaced before they were published.
        connections: Times that the source was connected.
        failures: Times that something had to be done again, by what failed.
    """

    received: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    late: int = 0
    published: int = 0
    persisted: int = 0
    conflated: int = 0
    connections: int = 0
    failures: Counter[str] = field(default_factory=Counter)


class StreamingWorker:
    """Streams the quotes of a set of symbols that may change at any time.

    Args:
        db: Where prices are stored.
        live: Who is told.
        source: Where quotes come from.
        pace: How often things are done.
        on_prices: Told about prices that changed, after they were stored.
    """

    def __init__(
        self,
        db: Connections[Any, Any],
        live: Live,
        source: QuoteSource,
        *,
        pace: Pace | None = None,
        on_prices: Sequence[Listener] = (),
    ) -> None:
        self.tally = StreamTally()
        self._db, self._live, self._source = db, live, source
        self._pace, self._listeners = pace or Pace(), tuple(on_prices)
        self._instruments: dict[str, UUID] = {}
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._newest: dict[str, Quote] = {}
        self._unpublished: dict[str, Quote] = {}
        self._unsaved: dict[str, Quote] = {}
        self._saved: dict[str, Decimal] = {}
        self._fresh = asyncio.Event()

    @property
    def symbols(self) -> frozenset[str]:
        """What is streamed now."""
        return frozenset(self._instruments)

    async def add_symbols(self, symbols: Iterable[str]) -> None:
        """Stream these too; the connection stays.

        Raises:
            InvalidData: One is the symbol of no instrument or of several; none is added then.
        """
        wanted = set(symbols) - self._instruments.keys()
        found = await self._resolved(wanted)
        for symbol in sorted(wanted):
            if len(found.get(symbol, ())) != 1:
                many = "one instrument, not of several" if symbol in found else "an instrument"
                raise InvalidData("symbol", symbol, f"be the symbol of {many}")
        self._instruments |= {symbol: idents[0] for symbol, idents in found.items()}
        self._changed.set()

    async def remove_symbols(self, symbols: Iterable[str]) -> None:
        """Stream these no more; the connection stays."""
        for symbol in symbols:
            self._instruments.pop(symbol, None)
            for waiting in (self._newest, self._unpublished, self._unsaved, self._saved):
                waiting.pop(symbol, None)
        self._changed.set()

    def stop(self) -> None:
        """Let `run` end after it has published and stored what came in."""
        self._stopping.set()
        self._fresh.set()

    async def run(self) -> None:
        """Stream until `stop`, or until a finite source has no more."""
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(self._receive(), name="quotes: source")
            group.create_task(self._publish(), name="quotes: publishing")
            group.create_task(self._persist(), name="quotes: storing")
            await self._stopping.wait()
            # The others end by themselves: a write that was begun is finished, not cut off.
            receiving.cancel()
        await self._publish_once()
        await self._persist_once()

    async def _resolved(self, symbols: Iterable[str]) -> Mapping[str, Sequence[UUID]]:
        found: dict[str, list[UUID]] = {}
        async with self._db.read(system=_JOB) as unit:
            for item in await unit.repository(InstrumentRepository).with_symbols(symbols):
                found.setdefault(item.symbol, []).append(item.id)
        return found

    # ── from the source ──────────────────────────────────────────────────────────────────────

    async def _receive(self) -> None:
        failures = 0
        while True:
            while not self._instruments:
                self._changed.clear()
                await self._changed.wait()
            received = self.tally.received
            try:
                async with self._source.connect() as feed:
                    self.tally.connections += 1
                    self._newest.clear()
                    await self._follow(feed)
                if self._source.is_finite:
                    self.stop()
                    return
            except Exception as error:  # noqa: BLE001 - a source is somebody else's code
                self._note("source", _cause(error))
            failures = 0 if self.tally.received > received else failures + 1
            await asyncio.sleep(self._pause_after(failures))

    async def _follow(self, feed: QuoteFeed) -> None:
        """Take the feed's quotes until it ends, and tell it which symbols are wanted."""
        self._changed.clear()
        await feed.watch(self.symbols)
        watching = asyncio.create_task(self._watch(feed), name="quotes: symbols")
        taking = asyncio.create_task(self._take(feed), name="quotes: feed")
        try:
            done, _ = await asyncio.wait((watching, taking), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            watching.cancel()
            taking.cancel()
            await asyncio.gather(watching, taking, return_exceptions=True)

    async def _watch(self, feed: QuoteFeed) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await feed.watch(self.symbols)

    async def _take(self, feed: QuoteFeed) -> None:
        async for quote in feed:
            self.accept(quote)

    def accept(self, quote: Quote) -> bool:
        """Take a quote in, or refuse and count it; return whether it is the newest of its symbol.

        `run` gives it what the source sends; a program that has quotes itself may call it too.
        """
        self.tally.received += 1
        try:
            checked = self._checked(quote)
        except InvalidData as error:
            self._refuse(error)
            return False
        known = self._newest.get(checked.symbol)
        if known is not None and checked.time < known.time:
            self.tally.late += 1
            return False
        self.tally.conflated += checked.symbol in self._unpublished
        for waiting in (self._newest, self._unpublished, self._unsaved):
            waiting[checked.symbol] = checked
        self._fresh.set()
        return True

    def _checked(self, quote: Any) -> Quote:
        if not isinstance(quote, Quote):
            raise InvalidData("quote", quote, "be a Quote")
        checked = checked_quote(quote)
        if checked.symbol not in self._instruments:
            raise InvalidData("symbol", checked.symbol, "be one of the symbols that are streamed")
        return checked

    def _refuse(self, error: InvalidData) -> None:
        self.tally.refused[error.field] += 1
        count = self.tally.refused[error.field]
        if _is_logged(count):
            _log.warning("quote refused (%d times by now): %s", count, error)

    # ── to Redis ─────────────────────────────────────────────────────────────────────────────

    async def _publish(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            await self._fresh.wait()
            self._fresh.clear()
            failures = 0 if await self._publish_once() else failures + 1
            await self._rest(self._pause_after(failures) if failures else self._pace.publish)

    async def _publish_once(self) -> bool:
        batch, self._unpublished = self._unpublished, {}
        if not batch:
            return True
        try:
            await self._live.publish_quotes([*batch.values()])
        except Unavailable as error:
            self._note("publishing", error)
            self._unpublished = batch | self._unpublished
            self._fresh.set()
            return False
        self.tally.published += len(batch)
        return True

    # ── to PostgreSQL ────────────────────────────────────────────────────────────────────────

    async def _persist(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            await self._rest(self._pause_after(failures) if failures else self._pace.persist)
            failures = 0 if await self._persist_once() else failures + 1

    async def _persist_once(self) -> bool:
        batch, self._unsaved = self._unsaved, {}
        batch = {symbol: quote for symbol, quote in batch.items() if symbol in self._instruments}
        if not batch:
            return True
        try:
            await self._store(batch)
        except (ReferenceViolation, InvalidData) as error:
            self._note("storing", error)
            await self._forget_unknown()
            return False
        except TradekeepError as error:
            self._note("storing", error)
            self._unsaved = batch | self._unsaved
            return False
        self.tally.persisted += len(batch)
        await self._announce(batch)
        return True

    async def _store(self, batch: Mapping[str, Quote]) -> None:
        rows = [
            {
                "instrument_id": self._instruments[quote.symbol],
                "time": quote.time,
                "source": self._source.name,
                "price": quote.price,
                "bid": quote.bid,
                "ask": quote.ask,
            }
            for quote in batch.values()
        ]
        async with self._db.transaction(system=_JOB) as unit:
            if self._pace.keep_ticks:
                await ingest_ticks(unit, rows, mode="upsert")
            else:
                await advance_latest_prices(unit, rows)

    async def _forget_unknown(self) -> None:
        """Stream no more what was deleted: it would keep all other prices from being stored."""
        found = await self._resolved(self._instruments)
        gone = [
            symbol
            for symbol, ident in self._instruments.items()
            if ident not in found.get(symbol, ())
        ]
        await self.remove_symbols(gone)

    async def _announce(self, batch: Mapping[str, Quote]) -> None:
        changes = [
            PriceChanged(ident, symbol, quote.price, self._saved.get(symbol), quote.time)
            for symbol, quote in batch.items()
            if (ident := self._instruments.get(symbol)) is not None
            and quote.price != self._saved.get(symbol)
        ]
        self._saved |= {change.symbol: change.price for change in changes}
        for listener in self._listeners if changes else ():
            try:
                await listener(changes)
            except Exception as error:  # noqa: BLE001 - who listens must not stop the stream
                self._note("listener", error)

    def _note(self, what: str, error: BaseException) -> None:
        self.tally.failures[what] += 1
        count = self.tally.failures[what]
        if _is_logged(count):
            name = type(error).__name__
            _log.warning("%s failed (%d times by now): %s: %s", what, count, name, error)

    def _pause_after(self, failures: int) -> float:
        doubled: float = self._pace.first_pause * 2 ** min(failures, 30)
        longest = min(doubled, self._pace.longest_pause)
        return longest * random.uniform(0.5, 1)  # noqa: S311 - no secret

    async def _rest(self, seconds: float) -> None:
        """Sleep, or less when the worker is stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _is_logged(count: int) -> bool:
    """Return True for the 1st, 2nd, 4th, 8th time: a flood fills no log."""
    return count & (count - 1) == 0


def _cause(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
