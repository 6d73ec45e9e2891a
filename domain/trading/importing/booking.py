"""Writes what a broker file says: everything in one transaction, each fact once.

Parsing is over before the first row is written, so a file that breaks half-way, or a process
that dies, leaves nothing behind.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.market.models import CorporateAction
from domain.money import exact, quantized
from domain.trading.announcing import announce
from domain.trading.booking import Desk, Outcome, identity_of
from domain.trading.cash import insert_movements
from domain.trading.correcting import bust_trade
from domain.trading.importing.formats import FORMATS
from domain.trading.importing.listing import Listing
from domain.trading.importing.records import (
    ParsedBust,
    ParsedCash,
    ParsedFile,
    ParsedSplit,
    ParsedTrade,
    RejectedRow,
)
from domain.trading.models import ImportBatch, Portfolio, Trade, TradeStatus
from domain.trading.recording import NewTrade, RowMaker
from domain.trading.streams import RESCALING
from domain.trading.terms import CashKind, Side, TradeKind

_SPLIT_TOLERANCE_DAYS: Final = 4


@dataclass(slots=True)
class ImportReport:
    """What an import did, or would do.

    Args:
        rows_total: Data rows of the file.
        rows_new: Rows that were booked now.
        rows_duplicate: Rows that were booked before.
        rows_rejected: Rows that were refused.
        rejected: Each refused row: line, column, value, rule.
        is_preview: True when nothing was written.
        batch_id: The import's id, to revert it; None for a preview.
    """

    rows_total: int
    rows_new: int = 0
    rows_duplicate: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    is_preview: bool = False
    batch_id: UUID | None = None

    @property
    def rows_rejected(self) -> int:
        """How many rows were refused."""
        return len(self.rejected)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "rows_total": self.rows_total,
            "rows_new": self.rows_new,
            "rows_duplicate": self.rows_duplicate,
            "rows_rejected": self.rows_rejected,
            "rejected": [asdict(row) for row in self.rejected],
        }


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """A file to import.

    Args:
        format: ``tastytrade``, ``ibkr-flex`` or ``csv``.
        content: The bytes.
        filename: Its name, for the report; folders are cut off.
    """

    format: str
    content: bytes
    filename: str | None = None

    def parse(self) -> ParsedFile:
        """Read the file.

        Raises:
            InvalidData: Unknown format, or not such a file at all.
        """
        parser = FORMATS.get(self.format)
        if parser is None:
            raise InvalidData("format", self.format, f"be one of {', '.join(FORMATS)}")
        return parser(self.content)


async def import_file(
    unit: UnitOfWork, portfolio: Portfolio, file: BrokerFile, *, is_preview: bool = False
) -> ImportReport:
    """Import a broker's file into `portfolio`.

    Importing twice, in any order, in parts or again after a crash gives the same state.

    Args:
        unit: An open READ COMMITTED transaction; the import is one part of it.
        portfolio: Where the rows go.
        file: The file.
        is_preview: Report what would happen and write nothing.

    Raises:
        InvalidData: The file is not of this format.
    """
    parsed = file.parse()
    async with unit.session.begin_nested() as savepoint:
        report = await _Import(unit, portfolio, file, parsed).run()
        if is_preview:
            await savepoint.rollback()
            report.is_preview, report.batch_id = True, None
    return report


class _Import:
    def __init__(
        self, unit: UnitOfWork, portfolio: Portfolio, file: BrokerFile, parsed: ParsedFile
    ) -> None:
        self.unit = unit
        self.portfolio = portfolio
        self.file = file
        self.parsed = parsed
        self.report = ImportReport(rows_total=parsed.rows_total, rejected=list(parsed.rejected))
        self.listing = Listing(unit)

    async def run(self) -> ImportReport:
        batch = await self._open_batch()
        await self.listing.load(
            record.instrument
            for records in (self.parsed.trades, self.parsed.cash, self.parsed.splits)
            for record in records
            if record.instrument is not None
        )
        await self._book_trades(batch.id)
        await self._book_splits(batch.id)
        await self._book_cash(batch.id)
        for bust in self.parsed.busts:
            await self._book_bust(bust, batch.id)
        self.report.rejected.sort(key=lambda row: row.line)
        self.report.batch_id = batch.id
        batch.rows_new, batch.rows_duplicate = self.report.rows_new, self.report.rows_duplicate
        batch.rows_rejected = self.report.rows_rejected
        batch.report = self.report.as_dict()
        await self.unit.flush()
        return self.report

    async def _open_batch(self) -> ImportBatch:
        name = self.file.filename
        batch = self.unit[ImportBatch].add(
            ImportBatch(
                user_id=self.portfolio.user_id,
                portfolio_id=self.portfolio.id,
                source=self.file.format,
                filename=PurePath(name).name[:200] if name else None,
                sha256=hashlib.sha256(self.file.content).digest(),
                rows_total=self.parsed.rows_total,
                rows_new=0,
                rows_duplicate=0,
                rows_rejected=self.parsed.rows_total,
            )
        )
        await self.unit.flush()
        return batch

    async def _book_trades(self, batch_id: UUID) -> None:
        maker = RowMaker(self.unit, self.portfolio)
        rows: list[dict[str, Any]] = []
        lines: list[tuple[int, dict[str, Any]]] = []
        for parsed in self.parsed.trades:
            try:
                row = await maker.row(self._new_trade(parsed, batch_id))
            except InvalidData as error:
                self.report.rejected.append(RejectedRow.because(parsed.line, error))
                continue
            if parsed.fees_settled is not None:
                row["fees_settled"] = parsed.fees_settled
            rows.append(row)
            lines.append((parsed.line, row))
        await self._book_rows(rows, lines)

    async def _book_rows(
        self, rows: list[dict[str, Any]], lines: Sequence[tuple[int, dict[str, Any]]]
    ) -> None:
        instruments = {
            self.listing[record.instrument].id: self.listing[record.instrument]
            for records in (self.parsed.trades, self.parsed.splits)
            for record in records
        }
        outcome = await Desk(self.unit, self.portfolio).book(rows, instruments)
        fresh = [trade for trade in outcome.trades.values() if trade.id in outcome.new_ids]
        await announce(self.unit, self.portfolio, fresh)
        self._count(outcome, lines)

    def _count(self, outcome: Outcome, lines: Sequence[tuple[int, dict[str, Any]]]) -> None:
        counted: set[tuple[str, str]] = set()
        for line, row in lines:
            identity = identity_of(row)
            if fields := outcome.conflicts.get(identity):
                rule = f"agree with the trade of the same id in {', '.join(fields)}"
                self.report.rejected.append(RejectedRow(line, "row", identity[1][:80], rule))
            elif outcome.trades[identity].id in outcome.new_ids and identity not in counted:
                counted.add(identity)
                self.report.rows_new += 1
            else:
                self.report.rows_duplicate += 1

    def _new_trade(self, parsed: ParsedTrade, batch_id: UUID) -> NewTrade:
        return NewTrade(
            instrument=self.listing[parsed.instrument],
            side=parsed.side,
            kind=parsed.kind,
            quantity=parsed.quantity,
            price=parsed.price,
            gross_amount=parsed.gross_amount,
            commission=parsed.commission,
            fees=parsed.fees,
            fee_currency=parsed.fee_currency,
            fee_rate=None if parsed.fee_currency is None else Decimal(1),
            executed_at=parsed.executed_at,
            sequence=parsed.sequence,
            source=self.parsed.source,
            dedupe_key=parsed.dedupe_key,
            external_id=parsed.external_id,
            position_effect=parsed.position_effect,
            link_key=parsed.link_key,
            description=parsed.description,
            raw=parsed.raw,
            import_batch_id=batch_id,
        )

    async def _book_cash(self, batch_id: UUID) -> None:
        rows = [self._cash_row(parsed, batch_id) for parsed in self.parsed.cash]
        inserted = await insert_movements(self.unit, rows)
        self.report.rows_new += inserted
        self.report.rows_duplicate += len(rows) - inserted

    def _cash_row(self, parsed: ParsedCash, batch_id: UUID) -> dict[str, Any]:
        instrument = None if parsed.instrument is None else self.listing[parsed.instrument]
        return {
            "user_id": self.portfolio.user_id,
            "portfolio_id": self.portfolio.id,
            "instrument_id": None if instrument is None else instrument.id,
            "import_batch_id": batch_id,
            "kind": parsed.kind,
            "amount": parsed.amount,
            "currency": parsed.currency,
            "effective_at": parsed.effective_at,
            "source": self.parsed.source,
            "dedupe_key": parsed.dedupe_key,
            "external_id": parsed.external_id,
            "description": parsed.description,
            "raw": dict(parsed.raw),
        }

    async def _book_splits(self, batch_id: UUID) -> None:
        rows: list[dict[str, Any]] = []
        lines: list[tuple[int, dict[str, Any]]] = []
        for parsed in self.parsed.splits:
            if await self._is_registered(parsed):
                self.report.rows_duplicate += 1
                continue
            legs = self._split_legs(parsed, batch_id)
            maker = RowMaker(self.unit, self.portfolio)
            made = [await maker.row(leg) for leg in legs]
            rows.extend(made)
            lines.append((parsed.line, made[1]))
        await self._book_rows(rows, lines)

    async def _is_registered(self, parsed: ParsedSplit) -> bool:
        instrument = self.listing[parsed.instrument]
        statement = select(CorporateAction).where(
            CorporateAction.instrument_id == instrument.id, CorporateAction.kind.in_(RESCALING)
        )
        for action in await self.unit.session.scalars(statement):
            distance = abs(action.effective_at - parsed.executed_at)
            if distance.days < _SPLIT_TOLERANCE_DAYS:
                return True
        return False

    def _split_legs(self, parsed: ParsedSplit, batch_id: UUID) -> tuple[NewTrade, NewTrade]:
        # The file gives the change only: old units are change * d / (n - d).
        with exact():
            gain = Decimal(parsed.numerator - parsed.denominator)
            old = quantized(parsed.quantity_change * parsed.denominator / gain)
            new = quantized(parsed.quantity_change * parsed.numerator / gain)
        is_long = old > 0
        shared: dict[str, Any] = {
            "instrument": self.listing[parsed.instrument],
            "price": Decimal(0),
            "gross_amount": Decimal(0),
            "executed_at": parsed.executed_at,
            "sequence": parsed.sequence,
            "source": self.parsed.source,
            "external_id": parsed.external_id,
            "link_key": f"split:{parsed.dedupe_key}",
            "description": parsed.description,
            "raw": parsed.raw,
            "import_batch_id": batch_id,
        }
        leaving = NewTrade(
            **shared,
            kind=TradeKind.CONVERSION_OUT,
            side=Side.SELL if is_long else Side.BUY,
            quantity=abs(old),
            dedupe_key=f"{parsed.dedupe_key}:out",
        )
        arriving = NewTrade(
            **shared,
            kind=TradeKind.CONVERSION_IN,
            side=Side.BUY if is_long else Side.SELL,
            quantity=abs(new),
            dedupe_key=f"{parsed.dedupe_key}:in",
        )
        return leaving, arriving

    async def _book_bust(self, parsed: ParsedBust, batch_id: UUID) -> None:
        trade = await self._busted(parsed)
        if trade is None:
            rule = "name a trade that is booked; import the file that has it first"
            self.report.rejected.append(
                RejectedRow(parsed.line, "external_id", parsed.external_id[:80], rule)
            )
        elif trade.status is TradeStatus.BUSTED:
            self.report.rows_duplicate += 1
        else:
            await bust_trade(self.unit, trade.id, reason="cancelled by the broker")
            await self._refund(parsed, trade, batch_id)
            self.report.rows_new += 1

    async def _busted(self, parsed: ParsedBust) -> Trade | None:
        ours = (
            Trade.portfolio_id == self.portfolio.id,
            Trade.source == self.parsed.source,
            Trade.kind != TradeKind.BUST,
            Trade.status.in_([TradeStatus.BOOKED, TradeStatus.BUSTED]),
        )
        by_id = select(Trade).where(*ours, Trade.external_id == parsed.external_id)
        found = (await self.unit.session.scalars(by_id)).first()
        if found is not None:
            return found
        by_trade_id = select(Trade).where(*ours, Trade.raw["tradeID"].astext == parsed.external_id)
        return (await self.unit.session.scalars(by_trade_id)).first()

    async def _refund(self, parsed: ParsedBust, trade: Trade, batch_id: UUID) -> None:
        # The replay moved all of the trade's cash back; the broker keeps what it did not refund.
        with exact():
            kept = -(trade.commission + trade.fees) - parsed.commission
        if not kept:
            return
        row = {
            "user_id": trade.user_id,
            "portfolio_id": trade.portfolio_id,
            "instrument_id": trade.instrument_id,
            "import_batch_id": batch_id,
            "kind": CashKind.COMMISSION,
            "amount": kept,
            "currency": parsed.currency or trade.fee_currency,
            "effective_at": parsed.executed_at,
            "source": self.parsed.source,
            "dedupe_key": f"bust:{parsed.dedupe_key}",
            "description": "commission kept by the broker on a cancelled trade",
        }
        await insert_movements(self.unit, [row])
