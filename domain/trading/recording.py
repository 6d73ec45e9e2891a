"""Books trades: one at a time or thousands, each exactly once, in one transaction.

The order of steps is what makes it exact under concurrency. The key is locked before anything
about it is read, because READ COMMITTED shows each statement the newest commits: what we read
under the lock is what the last booking left. Under REPEATABLE READ the snapshot would be older
than the lock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

from typing_extensions import Unpack

from domain.clock import as_utc, new_id
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.market.models import Instrument
from domain.market.repositories import FxRateRepository
from domain.money import checked, exact, quantized
from domain.trading.announcing import announce
from domain.trading.booking import Desk, identity_of
from domain.trading.keys import BookKey, checked_part
from domain.trading.models import LotClosure, Portfolio, Position, Trade
from domain.trading.terms import PositionEffect, PositionMode, Side, TradeKind

_ZERO = Decimal(0)
_LONGEST_KEY = 200


class TradeDetails(TypedDict, total=False):
    """What may be said about a trade beyond portfolio and instrument; see `NewTrade`."""

    side: Side | None
    quantity: Decimal
    price: Decimal
    executed_at: datetime
    fees: Decimal
    commission: Decimal
    fee_currency: str | None
    fee_rate: Decimal | None
    gross_amount: Decimal | None
    kind: TradeKind
    sequence: int
    external_id: str | None
    dedupe_key: str | None
    source: str
    strategy: str | None
    position_ref: str | None
    position_effect: PositionEffect | None
    link_key: str | None
    lot_selection: tuple[str, ...]
    order_type: str | None
    leverage: Decimal | None
    confidence: Decimal | None
    description: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrade:
    """One execution to book.

    Args:
        instrument: What was traded.
        side: Direction; None only for an expiration, which closes whatever is open.
        quantity: Units or contracts, positive.
        price: Quote currency a unit of the underlying; may be zero or negative.
        executed_at: When the venue filled it, aware.
        fees: Exchange and regulatory fees in `fee_currency`; negative is a rebate.
        commission: The broker's commission in `fee_currency`; negative is a rebate.
        fee_currency: Default: the instrument's profit currency.
        fee_rate: Profit currency for one unit of fee currency; needed when they differ.
        gross_amount: The broker's value of the quantity, signed like the price; wins over
            price * quantity * multiplier.
        kind: What made the trade happen.
        sequence: Order among trades of the same instant.
        external_id: The broker's id; the default dedupe key.
        dedupe_key: What makes it the same trade when it is sent again; default: `external_id`,
            else a new id, so that every call books.
        source: Broker or program, a lower-case word.
        strategy: Part of the position key.
        position_ref: Part of the position key when the portfolio hedges.
        position_effect: What the broker says it does.
        link_key: Shared by the trades of one event.
        lot_selection: Lots to close, for the specific method.
        order_type: market, limit, stop, …
        leverage: Leverage chosen.
        confidence: Confidence of an agent, 0 to 1.
        description: Free text.
        import_batch_id: The import that brought it.
        raw: The source's row.
        corrects_trade_id: The trade that this one replaces.
    """

    instrument: Instrument
    side: Side | None
    quantity: Decimal
    price: Decimal
    executed_at: datetime
    fees: Decimal = _ZERO
    commission: Decimal = _ZERO
    fee_currency: str | None = None
    fee_rate: Decimal | None = None
    gross_amount: Decimal | None = None
    kind: TradeKind = TradeKind.FILL
    sequence: int = 0
    external_id: str | None = None
    dedupe_key: str | None = None
    source: str = "manual"
    strategy: str | None = None
    position_ref: str | None = None
    position_effect: PositionEffect | None = None
    link_key: str | None = None
    lot_selection: tuple[str, ...] = ()
    order_type: str | None = None
    leverage: Decimal | None = None
    confidence: Decimal | None = None
    description: str | None = None
    import_batch_id: UUID | None = None
    raw: Mapping[str, object] | None = None
    corrects_trade_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Booked:
    """What booking one trade did.

    Args:
        trade: The stored trade; for a duplicate the one that was booked first.
        position: The newest cycle of its key; None when nothing was ever open.
        closures: The pieces of lots that this trade closed.
        is_duplicate: True when the trade was booked before: nothing changed.
    """

    trade: Trade
    position: Position | None
    closures: Sequence[LotClosure]
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class BookedBatch:
    """What booking a batch did: the new trades, and how many were booked before."""

    trades: Sequence[Trade]
    duplicates: int


async def record_trade(
    unit: UnitOfWork, portfolio: Portfolio, instrument: Instrument, **details: Unpack[TradeDetails]
) -> Booked:
    """Book one trade: position, lots, closures, cash and event in the unit's transaction.

    Args:
        unit: An open READ COMMITTED transaction.
        portfolio: Where to book.
        instrument: What was traded.
        **details: See `NewTrade`.

    Raises:
        InvalidData: A value breaks a rule; the error names field, value and rule.
        ConflictingTrade: The dedupe key was booked before with other economics.
        LockTimeout: Somebody held the position key for too long.

    Example:
        booked = await record_trade(unit, portfolio, instrument, side=Side.BUY,
            quantity=Decimal(10), price=Decimal("187.30"), executed_at=when, external_id="ib-123")
    """
    new = NewTrade(instrument=instrument, **_required(details))
    desk = Desk(unit, portfolio)
    row = await RowMaker(unit, portfolio).row(new)
    outcome = await desk.book([row], {instrument.id: instrument})
    outcome.require_no_conflict()
    trade = outcome.trades[identity_of(row)]
    key = BookKey.of(trade)
    if trade.id not in outcome.new_ids:
        return Booked(trade, await desk.position(key), (), is_duplicate=True)
    await announce(unit, portfolio, [trade])
    closures = [item for item in outcome.closures if item.closing_trade_id == trade.id]
    return Booked(trade, outcome.positions.get(key), closures, is_duplicate=False)


async def record_trades(
    unit: UnitOfWork, portfolio: Portfolio, trades: Iterable[NewTrade]
) -> BookedBatch:
    """Book many trades, all or none; duplicates are counted and change nothing.

    Args:
        unit: An open READ COMMITTED transaction.
        portfolio: Where to book.
        trades: In any order.

    Raises:
        InvalidData: As `record_trade`.
        ConflictingTrade: As `record_trade`.
    """
    new = list(trades)
    maker = RowMaker(unit, portfolio)
    rows = [await maker.row(item) for item in new]
    instruments = {item.instrument.id: item.instrument for item in new}
    outcome = await Desk(unit, portfolio).book(rows, instruments)
    outcome.require_no_conflict()
    fresh = [trade for trade in outcome.trades.values() if trade.id in outcome.new_ids]
    await announce(unit, portfolio, fresh)
    return BookedBatch(trades=fresh, duplicates=len(rows) - len(fresh))


def _required(details: TradeDetails) -> TradeDetails:
    for field in ("quantity", "price", "executed_at"):
        if field not in details:
            raise InvalidData(field, None, "be given")
    details.setdefault("side", None)
    return details


class RowMaker:
    """Turns new trades into checked column values for one portfolio.

    Args:
        unit: Where exchange rates are looked up, once a currency and day.
        portfolio: Where the trades will be booked.
    """

    def __init__(self, unit: UnitOfWork, portfolio: Portfolio) -> None:
        self._rates = unit.repository(FxRateRepository)
        self._portfolio = portfolio
        self._known: dict[tuple[str, date], Decimal | None] = {}

    async def row(self, new: NewTrade) -> dict[str, Any]:
        """Return the column values of `new`, every one of them checked.

        Raises:
            InvalidData: A value breaks a rule.
        """
        executed_at = as_utc(new.executed_at, "executed_at")
        row = _columns(self._portfolio, new)
        row["dedupe_key"] = _dedupe_key(new)
        row["executed_at"] = executed_at
        row["fx_rate_to_base"] = await self._rate(row["currency"], executed_at.date())
        return row

    async def _rate(self, currency: str, day: date) -> Decimal | None:
        base = self._portfolio.base_currency
        if currency == base:
            return None
        if (currency, day) not in self._known:
            rate = await self._rates.on_or_before(currency, base, day)
            self._known[(currency, day)] = None if rate is None else quantized(rate)
        return self._known[(currency, day)]


def _columns(portfolio: Portfolio, new: NewTrade) -> dict[str, Any]:
    quantity, price = _positive("quantity", new.quantity), checked(new.price, "price")
    commission, fees = checked(new.commission, "commission"), checked(new.fees, "fees")
    currency = new.instrument.profit_currency
    _check_side(new)
    return {
        "portfolio_id": portfolio.id,
        "user_id": portfolio.user_id,
        "instrument_id": new.instrument.id,
        "import_batch_id": new.import_batch_id,
        "corrects_trade_id": new.corrects_trade_id,
        "side": new.side,
        "kind": new.kind,
        "position_effect": new.position_effect,
        "quantity": quantity,
        "price": price,
        "gross_amount": _gross_amount(new, quantity, price),
        "commission": commission,
        "fees": fees,
        "fees_settled": _fees_settled(new, commission, fees),
        "fee_currency": new.fee_currency or currency,
        "currency": currency,
        "sequence": new.sequence,
        "source": new.source,
        "external_id": new.external_id,
        "strategy": checked_part("strategy", new.strategy),
        "position_ref": _position_ref(portfolio, new.position_ref),
        "link_key": new.link_key,
        "lot_selection": list(new.lot_selection),
        "order_type": new.order_type,
        "leverage": new.leverage,
        "confidence": new.confidence,
        "description": new.description,
        "raw": None if new.raw is None else dict(new.raw),
    }


def _dedupe_key(new: NewTrade) -> str:
    key = new.dedupe_key or new.external_id or str(new_id())
    if len(key) > _LONGEST_KEY or "\x00" in key:
        field = "dedupe_key" if new.dedupe_key else "external_id"
        raise InvalidData(field, key, f"be at most {_LONGEST_KEY} characters without NUL")
    return key


def _positive(field: str, value: Decimal) -> Decimal:
    number = checked(value, field)
    if number <= 0:
        raise InvalidData(field, str(value), "be positive; the side gives the direction")
    return number


def _check_side(new: NewTrade) -> None:
    if new.side is None and new.kind is not TradeKind.EXPIRATION:
        raise InvalidData("side", None, "be buy or sell")
    if new.side is not None and new.side not in set(Side):
        raise InvalidData("side", new.side, "be buy or sell")
    if new.kind is TradeKind.BUST:
        raise InvalidData("kind", new.kind, "be booked with bust_trade")


def _gross_amount(new: NewTrade, quantity: Decimal, price: Decimal) -> Decimal:
    if new.gross_amount is not None:
        return checked(new.gross_amount, "gross_amount")
    with exact():
        size = quantity * new.instrument.multiplier
        if not new.instrument.is_inverse:
            return checked(quantized(size * price), "gross_amount")
        if price <= 0:
            raise InvalidData("price", str(price), "be positive for an inverse contract")
        return checked(quantized(-size / price), "gross_amount")


def _fees_settled(new: NewTrade, commission: Decimal, fees: Decimal) -> Decimal:
    with exact():
        total = commission + fees
        if new.fee_currency in {None, new.instrument.profit_currency} or not total:
            return total
        if new.fee_rate is None:
            raise InvalidData("fee_rate", None, f"be given when fees are in {new.fee_currency}")
        return quantized(total * _positive("fee_rate", new.fee_rate))


def _position_ref(portfolio: Portfolio, reference: str | None) -> str | None:
    if reference is not None and portfolio.position_mode is PositionMode.NETTING:
        raise InvalidData("position_ref", reference, "be absent in a netting portfolio")
    return checked_part("position_ref", reference)
