"""Busts and corrections: a new row says what was wrong, the key is replayed, nothing is erased."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, update
from typing_extensions import Unpack

from domain.clock import now
from domain.db.bulk import any_of
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData, NotFound
from domain.market.models import Instrument
from domain.money import exact, quantized
from domain.trading.announcing import announce
from domain.trading.booking import Desk, identity_of
from domain.trading.keys import BookKey
from domain.trading.models import (
    BatchStatus,
    CashMovement,
    CashStatus,
    ImportBatch,
    Portfolio,
    Trade,
    TradeStatus,
)
from domain.trading.recording import Booked, NewTrade, RowMaker, TradeDetails
from domain.trading.terms import TradeKind

_REASON_LENGTH: Final = 500
_CARRIED: Final = (
    "side",
    "quantity",
    "price",
    "executed_at",
    "fees",
    "commission",
    "fee_currency",
    "kind",
    "sequence",
    "external_id",
    "source",
    "strategy",
    "position_ref",
    "position_effect",
    "link_key",
    "order_type",
    "leverage",
    "confidence",
    "description",
)
_CORRECTABLE: Final = frozenset(TradeDetails.__annotations__) - {"dedupe_key", "source"}


async def correct_trade(
    unit: UnitOfWork, trade_id: UUID, **changes: Unpack[TradeDetails]
) -> Booked:
    """Replace a trade by a new row with these changes and replay its position.

    Args:
        unit: An open transaction.
        trade_id: The trade that was wrong; its row stays, marked ``corrected``.
        **changes: What is different; everything else is carried over. The broker's gross amount
            is carried over only when neither quantity nor price changes.

    Raises:
        NotFound: No such trade.
        InvalidData: It does not count any more, or a new value breaks a rule.
    """
    for field, value in changes.items():
        if field not in _CORRECTABLE:
            raise InvalidData(field, value, "be a field that a correction may change")
    trade, portfolio, desk = await _locked(unit, trade_id)
    instrument = await unit[Instrument].get(trade.instrument_id)
    details: dict[str, Any] = {name: getattr(trade, name) for name in _CARRIED}
    details["lot_selection"] = tuple(trade.lot_selection)
    if not {"quantity", "price"} & changes.keys():
        details["gross_amount"] = trade.gross_amount
    details["fee_rate"] = _fee_rate(trade)
    details |= changes
    await _mark(unit, portfolio, [trade.id], TradeStatus.CORRECTED)
    new = NewTrade(
        instrument=instrument,
        dedupe_key=f"{trade.dedupe_key}~{trade.id}",
        corrects_trade_id=trade.id,
        import_batch_id=trade.import_batch_id,
        **details,
    )
    row = await RowMaker(unit, portfolio).row(new)
    outcome = await desk.book([row], {instrument.id: instrument})
    replacement = outcome.trades[identity_of(row)]
    keys = {BookKey.of(trade), BookKey.of(replacement)}
    outcome = await desk.rebuild(keys, outcome)
    await announce(unit, portfolio, [trade, replacement])
    closures = [item for item in outcome.closures if item.closing_trade_id == replacement.id]
    position = outcome.positions.get(BookKey.of(replacement))
    return Booked(replacement, position, closures, is_duplicate=False)


async def bust_trade(unit: UnitOfWork, trade_id: UUID, *, reason: str) -> Trade:
    """Record that a trade never was, and replay its position without it.

    Args:
        unit: An open transaction.
        trade_id: The trade; its row stays, marked ``busted``.
        reason: Why, 1 to 500 characters.

    Returns:
        The new row of kind ``bust``.

    Raises:
        NotFound: No such trade.
        InvalidData: It does not count any more, or the reason is empty or too long.
    """
    if not 1 <= len(reason) <= _REASON_LENGTH:
        raise InvalidData("reason", reason, "be 1 to 500 characters")
    trade, portfolio, desk = await _locked(unit, trade_id)
    await _mark(unit, portfolio, [trade.id], TradeStatus.BUSTED)
    bust = unit[Trade].add(_bust_row(trade, reason, now()))
    await unit.flush()
    await desk.rebuild({BookKey.of(trade)})
    await announce(unit, portfolio, [trade])
    return bust


async def revert_import(unit: UnitOfWork, batch_id: UUID) -> int:
    """Take back everything one import booked; return how many trades that were.

    The file can be imported again afterwards. The rows stay, marked ``reverted``.

    Raises:
        NotFound: No such import.
        InvalidData: It was reverted before.
    """
    batch = await unit[ImportBatch].lock(batch_id)
    if batch is None:
        raise NotFound(f"import {batch_id} was not found")
    if batch.status is BatchStatus.REVERTED:
        raise InvalidData("import", str(batch_id), "not be reverted already")
    portfolio = await unit[Portfolio].get(batch.portfolio_id)
    trades = await unit[Trade].all(
        unit[Trade].query(Trade.import_batch_id == batch.id, Trade.status != TradeStatus.REVERTED)
    )
    desk = Desk(unit, portfolio)
    keys = {BookKey.of(trade) for trade in trades}
    await desk.lock(keys)
    await _mark(unit, portfolio, [trade.id for trade in trades], TradeStatus.REVERTED)
    if keys:
        await desk.rebuild(keys)
    await _revert_cash(unit, batch)
    batch.status = BatchStatus.REVERTED
    await announce(unit, portfolio, trades)
    return len(trades)


async def replay_portfolio(unit: UnitOfWork, portfolio: Portfolio) -> int:
    """Rebuild every position of `portfolio` from its facts, e.g. after a change of method.

    Returns:
        How many position keys were replayed.
    """
    statement = select(
        Trade.portfolio_id, Trade.instrument_id, Trade.strategy, Trade.position_ref
    ).where(Trade.portfolio_id == portfolio.id)
    keys = {BookKey(*row) for row in await unit.session.execute(statement.distinct())}
    await Desk(unit, portfolio).rebuild(keys)
    return len(keys)


def _fee_rate(trade: Trade) -> Decimal | None:
    """Return the rate at which the trade's fees were settled, when they were in other money."""
    with exact():
        total = trade.commission + trade.fees
        if trade.fee_currency == trade.currency or not total:
            return None
        return quantized(trade.fees_settled / total)


async def _locked(unit: UnitOfWork, trade_id: UUID) -> tuple[Trade, Portfolio, Desk]:
    trade = await unit[Trade].get(trade_id)
    portfolio = await unit[Portfolio].get(trade.portfolio_id)
    desk = Desk(unit, portfolio)
    await desk.lock({BookKey.of(trade)})
    await unit.session.refresh(trade, ["status"])
    if trade.status is not TradeStatus.BOOKED or trade.kind is TradeKind.BUST:
        raise InvalidData("trade", str(trade_id), f"still count; it is {trade.status}")
    return trade, portfolio, desk


async def _mark(
    unit: UnitOfWork, portfolio: Portfolio, ids: Sequence[UUID], status: TradeStatus
) -> None:
    # The owner and the portfolio tell caches whose answers these rows are part of.
    own = (Trade.user_id == portfolio.user_id, Trade.portfolio_id == portfolio.id)
    await unit.session.execute(
        update(Trade).where(*own, Trade.id == any_of(ids)).values(status=status),
        execution_options={"synchronize_session": "fetch"},
    )


def _bust_row(trade: Trade, reason: str, at: datetime) -> Trade:
    copied: Mapping[str, Any] = {
        name: getattr(trade, name)
        for name in (
            "user_id",
            "portfolio_id",
            "instrument_id",
            "side",
            "quantity",
            "price",
            "gross_amount",
            "currency",
            "fee_currency",
            "source",
            "strategy",
            "position_ref",
            "import_batch_id",
        )
    }
    return Trade(
        **copied,
        kind=TradeKind.BUST,
        executed_at=at,
        dedupe_key=f"bust:{trade.id}",
        corrects_trade_id=trade.id,
        description=reason,
    )


async def _revert_cash(unit: UnitOfWork, batch: ImportBatch) -> None:
    # What trades moved is moved back by the replay; this is the cash of the file's own rows.
    await unit.session.execute(
        update(CashMovement)
        .where(
            CashMovement.user_id == batch.user_id,
            CashMovement.portfolio_id == batch.portfolio_id,
            CashMovement.import_batch_id == batch.id,
            CashMovement.source == batch.source,
        )
        .values(status=CashStatus.REVERTED),
        execution_options={"synchronize_session": "fetch"},
    )
