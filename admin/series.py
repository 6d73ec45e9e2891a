"""What charts draw, as JSON: bars with the trades in them, equity, profit and drawdown.

Amounts are texts with every digit; the chart makes pixels of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Date, Text, exists, func, literal, select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.office import GET, Office
from admin.pages import root_of
from admin.signing_in import staff_of
from domain.database import Reader
from domain.errors import InvalidData, NotFound
from domain.market.models import Bar, Instrument
from domain.market.splits import Splits, scaled, splits_of
from domain.market.terms import Timeframe
from domain.money import plain
from domain.trading.curve import CurvePoint, curve
from domain.trading.models import Trade, TradeStatus
from domain.trading.terms import TradeKind

_MOST_BARS: Final = 1_000
_MOST_TRADES: Final = 1_000


class Series:
    """The addresses that charts read.

    Args:
        office: The database.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/charts/equity/{pk}", self.equity, methods=GET),
            Route("/charts/bars/{pk}", self.bars, methods=GET),
        ]

    async def equity(self, request: Request) -> Response:
        """Return the curve of a portfolio, oldest first."""
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            portfolio = await unit.portfolios.get(uuid_of(request))
            points = await curve(unit, portfolio.id)
        lines = [_point(point) for point in points]
        return JSONResponse({"currency": portfolio.base_currency, "points": lines})

    async def bars(self, request: Request) -> Response:
        """Return a thousand bars of an instrument before an instant, and the trades in them.

        The query may hold ``timeframe``, ``before`` (seconds since 1970), ``portfolio`` and
        ``prices``: ``adjusted`` for splits, as is usual, or ``traded``.

        Raises:
            InvalidData: One of them is none.
        """
        query = request.query_params
        before = _instant(query.get("before", ""))
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            instrument = await unit.instruments.find(uuid_of(request))
            if instrument is None:
                raise NotFound("instrument was not found")
            charted = await charted_by(unit, instrument)
            offered = await timeframes_of(unit, charted)
            timeframe = _timeframe(query.get("timeframe", ""), offered)
            splits = await splits_of(unit, charted)
            is_as_traded = _is_as_traded(query.get("prices", ""))
            found = await _bars(unit, _Course(charted, timeframe, instrument.time_zone, before))
            bars = [_drawn(bar, Splits() if is_as_traded else splits) for bar in found]
            portfolio = query.get("portfolio", "")
            trades = await _trades(unit, instrument, bars, portfolio) if bars else []
        root = root_of(request)
        body = {
            "currency": instrument.quote_currency,
            "timeframe": timeframe,
            "timeframes": offered,
            "prices": "traded" if is_as_traded else "adjusted",
            "has_splits": bool(splits),
            "bars": bars,
            "trades": [_mark(trade, root) for trade in trades],
            "is_all": len(bars) < _MOST_BARS,
        }
        return JSONResponse(body)


async def charted_by(unit: Reader, instrument: Instrument) -> UUID:
    """Return whose bars show the course of `instrument`: its own, else its underlying's."""
    has_own = await unit.session.scalar(select(exists().where(Bar.instrument_id == instrument.id)))
    return instrument.id if has_own or not instrument.underlying_id else instrument.underlying_id


async def timeframes_of(unit: Reader, instrument_id: UUID) -> list[str]:
    """Return the lengths of the bars that an instrument has, shortest first."""
    words = literal([str(item) for item in Timeframe], ARRAY(Text()))
    known = func.unnest(words).table_valued("timeframe", with_ordinality="place").render_derived()
    has_some = exists().where(
        Bar.instrument_id == instrument_id, Bar.timeframe == known.c.timeframe
    )
    statement = select(known.c.timeframe).where(has_some).order_by(known.c.place)
    return list(await unit.session.scalars(statement))


def _timeframe(wanted: str, offered: Sequence[str]) -> str:
    if not wanted:
        return str(Timeframe.D1) if Timeframe.D1 in offered else next(iter(offered), "")
    if wanted not in set(Timeframe):
        raise InvalidData("timeframe", wanted, f"be one of {', '.join(Timeframe)}")
    return wanted


def _instant(seconds: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(seconds), UTC) if seconds else None
    except (ValueError, OverflowError, OSError):
        raise InvalidData("before", seconds, "be seconds since 1970") from None


def _is_as_traded(prices: str) -> bool:
    if prices not in {"", "adjusted", "traded"}:
        raise InvalidData("prices", prices, "be adjusted or traded")
    return prices == "traded"


@dataclass(frozen=True, slots=True)
class _Course:
    """Which bars are drawn.

    Args:
        instrument_id: Whose.
        timeframe: How long each is.
        zone: The time zone of its trading day; None: UTC.
        before: Only those that begin before this instant; None: the newest.
    """

    instrument_id: UUID
    timeframe: str
    zone: str | None
    before: datetime | None


async def _bars(unit: Reader, course: _Course) -> Sequence[Any]:
    """Return the trading day, the time and the values of the newest bars, oldest first."""
    day = func.market.trading_day(Bar.time, Bar.timeframe, course.zone, type_=Date())
    values = (Bar.open, Bar.high, Bar.low, Bar.close, Bar.volume)
    statement = select(day, Bar.time, *values).where(
        Bar.instrument_id == course.instrument_id, Bar.timeframe == course.timeframe
    )
    if course.before is not None:
        statement = statement.where(Bar.time < course.before)
    newest = statement.order_by(Bar.time.desc(), Bar.source).limit(_MOST_BARS)
    found: dict[datetime, Any] = {}
    for row in await unit.session.execute(newest):
        # A bar that two sources have is drawn once.
        found.setdefault(row.time, row)
    return list(reversed(found.values()))


def _drawn(bar: Sequence[Any], splits: Splits) -> list[Any]:
    """Return a bar as the chart reads it, in units of today as far as `splits` says."""
    day, at, *prices, volume = bar
    factor = splits.after(day)
    in_units = [*(scaled(price, 1 / factor) for price in prices), scaled(volume, factor)]
    return [_seconds(at), *(plain(value) for value in in_units)]


async def _trades(
    unit: Reader, instrument: Instrument, bars: Sequence[Sequence[Any]], portfolio: str
) -> Sequence[Trade]:
    begin = datetime.fromtimestamp(bars[0][0], UTC)
    counted = unit.trades.query(
        Trade.instrument_id == instrument.id,
        Trade.executed_at >= begin,
        Trade.status == TradeStatus.BOOKED,
        Trade.kind != TradeKind.BUST,
    )
    if portfolio:
        counted = counted.where(Trade.portfolio_id == _portfolio(portfolio))
    return await unit.trades.all(counted.order_by(Trade.executed_at.desc()).limit(_MOST_TRADES))


def _portfolio(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidData("portfolio", text, "be a portfolio's id") from None


def _point(point: CurvePoint) -> list[Any]:
    fall = None if point.drawdown is None else plain(point.drawdown * 100)
    amounts = (point.equity, point.contributed, point.profit)
    return [_seconds(point.at), *(plain(amount) for amount in amounts), fall]


def _mark(trade: Trade, root: str) -> dict[str, Any]:
    return {
        "time": _seconds(trade.executed_at),
        "side": None if trade.side is None else str(trade.side),
        "quantity": plain(trade.quantity),
        "price": plain(trade.price),
        "link": f"{root}/trades/details/{trade.id}",
    }


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
