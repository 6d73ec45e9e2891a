"""What the pages of instruments and positions begin with: quote, range, holders, figures."""

from collections.abc import Mapping
from datetime import UTC, date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import exists, func, select
from sqlalchemy.orm import joinedload

from admin.rendering import Cell, show
from admin.series import charted_by
from admin.translating import marked
from domain.database import Reader
from domain.market.models import Bar, DailyBar, Instrument, LatestPrice
from domain.market.splits import Splits, scaled, splits_of
from domain.money import exact
from domain.trading.models import Position, PositionStatus

_MOST_POSITIONS: Final = 20
_YEAR: Final = timedelta(days=365)


async def read_instrument_board(unit: Reader, instrument: Instrument) -> Mapping[str, Any]:
    """Return what an instrument trades at, the year's range and its open positions."""
    prices = unit.latest_prices
    quote = await prices.first(prices.query(LatestPrice.instrument_id == instrument.id))
    board: dict[str, Any] = {"quote": quote, "change": None, "since": "", "range": ()}
    board["has_bars"] = await has_bars(unit, instrument)
    board["positions"] = await _positions(unit, instrument)
    return board if quote is None else {**board, **await _compared(unit, instrument, quote)}


async def read_position_board(unit: Reader, position: Position) -> Mapping[str, Any]:
    """Return the figures of a position and whether the course of its instrument is known."""
    is_open = position.status == PositionStatus.OPEN
    price = (marked("Price"), position.current_price, "price")
    exit_price = (marked("Exit"), position.exit_price, "exit_price")
    figures = [
        (marked("Quantity"), position.quantity if is_open else position.peak_quantity, "quantity"),
        (marked("Entry"), position.entry_price, "entry_price"),
        price if is_open else exit_price,
        (marked("Value"), position.market_value, "market_value"),
        (marked("Unrealized"), position.unrealized_pnl, "unrealized_pnl"),
        (marked("Realized"), position.realized_pnl, "realized_pnl"),
    ]
    known = [figure for figure in figures if figure[1] is not None]
    return {"figures": known, "has_bars": await has_bars(unit, position.instrument)}


async def has_bars(unit: Reader, instrument: Instrument) -> bool:
    """Return whether the course of `instrument`, or of its underlying, can be drawn."""
    charted = await charted_by(unit, instrument)
    found = await unit.session.scalar(select(exists().where(Bar.instrument_id == charted)))
    return bool(found)


async def _positions(unit: Reader, instrument: Instrument) -> Any:
    positions = unit.positions
    mine = positions.query(
        Position.instrument_id == instrument.id, Position.status == PositionStatus.OPEN
    )
    shown = mine.options(joinedload(Position.portfolio)).order_by(Position.opened_at.desc())
    return await positions.all(shown.limit(_MOST_POSITIONS))


async def _compared(unit: Reader, instrument: Instrument, quote: LatestPrice) -> Mapping[str, Any]:
    """Return the change since the last close before the quote's day, and the year's range."""
    day = quote.time.astimezone(UTC).date()
    splits = await splits_of(unit, instrument.id)
    before = (
        select(DailyBar.on, DailyBar.close)
        .where(DailyBar.instrument_id == instrument.id, DailyBar.on < day)
        .order_by(DailyBar.on.desc())
        .limit(1)
    )
    closed = (await unit.session.execute(before)).first()
    found: dict[str, Any] = {"range": await _year(unit, instrument, splits, day)}
    if closed is None:
        return found
    close = scaled(closed.close, splits.after(day) / splits.after(closed.on))
    return {**found, "change": _change(quote.price, close), "since": closed.on}


async def _year(unit: Reader, instrument: Instrument, splits: Splits, day: date) -> Any:
    """Return the lowest and the highest price of the year that ends with `day`, in its units."""
    begin, end = day - _YEAR + timedelta(days=1), day + timedelta(days=1)
    cuts = sorted({item.ex_on for item in splits.items if begin < item.ex_on < end})
    lows, highs = [], []
    for first, following in pairwise([begin, *cuts, end]):
        extremes = select(func.min(DailyBar.low), func.max(DailyBar.high)).where(
            DailyBar.instrument_id == instrument.id,
            DailyBar.on >= first,
            DailyBar.on < following,
        )
        low, high = (await unit.session.execute(extremes)).one()
        if low is not None:
            factor = splits.after(day) / splits.after(first)
            lows.append(scaled(low, factor))
            highs.append(scaled(high, factor))
    if not lows:
        return ()
    return ((marked("52-week low"), min(lows)), (marked("52-week high"), max(highs)))


def _change(price: Decimal, close: Decimal) -> Cell | None:
    if not close:
        return None
    with exact():
        return show((price / close - 1) * 100, "return_pct")
