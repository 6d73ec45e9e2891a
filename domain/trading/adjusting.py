"""Corporate actions meet positions: registering one rescales or converts everything it touches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text

from domain.clock import now
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.market.models import CorporateAction, Instrument
from domain.market.terms import CorporateActionKind
from domain.money import exact, quantized
from domain.trading.booking import Desk
from domain.trading.keys import BookKey
from domain.trading.ledger import Ledger
from domain.trading.models import Portfolio, Trade, TradeStatus
from domain.trading.recording import NewTrade, record_trades
from domain.trading.streams import RESCALING, Stream, spin_off_link, terms_of
from domain.trading.terms import Side, TradeKind

SOURCE: Final = "corporate_action"

_CONVERTING: Final = frozenset(
    {
        CorporateActionKind.MERGER_STOCK,
        CorporateActionKind.SYMBOL_CHANGE,
        CorporateActionKind.SPIN_OFF,
    }
)
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


@dataclass(frozen=True, slots=True)
class _Held:
    key: BookKey
    quantity: Decimal


async def register_action(unit: UnitOfWork, action: CorporateAction) -> int:
    """Store a corporate action and bring every position it touches up to date, all tenants.

    Splits and stock dividends rescale lots. Mergers, symbol changes and spin-offs book a
    conversion into each holding portfolio: basis, fees and acquisition dates move, nothing is
    realized. Other kinds (cash dividends, delistings) are stored as data.

    Args:
        unit: A staff or system transaction.
        action: Not stored yet; in effect already.

    Returns:
        How many position keys changed.

    Raises:
        InvalidData: It takes effect in the future: register it on the day.
        AlreadyExists: It is registered.
    """
    if action.effective_at > now():
        raise InvalidData("effective_at", action.effective_at.isoformat(), "not lie in the future")
    # Bookings hold this lock shared: none of them can slip between the action and its effect.
    await unit.session.execute(_LOCK, {"name": f"instrument|{action.instrument_id}"})
    unit[CorporateAction].add(action)
    await unit.flush()
    if action.kind not in RESCALING | _CONVERTING:
        return 0
    count = 0
    for portfolio, keys in (await _keys(unit, action.instrument_id)).items():
        if action.kind in RESCALING:
            await Desk(unit, portfolio).rebuild(keys)
            count += len(keys)
        else:
            count += await _convert(unit, portfolio, keys, action)
    return count


async def _keys(unit: UnitOfWork, instrument_id: UUID) -> dict[Portfolio, set[BookKey]]:
    statement = (
        select(Trade.portfolio_id, Trade.instrument_id, Trade.strategy, Trade.position_ref)
        .where(Trade.instrument_id == instrument_id, Trade.status == TradeStatus.BOOKED)
        .distinct()
    )
    found: dict[UUID, set[BookKey]] = {}
    for row in await unit.session.execute(statement):
        key = BookKey(*row)
        found.setdefault(key.portfolio_id, set()).add(key)
    portfolios = await unit[Portfolio].many(found)
    return {portfolios[ident]: keys for ident, keys in sorted(found.items())}


async def _convert(
    unit: UnitOfWork, portfolio: Portfolio, keys: set[BookKey], action: CorporateAction
) -> int:
    instrument = await unit[Instrument].get(action.instrument_id)
    target = await unit[Instrument].get(action.target_id)
    held = await _held(unit, portfolio, keys, instrument, action)
    trades = [leg for item in held for leg in _legs(item, instrument, target, action)]
    await record_trades(unit, portfolio, trades)
    return len(held)


async def _held(  # noqa: PLR0917 - everything a replay needs
    unit: UnitOfWork,
    portfolio: Portfolio,
    keys: set[BookKey],
    instrument: Instrument,
    action: CorporateAction,
) -> list[_Held]:
    desk = Desk(unit, portfolio)
    await desk.lock(keys)
    trades = await desk.facts(keys)
    stream = Stream(
        portfolio, trades, await _actions(unit, instrument), {instrument.id: instrument}
    )
    return list(_open_before(action, stream, keys, terms_of(portfolio, instrument)))


async def _actions(unit: UnitOfWork, instrument: Instrument) -> Sequence[CorporateAction]:
    actions = unit[CorporateAction]
    return await actions.all(actions.query(CorporateAction.instrument_id == instrument.id))


def _open_before(
    action: CorporateAction,
    stream: Stream,
    keys: Iterable[BookKey],
    terms: Any,
) -> Iterable[_Held]:
    ledger = Ledger({key.book: terms for key in keys})
    ledger.replay(event for event in stream.events() if event.order[0] < action.effective_at)
    for key in sorted(keys, key=lambda item: item.book):
        book = ledger.books.get(key.book)
        if book is not None and book.cycle is not None and book.cycle.quantity:
            yield _Held(key, book.cycle.quantity)


def _legs(
    held: _Held, instrument: Instrument, target: Instrument, action: CorporateAction
) -> Iterable[NewTrade]:
    is_long = held.quantity > 0
    is_spin_off = action.kind is CorporateActionKind.SPIN_OFF
    with exact():
        ratio = Decimal(action.numerator or 1) / Decimal(action.denominator or 1)
        arriving = quantized(abs(held.quantity) * ratio)
    shared: dict[str, Any] = {
        "price": Decimal(0),
        "gross_amount": Decimal(0),
        "executed_at": action.effective_at,
        "source": SOURCE,
        "strategy": held.key.strategy,
        "position_ref": held.key.position_ref,
        "description": f"{action.kind} {instrument.symbol} to {target.symbol}",
    }
    name = f"{action.id}:{held.key.strategy or ''}:{held.key.position_ref or ''}"
    link = spin_off_link(action, held.key) if is_spin_off else f"{action.kind}:{name}"
    if not is_spin_off:
        yield NewTrade(
            instrument=instrument,
            kind=TradeKind.CONVERSION_OUT,
            side=Side.SELL if is_long else Side.BUY,
            quantity=abs(held.quantity),
            dedupe_key=f"{name}:out",
            link_key=link,
            **shared,
        )
    yield NewTrade(
        instrument=target,
        kind=TradeKind.CONVERSION_IN,
        side=Side.BUY if is_long else Side.SELL,
        quantity=arriving,
        dedupe_key=f"{name}:in",
        link_key=link,
        **shared,
    )
