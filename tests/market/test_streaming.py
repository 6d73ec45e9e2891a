"""The worker streams on, whatever its source, Redis or PostgreSQL do."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from domain import Database
from domain.alerts.observing import observe_prices
from domain.cache.embedded import EmbeddedValkey
from domain.errors import InvalidData
from domain.market.ingesting import ingest_bars
from domain.market.models import Instrument, LatestPrice
from domain.market.replaying import Replay, ReplaySource
from domain.market.streaming import Pace, PriceChanged, StreamingWorker
from domain.market.terms import Timeframe
from domain.realtime import Live, Message, Quote, open_live
from domain.realtime.quotes import decode_quote
from tests.factories.market import make_instrument
from tests.market import histories

QUICK = Pace(publish=0.001, persist=0.02, first_pause=0.005, longest_pause=0.05)
WHEN = datetime(2026, 3, 2, 15, 30, tzinfo=UTC)


@dataclass
class Exchange:
    """A source that a test speaks for; a connection ends when it is cut."""

    name: str = "exchange"
    is_finite: bool = False
    watched: list[frozenset[str]] = field(default_factory=list)
    said: "asyncio.Queue[Any]" = field(default_factory=asyncio.Queue)
    refusals: int = 0
    open: int = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["Exchange"]:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionRefusedError("the exchange is closed")
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    async def watch(self, symbols: frozenset[str]) -> None:
        self.watched.append(symbols)

    async def __aiter__(self) -> AsyncIterator[Quote]:
        while True:
            item = await self.said.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                return
            yield item

    def say(self, symbol: str, price: str | Decimal, seconds: float = 0, **values: Any) -> None:
        time = WHEN + timedelta(seconds=seconds)
        self.said.put_nowait(Quote(symbol, time, last=Decimal(price), **values))


@asynccontextmanager
async def working(worker: StreamingWorker) -> AsyncIterator[StreamingWorker]:
    """Run a worker, stop it in peace, and see that it leaves no task."""
    before = asyncio.all_tasks()
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(10):
            await running
    assert asyncio.all_tasks() == before


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def instruments(db: Database, *symbols: str) -> list[Instrument]:
    async with db.transaction(system="test") as unit:
        return [await make_instrument(unit, symbol) for symbol in symbols]


@pytest.fixture
async def live(redis_url: str, cache_prefix: str) -> AsyncIterator[Live]:
    async with open_live(url=redis_url, prefix=cache_prefix) as opened:
        yield opened


async def stored(db: Database) -> dict[str, tuple[Decimal, str, datetime]]:
    async with db.read(system="test") as unit:
        symbols = {item.id: item.symbol for item in await unit.instruments.all()}
        return {
            symbols[item.instrument_id]: (item.price, item.source, item.time)
            for item in await unit.latest_prices.all()
        }


async def test_a_quote_is_published_kept_and_stored(db: Database, live: Live) -> None:
    await instruments(db, "AAPL", "MSFT")
    exchange = Exchange()
    worker = StreamingWorker(db, live, exchange, pace=QUICK)
    await worker.add_symbols(["AAPL", "MSFT"])
    async with await live.hub.subscribe(live.keys.quotes("AAPL")) as subscription:
        async with working(worker):
            exchange.say("AAPL", "187.30", bid=Decimal("187.29"), ask=Decimal("187.31"))
            exchange.say("MSFT", "410")
            message = await anext(subscription)
            assert isinstance(message, Message)
            assert decode_quote(message.data).last == Decimal("187.30")
            assert (await live.quotes(["AAPL"]))["AAPL"].ask == Decimal("187.31")
            await until(lambda: worker.tally.persisted == 2)
    assert await stored(db) == {
        "AAPL": (Decimal("187.30"), "exchange", WHEN),
        "MSFT": (Decimal(410), "exchange", WHEN),
    }
    assert (worker.tally.published, exchange.open) == (2, 0)


async def test_symbols_come_and_go_while_it_runs_on_one_connection(
    db: Database, live: Live
) -> None:
    await instruments(db, "AAPL", "MSFT")
    exchange = Exchange()
    worker = StreamingWorker(db, live, exchange, pace=QUICK)
    async with working(worker):
        await asyncio.sleep(0.02)
        assert exchange.open == 0, "nothing is watched, nothing is connected"
        await worker.add_symbols(["AAPL"])
        await until(lambda: exchange.watched[-1:] == [frozenset({"AAPL"})])
        await worker.add_symbols(["MSFT", "AAPL"])
        await until(lambda: exchange.watched[-1] == {"AAPL", "MSFT"})
        await worker.remove_symbols(["AAPL"])
        await until(lambda: exchange.watched[-1] == {"MSFT"})
        exchange.say("AAPL", "1")
        exchange.say("MSFT", "2")
        await until(lambda: worker.tally.persisted == 1)
        assert worker.tally.connections == 1
        assert worker.tally.refused == {"symbol": 1}
    assert set(await stored(db)) == {"MSFT"}


async def test_an_unknown_symbol_or_one_of_several_markets_is_refused_and_adds_nothing(
    db: Database, live: Live
) -> None:
    async with db.transaction(system="test") as unit:
        await make_instrument(unit, "AAPL")
        for exchange in ("XNAS", "XLON"):
            await make_instrument(unit, "VOD", exchange=exchange)
    worker = StreamingWorker(db, live, Exchange())
    with pytest.raises(InvalidData, match="symbol must be the symbol of an instrument, was 'NOPE'"):
        await worker.add_symbols(["AAPL", "NOPE"])
    with pytest.raises(InvalidData, match="of one instrument, not of several, was 'VOD'"):
        await worker.add_symbols(["AAPL", "VOD"])
    assert worker.symbols == frozenset()


async def test_bad_quotes_are_refused_and_counted_and_the_stream_goes_on(
    db: Database, live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    await instruments(db, "AAPL")
    exchange = Exchange()
    worker = StreamingWorker(db, live, exchange, pace=QUICK)
    await worker.add_symbols(["AAPL"])
    bad: Sequence[Any] = [
        Quote("AAPL", WHEN.replace(tzinfo=None), last=Decimal(1)),
        Quote("AAPL", WHEN, last=187.3),  # type: ignore[arg-type]  # what a careless source sends
        Quote("AAPL", WHEN, last=Decimal("NaN")),
        Quote("AAPL", WHEN, bid=Decimal(2), ask=Decimal(1)),
        Quote("TSLA", WHEN, last=Decimal(1)),
        {"symbol": "AAPL"},
    ]
    async with working(worker):
        for quote in bad:
            exchange.said.put_nowait(quote)
        exchange.say("AAPL", "187.30")
        exchange.say("AAPL", "1", seconds=-1)
        await until(lambda: worker.tally.persisted == 1 and worker.tally.received == 8)
    assert worker.tally.refused == {"time": 1, "last": 2, "bid": 1, "symbol": 1, "quote": 1}
    assert worker.tally.late == 1
    assert (await stored(db))["AAPL"][0] == Decimal("187.30")
    assert "bid must not lie above the ask, 1, was '2'" in caplog.text


async def test_a_source_that_fails_or_hangs_up_is_connected_again(db: Database, live: Live) -> None:
    await instruments(db, "AAPL")
    exchange = Exchange(refusals=3)
    worker = StreamingWorker(db, live, exchange, pace=QUICK)
    await worker.add_symbols(["AAPL"])
    async with working(worker):
        exchange.say("AAPL", "1")
        await until(lambda: worker.tally.persisted == 1)
        exchange.said.put_nowait(OSError("the line is dead"))
        exchange.say("AAPL", "2", seconds=1)
        await until(lambda: worker.tally.persisted == 2)
        exchange.said.put_nowait(None)
        exchange.say("AAPL", "3", seconds=2)
        await until(lambda: worker.tally.persisted == 3)
        assert worker.tally.failures == {"source": 4}
        assert worker.tally.connections == 3
        assert exchange.open == 1


async def test_a_flood_is_conflated_and_the_newest_is_stored(db: Database, live: Live) -> None:
    await instruments(db, "AAPL")
    exchange, told = Exchange(), list[PriceChanged]()

    async def note(changes: Sequence[PriceChanged]) -> None:
        told.extend(changes)
        raise RuntimeError("a listener that fails")

    worker = StreamingWorker(db, live, exchange, pace=QUICK, on_prices=[note])
    await worker.add_symbols(["AAPL"])
    async with working(worker):
        for number in range(1, 5_001):
            exchange.say("AAPL", Decimal(number), seconds=number)
        await until(lambda: worker.tally.received == 5_000)
    assert (await stored(db))["AAPL"][0] == 5_000
    assert (await live.quotes(["AAPL"]))["AAPL"].last == 5_000
    tally = worker.tally
    assert tally.published + tally.conflated == 5_000
    assert tally.published < 500
    assert [change.price for change in told] == sorted({change.price for change in told})
    assert told[-1].price == 5_000
    assert all(later.previous == earlier.price for earlier, later in pairwise(told))
    assert tally.failures == {"listener": len(told)}


async def test_a_redis_that_dies_costs_only_what_newer_quotes_replace(
    db: Database, redis_server: EmbeddedValkey
) -> None:
    await instruments(db, "AAPL")
    exchange = Exchange()
    async with open_live(url=redis_server.url, prefix="t") as live:
        worker = StreamingWorker(db, live, exchange, pace=QUICK)
        await worker.add_symbols(["AAPL"])
        async with working(worker):
            exchange.say("AAPL", "1")
            await until(lambda: worker.tally.published == worker.tally.persisted == 1)
            os.kill(redis_server.pid, signal.SIGKILL)
            exchange.say("AAPL", "2", seconds=1)
            await until(lambda: worker.tally.failures["publishing"] > 0)
            await until(lambda: worker.tally.persisted == 2)
            redis_server.start()
            await until(lambda: worker.tally.published == 2)
            assert (await live.quotes(["AAPL"]))["AAPL"].last == 2


async def test_a_deleted_instrument_does_not_keep_the_others_from_being_stored(
    db: Database, live: Live
) -> None:
    _, msft = await instruments(db, "AAPL", "MSFT")
    exchange = Exchange()
    worker = StreamingWorker(db, live, exchange, pace=QUICK)
    await worker.add_symbols(["AAPL", "MSFT"])
    async with db.transaction(system="test") as unit:
        await unit.instruments.remove(await unit.instruments.get(msft.id))
    async with working(worker):
        exchange.say("MSFT", "2")
        exchange.say("AAPL", "1")
        await until(lambda: worker.symbols == {"AAPL"})
        exchange.say("AAPL", "1.5", seconds=1)
        await until(lambda: worker.tally.persisted == 1)
    assert (await stored(db))["AAPL"][0] == Decimal("1.5")


async def test_ticks_are_kept_on_demand_and_an_old_price_never_comes_back(
    db: Database, live: Live
) -> None:
    (apple,) = await instruments(db, "AAPL")
    exchange = Exchange()
    ticks = Pace(publish=0.001, persist=0.001, keep_ticks=True)
    worker = StreamingWorker(db, live, exchange, pace=ticks)
    await worker.add_symbols(["AAPL"])
    async with db.transaction(system="test") as unit:
        unit.latest_prices.add(
            LatestPrice(
                instrument_id=apple.id,
                price=Decimal(99),
                time=WHEN + timedelta(hours=1),
                source="other",
            )
        )
    async with working(worker):
        for number in range(3):
            exchange.say("AAPL", Decimal(number), seconds=number)
            await until(lambda: worker.tally.persisted == number + 1)  # noqa: B023 - at once
    async with db.read(system="test") as unit:
        kept = await unit.ticks.between(apple.id, start=WHEN, end=WHEN + timedelta(hours=1))
    assert [tick.price for tick in kept] == [0, 1, 2]
    assert (await stored(db))["AAPL"][0] == 99


async def test_real_bars_are_replayed_in_order_and_the_run_ends(db: Database, live: Live) -> None:
    (spy,) = await instruments(db, "SPY")
    bars = histories.minutes_of_spy(spy.id)
    async with db.transaction(system="test") as unit:
        await ingest_bars(unit, bars)
    source = ReplaySource(db, Replay(speed=1e9))
    async with source.connect() as feed:
        await feed.watch(frozenset({"SPY"}))
        seen = [quote async for quote in feed]
    assert [quote.last for quote in seen] == [bar["close"] for bar in bars]
    assert seen[0].time == bars[0]["time"] + timedelta(minutes=1)

    worker = StreamingWorker(db, live, source, pace=QUICK)
    await worker.add_symbols(["SPY"])
    async with asyncio.timeout(30):
        await worker.run()
    assert worker.tally.received == len(bars)
    assert (await stored(db))["SPY"] == (bars[-1]["close"], "replay", seen[-1].time)
    assert (await live.quotes(["SPY"]))["SPY"] == seen[-1]


async def test_a_replay_follows_its_symbols_and_begins_again_when_it_loops(
    db: Database, live: Live
) -> None:
    spy, google = await instruments(db, "SPY", "GOOG")
    async with db.transaction(system="test") as unit:
        for symbol, instrument in (("SPY", spy), ("GOOG", google)):
            await ingest_bars(unit, histories.daily(symbol, instrument.id)[:300])
    daily = Replay(timeframe=Timeframe.D1, speed=1e12, end=datetime(2018, 3, 1, tzinfo=UTC))
    feed_of = ReplaySource(db, daily)
    seen: list[tuple[str, datetime]] = []
    async with feed_of.connect() as feed:
        await feed.watch(frozenset({"SPY"}))
        async for quote in feed:
            seen.append((quote.symbol, quote.time))
            if len(seen) == 5:
                await feed.watch(frozenset({"GOOG"}))
    assert [symbol for symbol, _ in seen[:6]] == ["SPY"] * 5 + ["GOOG"]
    assert {symbol for symbol, _ in seen[5:]} == {"GOOG"}
    assert [time for _, time in seen] == sorted(time for _, time in seen)

    again = Replay(timeframe=Timeframe.D1, speed=1e12, end=daily.end, is_looping=True)
    worker = StreamingWorker(db, live, ReplaySource(db, again), pace=QUICK)
    await worker.add_symbols(["SPY"])
    async with working(worker):
        await until(lambda: worker.tally.connections >= 3)
    assert worker.tally.late == 0


@pytest.mark.parametrize(
    "values", [{"speed": 0}, {"speed": float("nan")}, {"start": WHEN.replace(tzinfo=None)}]
)
def test_a_replay_that_cannot_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidData):
        Replay(**values)


async def test_alerts_may_listen(db: Database, live: Live) -> None:
    """How operations connect the two: the worker knows nothing of alerts."""
    (apple,) = await instruments(db, "AAPL")
    seen: list[Any] = []

    async def evaluate(changes: Sequence[PriceChanged]) -> None:
        async with db.transaction(system="alerts") as unit:
            seen.append(await observe_prices(unit, [change.instrument_id for change in changes]))

    exchange = Exchange()
    worker = StreamingWorker(db, live, exchange, pace=QUICK, on_prices=[evaluate])
    await worker.add_symbols(["AAPL"])
    async with working(worker):
        exchange.say("AAPL", "1")
        await until(lambda: len(seen) == 1)
    assert apple.symbol == "AAPL"
    assert worker.tally.failures == {}
