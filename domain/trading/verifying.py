"""Proves that what is stored is what the facts say: replays everything and compares."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, select

from domain.db.bulk import any_of
from domain.db.orm import Base
from domain.db.unit import Unit
from domain.market.models import CorporateAction, Instrument
from domain.money import plain
from domain.trading.cash import movements_of, owed
from domain.trading.keys import BookKey
from domain.trading.ledger import Book, Ledger
from domain.trading.models import (
    Lot,
    LotClosure,
    Portfolio,
    Position,
    PositionStatus,
    Trade,
    TradeStatus,
)
from domain.trading.projection import Owner, closure_rows, lot_rows, position_rows
from domain.trading.streams import Stream, ledger_key, terms_of
from domain.trading.terms import TradeKind

M = TypeVar("M", bound=Base)

_LAST_EVENT: Final = frozenset({"last_executed_at", "last_sequence", "last_key"})


@dataclass(frozen=True, slots=True)
class Break:
    """One place where the stored state and the facts disagree.

    Args:
        portfolio: The portfolio's name.
        subject: What disagrees: a position, lot, closure or cash.
        stored: What is stored; None when it is missing.
        expected: What the facts say; None when nothing should be there.
    """

    portfolio: str
    subject: str
    stored: str | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class Verified:
    """The verdict on one portfolio.

    Args:
        portfolio: Its name.
        trades: How many trades count.
        breaks: Where it disagrees; empty when all is well.
        unmatched: Expired or assigned quantity that found nothing open: incomplete history.
    """

    portfolio: str
    trades: int
    breaks: tuple[Break, ...]
    unmatched: tuple[tuple[str, Decimal], ...]


async def verify(unit: Unit, portfolios: Iterable[Portfolio]) -> AsyncIterator[Verified]:
    """Replay each portfolio from its facts and yield where the stored state differs.

    Args:
        unit: Best a snapshot: all reads must see one state.
        portfolios: Which ones.
    """
    for portfolio in portfolios:
        yield await _Audit(unit, portfolio).run()


class _Audit:
    def __init__(self, unit: Unit, portfolio: Portfolio) -> None:
        self.unit = unit
        self.portfolio = portfolio
        self.breaks: list[Break] = []

    async def run(self) -> Verified:
        every = await self._load(Trade, Trade.portfolio_id == self.portfolio.id)
        trades = [trade for trade in every if _counts(trade)]
        instruments = await self._instruments(every)
        ledger, owners = await self._replay(trades, instruments)
        ids = {ledger_key(trade): trade.id for trade in trades}
        await self._compare(ledger, owners, ids)
        cash: dict[str, Decimal] = {}
        unmatched: list[tuple[str, Decimal]] = []
        for book in ledger.books.values():
            cash.update(book.changes().cash_by_key)
            unmatched.extend(book.changes().unmatched)
        await self._compare_cash(every, cash)
        return Verified(self.portfolio.name, len(trades), tuple(self.breaks), tuple(unmatched))

    async def _instruments(self, trades: Sequence[Trade]) -> dict[UUID, Instrument]:
        return await self.unit[Instrument].many({trade.instrument_id for trade in trades})

    async def _replay(
        self, trades: Sequence[Trade], instruments: Mapping[UUID, Instrument]
    ) -> tuple[Ledger, dict[str, Owner]]:
        actions = await self.unit[CorporateAction].all(
            self.unit[CorporateAction].query(CorporateAction.instrument_id.in_(list(instruments)))
        )
        stream = Stream(self.portfolio, trades, actions, instruments)
        owners = {}
        for key in {BookKey.of(trade) for trade in trades}:
            instrument = instruments[key.instrument_id]
            owners[key.book] = Owner(
                user_id=self.portfolio.user_id,
                key=key,
                terms=terms_of(self.portfolio, instrument),
                instrument=instrument,
            )
        ledger = Ledger({book: owner.terms for book, owner in owners.items()})
        ledger.replay(stream.events())
        return ledger, owners

    async def _compare(
        self, ledger: Ledger, owners: Mapping[str, Owner], ids: Mapping[str, UUID]
    ) -> None:
        positions = await self._load(
            Position,
            Position.portfolio_id == self.portfolio.id,
            Position.status != PositionStatus.VOID,
        )
        stored = {(BookKey.of(row).book, row.cycle): row for row in positions}
        expected: dict[Any, dict[str, Any]] = {}
        lots: dict[Any, dict[str, Any]] = {}
        closures: dict[Any, dict[str, Any]] = {}
        for name, book in ledger.books.items():
            expected |= {(name, number): row for number, row in _expected(owners[name], book, ids)}
            rows = {cycle: row.id for (other, cycle), row in stored.items() if other == name}
            lots |= {_lot_id(row): row for row in lot_rows(owners[name], book, ids, rows)}
            closures |= {
                _closure_id(row): row for row in closure_rows(owners[name], book, ids, rows)
            }
        self._diff("position", stored, expected)
        inside = [row.id for row in positions]
        held = await self._load(Lot, Lot.position_id == any_of(inside))
        self._diff("lot", {(row.position_id, row.lot_key): row for row in held}, lots)
        done = await self._load(LotClosure, LotClosure.position_id == any_of(inside))
        taken = {(row.position_id, row.lot_key, row.closing_trade_id): row for row in done}
        self._diff("closure", taken, closures)

    async def _compare_cash(self, trades: Sequence[Trade], cash: Mapping[str, Decimal]) -> None:
        booked = await movements_of(self.unit, trades)
        for trade in trades:
            for account, amount in owed(trade, cash).items():
                total, _ = booked.pop(account, (Decimal(0), 0))
                if total != amount:
                    subject = f"cash of trade {trade.dedupe_key[:40]}, {account.kind}"
                    self._broken(subject, plain(total), plain(amount))

    def _diff(
        self, subject: str, stored: Mapping[Any, Any], expected: Mapping[Any, Mapping[str, Any]]
    ) -> None:
        for key in stored.keys() - expected.keys():
            self._broken(f"{subject} {key[-1]}", "present", None)
        for key, row in expected.items():
            if key not in stored:
                self._broken(f"{subject} {key[-1]}", None, "present")
                continue
            for column, value in row.items():
                found = getattr(stored[key], column)
                if found != value:
                    self._broken(f"{subject} {key[-1]}, {column}", str(found), str(value))

    def _broken(self, subject: str, stored: str | None, expected: str | None) -> None:
        self.breaks.append(Break(self.portfolio.name, subject, stored, expected))

    async def _load(self, model: type[M], *where: ColumnElement[bool]) -> Sequence[M]:
        # Trades and positions are read without the repository's scope: void and busted rows too.
        return (await self.unit.session.scalars(select(model).where(*where))).all()


def _expected(
    owner: Owner, book: Book, ids: Mapping[str, UUID]
) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = position_rows(owner, book, ids)
    for number, row in rows[:-1]:
        # Only the newest cycle is ever asked for the key's last event.
        yield number, {name: value for name, value in row.items() if name not in _LAST_EVENT}
    yield from rows[-1:]


def _counts(trade: Trade) -> bool:
    return trade.status is TradeStatus.BOOKED and trade.kind is not TradeKind.BUST


def _lot_id(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["position_id"], row["lot_key"])


def _closure_id(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["position_id"], row["lot_key"], row["closing_trade_id"])
