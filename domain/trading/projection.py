"""Positions, lots and closures between the ledger and their tables: loads a book, saves changes.

Everything here is rebuilt from facts; nobody else writes these tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, select, update

from domain.clock import now
from domain.db.bulk import upsert_returning
from domain.db.unit import UnitOfWork
from domain.market.models import Instrument
from domain.trading.keys import BookKey
from domain.trading.ledger import (
    Book,
    Closure,
    Cycle,
    Lot,
    LotOrigin,
    Order,
    Terms,
    parse_residue,
    residue_text,
)
from domain.trading.models import Lot as LotRow
from domain.trading.models import LotClosure, Position, PositionStatus

_POSITION_KEY: Final = (
    "user_id",
    "portfolio_id",
    "instrument_id",
    "strategy",
    "position_ref",
    "cycle",
)
_LOT_KEY: Final = ("user_id", "position_id", "lot_key")
_BY_ID: Final = "row:"
_CLOSURE_KEY: Final = ("user_id", "position_id", "lot_key", "closing_trade_id")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose rows are written and how the key is reckoned.

    Args:
        user_id: The tenant.
        key: The position key.
        terms: The ledger's terms of the key.
        instrument: The instrument of the key.
    """

    user_id: UUID
    key: BookKey
    terms: Terms
    instrument: Instrument


async def latest_position(unit: UnitOfWork, key: BookKey) -> Position | None:
    """Return the newest cycle of `key`, open or closed."""
    newest = (
        select(Position)
        .where(key.matches(Position), Position.status != PositionStatus.VOID)
        .order_by(Position.cycle.desc())
        .limit(1)
    )
    found = await unit.session.scalars(newest, execution_options={"populate_existing": True})
    return found.first()


def last_order(position: Position) -> Order:
    """Return the order of the last event of the position's key."""
    return (position.last_executed_at, position.last_sequence, position.last_key)


async def resume(unit: UnitOfWork, owner: Owner, position: Position | None) -> Book:
    """Return the book of `owner.key` as stored, without reading its history."""
    if position is None:
        return Book.resume(owner.terms, cycle=None, open_lots=(), last_order=None)
    lots: Sequence[LotRow] = ()
    if position.status is PositionStatus.OPEN:
        open_lots = select(LotRow).where(
            LotRow.position_id == position.id, LotRow.quantity_remaining != 0
        )
        lots = (
            await unit.session.scalars(open_lots, execution_options={"populate_existing": True})
        ).all()
    return Book.resume(
        owner.terms,
        cycle=_cycle_of(position, owner.terms),
        open_lots=[_lot_of(row, position.cycle) for row in lots],
        last_order=last_order(position),
    )


@dataclass(frozen=True, slots=True)
class Saved:
    """The rows that `save` wrote."""

    positions: Sequence[Position]
    closures: Sequence[LotClosure]


async def save(
    unit: UnitOfWork, owner: Owner, book: Book, *, trade_ids: Mapping[str, UUID]
) -> Saved:
    """Write what `book` changed since it was resumed; three statements at most.

    Args:
        unit: The transaction.
        owner: Whose book it is.
        book: After the events were applied.
        trade_ids: Row ids of the trades that the changes name, by ledger key.
    """
    rows = [row for _, row in position_rows(owner, book, trade_ids)]
    stamped = [{**row, "updated_at": now()} for row in rows]
    positions = await upsert_returning(unit.session, Position, stamped, key=_POSITION_KEY)
    ids = {position.cycle: position.id for position in positions}
    lots = lot_rows(owner, book, trade_ids, ids)
    if lots:
        kept = tuple(name for name in lots[0] if name not in _LOT_KEY)
        await unit[LotRow].upsert_many(lots, key=_LOT_KEY, update=kept)
    closures = closure_rows(owner, book, trade_ids, ids)
    written = await upsert_returning(unit.session, LotClosure, closures, key=_CLOSURE_KEY)
    return Saved(positions=positions, closures=written)


def position_rows(
    owner: Owner, book: Book, trade_ids: Mapping[str, UUID]
) -> list[tuple[int, dict[str, Any]]]:
    """Return (cycle number, column values) of every cycle that `book` changed."""
    resolve = _Resolver(trade_ids)
    cycles = book.changes().cycles
    rows = []
    for cycle in cycles:
        # The newest cycle remembers the key's last event, even one that matched nothing.
        last = book.last_order if cycle is cycles[-1] else cycle.last_order
        rows.append((cycle.number, _position_row(owner, cycle, last, resolve)))
    return rows


def lot_rows(
    owner: Owner, book: Book, trade_ids: Mapping[str, UUID], position_ids: Mapping[int, UUID]
) -> list[dict[str, Any]]:
    """Return the column values of every lot that `book` changed, for the cycles given."""
    resolve = _Resolver(trade_ids)
    return [
        _lot_row(owner.user_id, lot, position_ids[lot.cycle], resolve)
        for lot in book.changes().lots
        if lot.cycle in position_ids
    ]


def closure_rows(
    owner: Owner, book: Book, trade_ids: Mapping[str, UUID], position_ids: Mapping[int, UUID]
) -> list[dict[str, Any]]:
    """Return the column values of every closure that `book` added, for the cycles given."""
    resolve = _Resolver(trade_ids)
    return [
        _closure_row(owner.user_id, closure, position_ids[closure.cycle], resolve)
        for closure in book.changes().closures
        if closure.cycle in position_ids
    ]


async def clear(unit: UnitOfWork, user_id: UUID, key: BookKey) -> None:
    """Empty the projection of `key` before a replay; position rows stay, void, for who links them.

    A void row becomes a real cycle again when the replay finds that number.
    """
    positions = select(Position.id).where(Position.user_id == user_id, key.matches(Position))
    await unit.session.execute(delete(LotClosure).where(LotClosure.position_id.in_(positions)))
    await unit.session.execute(delete(LotRow).where(LotRow.position_id.in_(positions)))
    await unit.session.execute(
        update(Position)
        .where(Position.user_id == user_id, key.matches(Position))
        .values(
            status=PositionStatus.VOID,
            quantity=0,
            open_value=0,
            open_fees=0,
            realized_gross_pnl=0,
            realized_fees=0,
            closed_quantity=0,
            closed_value=0,
            closed_at=None,
        )
        .execution_options(synchronize_session=False)
    )


@dataclass(frozen=True, slots=True)
class _Resolver:
    # A book resumed from rows names older trades by row id, new ones by ledger key.
    trade_ids: Mapping[str, UUID]

    def __call__(self, key: str) -> UUID | None:
        if key.startswith(_BY_ID):
            return UUID(key.removeprefix(_BY_ID))
        return self.trade_ids[key] if key else None


def _by_id(trade_id: UUID | None) -> str:
    return "" if trade_id is None else f"{_BY_ID}{trade_id}"


def _cycle_of(position: Position, terms: Terms) -> Cycle:
    return Cycle(
        terms=terms,
        number=position.cycle,
        side=position.opening_side,
        opened_at=position.opened_at,
        opening_key=_by_id(position.opening_trade_id),
        last_key=_by_id(position.last_trade_id),
        last_order=last_order(position),
        closed_at=position.closed_at,
        quantity=position.quantity,
        peak_quantity=position.peak_quantity,
        open_value=position.open_value,
        open_fees=position.open_fees,
        realized_gross=position.realized_gross_pnl,
        realized_fees=position.realized_fees,
        closed_quantity=position.closed_quantity,
        closed_value=position.closed_value,
        residue=parse_residue(position.residue),
    )


def _lot_of(row: LotRow, cycle: int) -> Lot:
    return Lot(
        key=row.lot_key,
        cycle=cycle,
        opening_key=_by_id(row.opening_trade_id),
        origin=LotOrigin(row.origin),
        acquired_at=row.acquired_at,
        sequence=row.sequence,
        opened_at=row.opened_at,
        quantity_opened=row.quantity_opened,
        quantity_remaining=row.quantity_remaining,
        value_opened=row.value_opened,
        value_remaining=row.value_remaining,
        fees_opened=row.fees_opened,
        fees_remaining=row.fees_remaining,
        parent=row.parent_lot_key,
        closed_at=row.closed_at,
        residue=parse_residue(row.residue),
    )


def _position_row(
    owner: Owner, cycle: Cycle, last: Order | None, resolve: _Resolver
) -> dict[str, Any]:
    executed_at, sequence, key = last or cycle.last_order
    return {
        "user_id": owner.user_id,
        **owner.key._asdict(),
        "cycle": cycle.number,
        "status": PositionStatus.OPEN if cycle.quantity else PositionStatus.CLOSED,
        "opening_side": cycle.side,
        "quantity": cycle.quantity,
        "peak_quantity": cycle.peak_quantity,
        "multiplier": owner.terms.multiplier,
        "is_inverse": owner.terms.inverse,
        "currency": owner.instrument.profit_currency,
        "entry_price": cycle.entry_price,
        "exit_price": cycle.exit_price,
        "open_value": cycle.open_value,
        "open_fees": cycle.open_fees,
        "realized_gross_pnl": cycle.realized_gross,
        "realized_fees": cycle.realized_fees,
        "closed_quantity": cycle.closed_quantity,
        "closed_value": cycle.closed_value,
        "opened_at": cycle.opened_at,
        "closed_at": cycle.closed_at,
        "opening_trade_id": resolve(cycle.opening_key),
        "last_trade_id": resolve(cycle.last_key),
        "last_executed_at": executed_at,
        "last_sequence": sequence,
        "last_key": key,
        "residue": residue_text(cycle.residue),
    }


def _lot_row(user_id: UUID, lot: Lot, position_id: UUID, resolve: _Resolver) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "position_id": position_id,
        "opening_trade_id": resolve(lot.opening_key),
        "lot_key": lot.key,
        "parent_lot_key": lot.parent,
        "origin": str(lot.origin),
        "acquired_at": lot.acquired_at,
        "sequence": lot.sequence,
        "opened_at": lot.opened_at,
        "closed_at": lot.closed_at,
        "quantity_opened": lot.quantity_opened,
        "quantity_remaining": lot.quantity_remaining,
        "value_opened": lot.value_opened,
        "value_remaining": lot.value_remaining,
        "fees_opened": lot.fees_opened,
        "fees_remaining": lot.fees_remaining,
        "residue": residue_text(lot.residue),
    }


def _closure_row(
    user_id: UUID, closure: Closure, position_id: UUID, resolve: _Resolver
) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "position_id": position_id,
        "closing_trade_id": resolve(closure.closing_key),
        "lot_key": closure.lot_key,
        "quantity": closure.quantity,
        "open_value": closure.open_value,
        "close_value": closure.close_value,
        "open_fees": closure.open_fees,
        "close_fees": closure.close_fees,
        "acquired_at": closure.acquired_at,
        "closed_at": closure.closed_at,
    }
