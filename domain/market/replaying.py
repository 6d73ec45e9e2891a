"""Replays bars that are in the database as if they happened now, faster or slower."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, select, tuple_

from domain.clock import as_utc
from domain.db.bulk import any_of
from domain.db.connection import Connections
from domain.errors import InvalidData
from domain.market.models import Bar
from domain.market.repositories import InstrumentRepository
from domain.market.terms import Timeframe
from domain.realtime.quotes import Quote

_BATCH: Final = 1_000
_JOB: Final = "replaying bars"
_NOTHING: Final = timedelta(0)


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed, and how fast.

    Args:
        timeframe: Length of the bars.
        speed: Market seconds a second; 60 plays an hour of one-minute bars in a minute.
        start: First bar at or after this instant; default: the oldest.
        end: Bars before this instant; default: to the newest.
        source: One source's bars only.
        is_looping: Begin again at the end.
        longest_pause: Nights and weekends last no longer than so many seconds.

    Raises:
        InvalidData: `speed` is not above 0, or a time is naive.
    """

    timeframe: Timeframe = Timeframe.M1
    speed: float = 60.0
    start: datetime | None = None
    end: datetime | None = None
    source: str | None = None
    is_looping: bool = False
    longest_pause: float = 1.0

    def __post_init__(self) -> None:
        if not self.speed > 0:
            raise InvalidData("speed", self.speed, "be above 0")
        for name in ("start", "end"):
            if (value := getattr(self, name)) is not None:
                as_utc(value, name)


class ReplaySource:
    """A source of quotes: the closes of bars, each at the end of its bar.

    Times are those of the market then, so that no price of the past passes for one of today; of a
    day or longer it is the beginning. A quote has a last price and the bar's volume.

    Args:
        db: Where the bars are.
        replay: What is replayed.
    """

    def __init__(self, db: Connections[Any, Any], replay: Replay | None = None) -> None:
        self._db, self._replay = db, replay or Replay()

    @property
    def name(self) -> str:
        """``replay``."""
        return "replay"

    @property
    def is_finite(self) -> bool:
        """Whether it ends with the newest bar."""
        return not self._replay.is_looping

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["ReplayFeed"]:
        """Return a replay from the start."""
        yield ReplayFeed(self._db, self._replay)


class ReplayFeed:
    """One run through the bars."""

    def __init__(self, db: Connections[Any, Any], replay: Replay) -> None:
        self._db, self._replay = db, replay
        self._instruments: dict[UUID, str] = {}
        self._changed = asyncio.Event()

    async def watch(self, symbols: frozenset[str]) -> None:
        """Replay these from where the replay is."""
        async with self._db.read(system=_JOB) as unit:
            found = await unit.repository(InstrumentRepository).with_symbols(symbols)
        self._instruments = {item.id: item.symbol for item in found}
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Quote]:
        """Give a quote a bar, in the order of their times."""
        after: tuple[Any, ...] | None = None
        while True:
            self._changed.clear()
            if not self._instruments:
                await self._changed.wait()
                continue
            bars = await self._next(after)
            if not bars:
                return
            for bar in bars:
                await self._wait(bar.time - after[0] if after else _NOTHING)
                if self._changed.is_set():
                    break
                after = (bar.time, bar.instrument_id, bar.source)
                yield self._quote(bar)

    async def _next(self, after: tuple[Any, ...] | None) -> Sequence[Row[Any]]:
        replay, place = self._replay, (Bar.time, Bar.instrument_id, Bar.source)
        statement = (
            select(*place, Bar.close, Bar.volume)
            .where(Bar.instrument_id == any_of(self._instruments))
            .where(Bar.timeframe == replay.timeframe)
        )
        if replay.start is not None:
            statement = statement.where(Bar.time >= replay.start)
        if replay.end is not None:
            statement = statement.where(Bar.time < replay.end)
        if replay.source is not None:
            statement = statement.where(Bar.source == replay.source)
        if after is not None:
            # The first condition alone lets partitions be left out.
            statement = statement.where(Bar.time >= after[0], tuple_(*place) > tuple_(*after))
        async with self._db.read(system=_JOB) as unit:
            found = await unit.session.execute(statement.order_by(*place).limit(_BATCH))
            return list(found.all())

    async def _wait(self, gap: timedelta) -> None:
        seconds = gap.total_seconds() / self._replay.speed
        await asyncio.sleep(min(seconds, self._replay.longest_pause))

    def _quote(self, bar: Row[Any]) -> Quote:
        end = bar.time + (self._replay.timeframe.step or _NOTHING)
        symbol = self._instruments[bar.instrument_id]
        return Quote(symbol, end, last=bar.close, volume=bar.volume)
