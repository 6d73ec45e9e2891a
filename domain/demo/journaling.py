"""The demo's journal: entries about real cycles of the demo's portfolios.

Trades and profit are the ledger's; plans, ratings and words are invented, and say so.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from sqlalchemy import func
from sqlalchemy.orm import joinedload

from domain.database import Worker
from domain.identity.models import User
from domain.journal.models import JournalEntry, Setup
from domain.journal.recording import link_trades, record_entry, tag_entry
from domain.journal.terms import Direction, EntryKind, TagCategory, TradeRole
from domain.market.models import Instrument
from domain.market.terms import InstrumentKind
from domain.money import exact
from domain.trading.models import Portfolio, Position, PositionStatus

_SETUPS: Final = (
    (
        "50-day crossover",
        "Long above the 50-day average, short below it; a band of 2 % keeps it from trading daily.",
        ["Is the close outside the band?", "Is the size the usual one?"],
    ),
    (
        "Premium selling",
        "Sell options on liquid underlyings, take what time brings, close what goes wrong.",
        ["Is the loss known?", "Is there an event before expiration?"],
    ),
)
_INVENTED: Final = (
    "Invented for the demo: the trades are real rows of the ledger, the words are not."
)
_STOP: Final = Decimal("0.05")
_OPTION_STOP: Final = Decimal("0.5")
_CENT: Final = Decimal("0.01")
_MANY: Final = 12


async def load_journal(unit: Worker, user: User) -> None:
    """Write entries about the largest closed cycles of two portfolios, and a review."""
    trend, premium = [
        unit.setups.add(Setup(user_id=user.id, name=name, rules=rules, checklist=checklist))
        for name, rules, checklist in _SETUPS
    ]
    await unit.flush()
    for portfolio_name, setup in (("Trend", trend), ("Tastytrade", premium)):
        for position in await _largest(unit, user, portfolio_name):
            await _write(unit, position, setup)
    last = await unit.journal_entries.first(
        unit.journal_entries.query().order_by(JournalEntry.exit_on.desc(), JournalEntry.id)
    )
    if last is not None and last.exit_on is not None:
        review = JournalEntry(
            user_id=user.id,
            entry_on=last.exit_on,
            kind=EntryKind.REVIEW,
            title="Review of the crossover",
            notes="Few large winners pay for many small losers. " + _INVENTED,
            lessons="Do not shrink the size after a row of losses: the next trend pays for them.",
        )
        await record_entry(unit, review, tags=["review"])


async def _largest(unit: Worker, user: User, portfolio: str) -> Sequence[Position]:
    closed = unit.positions.query(
        Position.user_id == user.id,
        Position.status == PositionStatus.CLOSED,
        Position.portfolio.has(Portfolio.name == portfolio),
    )
    ordered = closed.order_by(func.abs(Position.realized_pnl).desc(), Position.id)
    return await unit.positions.all(ordered.options(joinedload(Position.instrument)).limit(_MANY))


async def _write(unit: Worker, position: Position, setup: Setup) -> None:
    entry = _entry(position, setup)
    await record_entry(unit, entry)
    legs = {position.opening_trade_id: TradeRole.ENTRY, position.last_trade_id: TradeRole.EXIT}
    trades = await unit.trades.many(key for key in legs if key is not None)
    for key, trade in trades.items():
        await link_trades(unit, entry, [trade], role=legs[key])
    outcome = "winner" if (entry.pnl or 0) > 0 else "loser"
    await tag_entry(unit, entry, [outcome], category=TagCategory.OUTCOME)
    if position.opened_at.date() == (position.closed_at or position.opened_at).date():
        await tag_entry(unit, entry, ["day trade"])


def _entry(position: Position, setup: Setup) -> JournalEntry:
    instrument, closed_at = position.instrument, position.closed_at
    is_long = position.side == "long"
    entry_price = _entry_price(position)
    part = _OPTION_STOP if instrument.kind is InstrumentKind.OPTION else _STOP
    distance = (abs(entry_price) * part).quantize(_CENT)
    stop = entry_price - distance if is_long else entry_price + distance
    risk = distance * position.peak_quantity * position.multiplier
    return JournalEntry(
        user_id=position.user_id,
        entry_on=position.opened_at.date(),
        title=f"{position.side.capitalize()} {instrument}",
        portfolio_id=position.portfolio_id,
        instrument_id=instrument.underlying_id or instrument.id,
        position_id=position.id,
        setup_id=setup.id,
        strategy=_strategy(instrument, is_long=is_long),
        direction=Direction.LONG if is_long else Direction.SHORT,
        entry_at=position.opened_at,
        entry_price=entry_price,
        exit_on=closed_at.date() if closed_at else None,
        exit_at=closed_at,
        exit_price=position.exit_price,
        planned_entry=entry_price,
        planned_stop=stop if distance else None,
        initial_risk=risk or None,
        followed_plan=True,
        thesis=f"{setup.name}. {_INVENTED}",
    )


def _entry_price(position: Position) -> Decimal:
    """Return what a closed cycle was entered at on average, to the cent."""
    with exact():
        cost = position.closed_value - position.realized_gross_pnl
        return (cost / (position.closed_quantity * position.multiplier)).quantize(_CENT)


def _strategy(instrument: Instrument, *, is_long: bool) -> str:
    direction = "long" if is_long else "short"
    if instrument.kind is InstrumentKind.OPTION and instrument.option_type is not None:
        return f"{direction} {instrument.option_type}"
    return f"{direction} trend"
