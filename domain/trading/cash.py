"""Cash: deposits, dividends and the cash side of trades. Append-only; a difference is a new row."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text

from domain.db.bulk import any_of, insert_new
from domain.db.unit import Unit, UnitOfWork
from domain.money import exact
from domain.trading.ledger import CASHLESS_KINDS
from domain.trading.models import CashMovement, Trade, TradeStatus
from domain.trading.streams import CONVERSION_KINDS, ledger_key
from domain.trading.terms import CashKind, TradeKind

_DEDUPE_KEY: Final = ("user_id", "portfolio_id", "source", "dedupe_key")
_ZERO: Final = Decimal(0)


class Account(NamedTuple):
    """What one trade moves for one reason in one currency."""

    trade_id: UUID
    kind: CashKind
    currency: str


async def settle(
    unit: UnitOfWork, trades: Sequence[Trade], cash_by_key: Mapping[str, Decimal], *, is_new: bool
) -> None:
    """Make the movements of `trades` add up to what the ledger says; insert the differences.

    A trade that was busted or corrected owes nothing: what it moved is moved back by a new row.

    Args:
        unit: The transaction; the trades' keys are locked.
        trades: Every trade whose cash may differ, those that no longer count included.
        cash_by_key: What each trade moved with all fees, by ledger key.
        is_new: True when none of the trades has a movement yet, which saves asking.
    """
    booked = {} if is_new else await movements_of(unit, trades)
    rows: list[dict[str, Any]] = []
    for trade in trades:
        for account, amount in owed(trade, cash_by_key).items():
            total, count = booked.get(account, (_ZERO, 0))
            with exact():
                difference = amount - total
            if difference:
                rows.append(_movement(trade, account, difference, count))
    await insert_movements(unit, rows)


async def insert_movements(unit: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the movements that are not booked yet; return how many that were."""
    inserted = await insert_new(
        unit.session, CashMovement, rows, key=_DEDUPE_KEY, where=text("status <> 'reverted'")
    )
    return len(inserted)


def owed(trade: Trade, cash_by_key: Mapping[str, Decimal]) -> dict[Account, Decimal]:
    """Return what `trade` must have moved; zeros for a trade that does not count."""
    owed: dict[Account, Decimal] = defaultdict(lambda: _ZERO)
    counts = trade.status is TradeStatus.BOOKED and trade.kind is not TradeKind.BUST
    pays_fees = counts and (trade.kind not in CASHLESS_KINDS or trade.kind in CONVERSION_KINDS)
    cash = cash_by_key.get(ledger_key(trade), _ZERO) if counts else _ZERO
    with exact():
        value = cash + trade.fees_settled if cash or ledger_key(trade) in cash_by_key else _ZERO
    if not counts:
        value = _ZERO
    owed[Account(trade.id, CashKind.TRADE, trade.currency)] += value
    fee_accounts = ((CashKind.COMMISSION, trade.commission), (CashKind.FEE, trade.fees))
    for kind, amount in fee_accounts:
        owed[Account(trade.id, kind, trade.fee_currency)] += -amount if pays_fees else _ZERO
    return owed


async def movements_of(unit: Unit, trades: Sequence[Trade]) -> dict[Account, tuple[Decimal, int]]:
    """Return for each account what its movements add up to and how many they are."""
    totals = (
        select(
            CashMovement.trade_id,
            CashMovement.kind,
            CashMovement.currency,
            func.sum(CashMovement.amount),
            func.count(),
        )
        .where(CashMovement.trade_id == any_of([trade.id for trade in trades]))
        .group_by(CashMovement.trade_id, CashMovement.kind, CashMovement.currency)
    )
    found = await unit.session.execute(totals)
    return {
        Account(trade_id, kind, currency): (total, count)
        for trade_id, kind, currency, total, count in found
        if trade_id is not None
    }


def _movement(trade: Trade, account: Account, amount: Decimal, count: int) -> dict[str, Any]:
    return {
        "user_id": trade.user_id,
        "portfolio_id": trade.portfolio_id,
        "instrument_id": trade.instrument_id,
        "trade_id": trade.id,
        "import_batch_id": trade.import_batch_id,
        "kind": account.kind,
        "amount": amount,
        "currency": account.currency,
        "effective_at": trade.executed_at,
        "source": "ledger",
        "dedupe_key": f"{trade.id}:{account.kind}:{account.currency}:{count}",
    }
