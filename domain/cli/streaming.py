"""`tradekeep stream …`."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from typing import Annotated, Final

import msgspec
import typer

from domain.alerts.observing import observe_prices
from domain.cli.output import err
from domain.cli.running import command, prepared_database
from domain.clock import as_utc
from domain.database import Database
from domain.errors import ConfigurationError, InvalidData
from domain.market.models import Bar, Instrument
from domain.market.replaying import Replay, ReplaySource
from domain.market.streaming import Pace, PriceChanged, StreamingWorker
from domain.market.terms import Timeframe
from domain.realtime import Gap, Live, open_live

_REPLAY: Final = "replay"
_INSTANT: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z"]

stream_app = typer.Typer(help="Live data: quotes in, everything out.", no_args_is_help=True)


@stream_app.command("quotes")
@command
async def quotes_command(  # noqa: PLR0913 - one parameter an option
    symbols: Annotated[
        list[str] | None,
        typer.Argument(help="Which; of a replay all that have bars when none is named."),
    ] = None,
    *,
    source: Annotated[str, typer.Option(help="Where quotes come from: replay.")] = _REPLAY,
    speed: Annotated[float, typer.Option(help="Market seconds a second.")] = 60.0,
    timeframe: Annotated[Timeframe, typer.Option(help="Bars to replay.")] = Timeframe.D1,
    start: Annotated[
        datetime | None, typer.Option("--from", formats=_INSTANT, help="First bar, UTC.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    ticks: Annotated[bool, typer.Option("--ticks", help="Store ticks too.")] = False,
) -> None:
    """Publish quotes and store the newest prices until it is stopped; tells alerts of prices."""
    if source != _REPLAY:
        raise InvalidData("--source", source, f"be {_REPLAY}: others are given to StreamingWorker")
    first = None if start is None else as_utc(start.astimezone() if start.tzinfo else _utc(start))
    replay = Replay(timeframe=timeframe, speed=speed, start=first, is_looping=loop)
    async with prepared_database() as db, _opened(db) as live:
        pace = Pace(keep_ticks=ticks)
        telling = [_telling_alerts(db)]
        worker = StreamingWorker(db, live, ReplaySource(db, replay), pace=pace, on_prices=telling)
        await worker.add_symbols(symbols or await _with_bars(db, timeframe))
        err.print(f"streaming {len(worker.symbols)} symbols; Ctrl-C ends it")
        await _until_stopped(worker.run, worker.stop)
        _report(worker)


@stream_app.command("tail")
@command
async def tail_command(
    channels: Annotated[
        list[str],
        typer.Argument(help="quotes:SYMBOL, events:TOPIC (to everybody) or staff:TOPIC (all)."),
    ],
    *,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="End after so many messages.")
    ] = None,
) -> None:
    """Print what is published, a JSON object a line, until it is stopped."""
    async with Database() as db, _opened(db) as live:
        names = {_channel(live, name): name for name in channels}
        async with await live.hub.subscribe(*names) as subscription:
            err.print(f"listening to {len(names)} channels; Ctrl-C ends it")

            async def follow() -> None:
                left = count
                async for item in subscription:
                    if isinstance(item, Gap):
                        _write({"gap": sorted(names[name] for name in item.channels)})
                        continue
                    _write({"channel": names[item.channel], "data": msgspec.Raw(item.data)})
                    left = None if left is None else left - 1
                    if left == 0:
                        return

            await _until_stopped(follow, subscription.end)


def _opened(db: Database) -> AbstractAsyncContextManager[Live]:
    if db.redis_address is None or db.redis_address.is_memory:
        raise ConfigurationError("live data needs a Redis or Valkey server: set REDIS_URL")
    return open_live(db.settings, address=db.redis_address)


def _channel(live: Live, name: str) -> str:
    kind, _, rest = name.partition(":")
    makers: dict[str, Callable[[str], str]] = {
        "quotes": live.keys.quotes,
        "events": live.keys.events,
        "staff": live.keys.staff_events,
    }
    if kind not in makers or not rest:
        raise InvalidData("channel", name, "be quotes:SYMBOL, events:TOPIC or staff:TOPIC")
    return makers[kind](rest)


def _utc(start: datetime) -> datetime:
    """Return a day of the command line, which names no zone, in UTC."""
    return datetime.fromisoformat(f"{start.isoformat()}+00:00")


async def _with_bars(db: Database, timeframe: Timeframe) -> Sequence[str]:
    async with db.read(system="command line") as unit:
        has_bars = Bar.__table__.select().where(
            Bar.instrument_id == Instrument.id, Bar.timeframe == timeframe
        )
        found = await unit.instruments.all(unit.instruments.query(has_bars.exists()))
    if not found:
        raise InvalidData("--timeframe", str(timeframe), "be one that there are bars of")
    return [item.symbol for item in found]


def _telling_alerts(db: Database) -> Callable[[Sequence[PriceChanged]], Awaitable[None]]:
    async def tell(changes: Sequence[PriceChanged]) -> None:
        async with db.transaction(system="prices for alerts") as unit:
            await observe_prices(unit, [change.instrument_id for change in changes])

    return tell


async def _until_stopped(run: Callable[[], Awaitable[None]], stop: Callable[[], None]) -> None:
    """Run; on SIGINT or SIGTERM ask it to stop, and wait until it did."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not possible outside of the main thread; it is cancelled then like anything else.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
    await run()


def _write(message: object) -> None:
    sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
    sys.stdout.flush()


def _report(worker: StreamingWorker) -> None:
    tally = worker.tally
    err.print(
        f"{tally.received} quotes received, {tally.published} published, {tally.persisted} stored, "
        f"{tally.conflated} replaced by newer ones, {tally.refused.total()} refused"
    )
