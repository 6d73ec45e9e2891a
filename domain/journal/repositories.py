"""What is asked about the journal."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Update, func
from sqlalchemy.orm import selectinload

from domain.db.repository import Page, Repository
from domain.errors import InvalidData
from domain.journal.models import (
    FROM_THE_LEDGER,
    TYPED_RULE,
    Attachment,
    EntryTag,
    EntryTrade,
    JournalEntry,
    Setup,
    Tag,
)
from domain.journal.terms import EntryKind, PnlSource
from domain.trading.models import Portfolio


class SetupRepository(Repository[Setup]):
    """Setups."""

    async def named(self, name: str) -> Setup:
        """Return the setup of this name.

        Raises:
            NotFound: There is none.
        """
        return await self.one(self.query(Setup.name == name))


class TagRepository(Repository[Tag]):
    """Tags."""


class JournalEntryRepository(Repository[JournalEntry]):
    """Journal entries."""

    async def of(
        self, portfolio: Portfolio, *, limit: int = 50, after: str | None = None
    ) -> Page[JournalEntry]:
        """Return a page of the portfolio's entries, newest day first."""
        mine = self.query(JournalEntry.portfolio_id == portfolio.id)
        newest = mine.order_by(JournalEntry.entry_on.desc(), JournalEntry.id.desc())
        return await self.page(newest, limit=limit, after=after)

    async def of_trade(self, trade_id: UUID) -> Sequence[JournalEntry]:
        """Return the entries that describe a trade, oldest first."""
        linked = JournalEntry.links.any(EntryTrade.trade_id == trade_id)
        return await self.all(self.query(linked).order_by(JournalEntry.id))

    async def open_trades(self) -> Sequence[JournalEntry]:
        """Return the entries about trades that were not left yet, oldest day first."""
        still_open = self.query(
            JournalEntry.kind == EntryKind.TRADE, JournalEntry.exit_on.is_(None)
        )
        return await self.all(still_open.order_by(JournalEntry.entry_on, JournalEntry.id))

    async def search(self, words: str, *, limit: int = 50) -> Sequence[JournalEntry]:
        """Return the entries whose texts hold `words`, best first, with their tags.

        Args:
            words: As people type them: ``"exact phrase" or -without``; English word forms match.
            limit: At most this many, 1 to 1,000.

        Raises:
            InvalidData: `words` holds NUL, or `limit` is out of range.
        """
        if "\x00" in words:
            raise InvalidData("words", words, "hold no NUL character")
        if not 1 <= limit <= 1_000:  # noqa: PLR2004 - as pages
            raise InvalidData("limit", limit, "lie between 1 and 1000")
        wanted = func.websearch_to_tsquery("english", words)
        rank = func.ts_rank_cd(JournalEntry.search, wanted)
        found = self.query(JournalEntry.search.op("@@")(wanted)).order_by(
            rank.desc(), JournalEntry.entry_on.desc(), JournalEntry.id.desc()
        )
        return await self.all(found.options(selectinload(JournalEntry.tags)).limit(limit))

    async def patch(self, ident: Any, *, version: int | None = None, **values: Any) -> JournalEntry:
        """Change columns of one entry; profit only while no trade is linked.

        Raises:
            InvalidData: Profit was typed for an entry whose profit is the ledger's.
            NotFound: As `Repository.patch`.
            Stale: As `Repository.patch`.
        """
        typed = [name for name in FROM_THE_LEDGER if name in values]
        if typed:
            entry = await self.get(ident)
            if entry.pnl_source is PnlSource.LEDGER:
                raise InvalidData(typed[0], values[typed[0]], TYPED_RULE)
        return await super().patch(ident, version=version, **values)

    def _patch_statement(self, values: Any, version: int | None) -> Update:
        statement = super()._patch_statement(values, version)
        if any(name in values for name in FROM_THE_LEDGER):
            # Between the look and the write a trade may have been linked.
            statement = statement.where(JournalEntry.pnl_source == PnlSource.TYPED)
        return statement


class EntryTagRepository(Repository[EntryTag]):
    """Which entries have which tags."""


class EntryTradeRepository(Repository[EntryTrade]):
    """Which trades an entry describes."""


class AttachmentRepository(Repository[Attachment]):
    """Files of entries."""

    async def of(self, entry: JournalEntry) -> Sequence[Attachment]:
        """Return the entry's files in their order."""
        mine = self.query(Attachment.entry_id == entry.id)
        return await self.all(mine.order_by(Attachment.sort_order, Attachment.id))
