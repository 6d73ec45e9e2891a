"""What is asked about watchlists, screeners, analyses, metrics and documents.

Searching knowledge is `domain.research.searching`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import joinedload

from domain.clock import as_utc
from domain.db.repository import Page, Repository
from domain.market.models import Instrument
from domain.research.models import (
    Analysis,
    KnowledgeChunk,
    KnowledgeDocument,
    Metric,
    Screener,
    ScreenerRun,
    Watchlist,
    WatchlistItem,
)


class WatchlistRepository(Repository[Watchlist]):
    """Watchlists."""

    async def by_name(self, name: str) -> Watchlist | None:
        """Return the list of this name, or None."""
        return await self.first(self.query(Watchlist.name == name))

    async def listed(self) -> Sequence[Watchlist]:
        """Return all lists by name."""
        return await self.all(self.query().order_by(Watchlist.name, Watchlist.id))


class WatchlistItemRepository(Repository[WatchlistItem]):
    """Instruments on watchlists."""

    async def of(self, watchlist: Watchlist) -> Sequence[WatchlistItem]:
        """Return the items with their instruments in the list's order."""
        mine = self.query(WatchlistItem.watchlist_id == watchlist.id)
        ordered = mine.order_by(WatchlistItem.sort_order, WatchlistItem.instrument_id)
        return await self.all(ordered.options(joinedload(WatchlistItem.instrument)))


class ScreenerRepository(Repository[Screener]):
    """Screeners."""

    async def by_name(self, name: str) -> Screener | None:
        """Return the screener of this name, or None."""
        return await self.first(self.query(Screener.name == name))


class ScreenerRunRepository(Repository[ScreenerRun]):
    """Runs of screeners."""

    async def recent(
        self, screener: Screener | None = None, *, limit: int = 10
    ) -> Sequence[ScreenerRun]:
        """Return the newest runs, of one screener or of all."""
        runs = self.query()
        if screener is not None:
            runs = self.query(ScreenerRun.screener_id == screener.id)
        newest = runs.order_by(ScreenerRun.run_at.desc(), ScreenerRun.id.desc())
        return await self.all(newest.limit(limit))


class AnalysisRepository(Repository[Analysis]):
    """Analyses."""

    def _of_symbol(self, symbol: str, analysis_type: str | None) -> Select[Analysis]:
        wanted = Analysis.instrument.has(Instrument.symbol == symbol)
        statement = self.query(wanted)
        if analysis_type is not None:
            statement = self.query(wanted, Analysis.analysis_type == analysis_type)
        return statement.order_by(Analysis.created_at.desc(), Analysis.id.desc())

    async def history(
        self,
        symbol: str,
        analysis_type: str | None = None,
        *,
        limit: int = 10,
        after: str | None = None,
    ) -> Page[Analysis]:
        """Return a page of the analyses of a symbol with their instruments, newest first."""
        newest = self._of_symbol(symbol, analysis_type)
        newest = newest.options(joinedload(Analysis.instrument))
        return await self.page(newest, limit=limit, after=after)

    async def latest(self, symbol: str, analysis_type: str | None = None) -> Analysis | None:
        """Return the newest analysis of a symbol, or None."""
        return await self.first(self._of_symbol(symbol, analysis_type))


class MetricRepository(Repository[Metric]):
    """Metrics: the unit's own and those of nobody; trusted units see all."""

    async def between(
        self,
        metric_name: str,
        start: datetime,
        end: datetime,
        *,
        labels: Mapping[str, str] | None = None,
        limit: int = 1_000,
    ) -> Sequence[Metric]:
        """Return the newest values with ``start <= time <= end``, newest first.

        Args:
            metric_name: What was measured.
            start: First instant, aware.
            end: Last instant, aware.
            labels: Only series with all of these labels.
            limit: At most this many.
        """
        inside = self._named(metric_name, labels).where(
            Metric.time >= as_utc(start, "start"), Metric.time <= as_utc(end, "end")
        )
        return await self.all(inside.order_by(Metric.time.desc(), Metric.labels_hash).limit(limit))

    async def latest(
        self, metric_name: str, *, labels: Mapping[str, str] | None = None
    ) -> Metric | None:
        """Return the newest value, or None."""
        newest = self._named(metric_name, labels).order_by(Metric.time.desc(), Metric.labels_hash)
        return await self.first(newest)

    def _named(self, metric_name: str, labels: Mapping[str, str] | None) -> Select[Metric]:
        statement = self.query(Metric.metric_name == metric_name)
        return statement if not labels else statement.where(Metric.labels.contains(dict(labels)))


class KnowledgeDocumentRepository(Repository[KnowledgeDocument]):
    """Documents of the knowledge base."""

    async def at(self, path: str) -> KnowledgeDocument | None:
        """Return the document at this path, or None."""
        return await self.first(self.query(KnowledgeDocument.path == path))

    async def under(self, prefix: str = "") -> Sequence[KnowledgeDocument]:
        """Return the documents whose path begins with `prefix`, by path."""
        inside = self.query(KnowledgeDocument.path.startswith(prefix, autoescape=True))
        return await self.all(inside.order_by(KnowledgeDocument.path))


class KnowledgeChunkRepository(Repository[KnowledgeChunk]):
    """Parts of documents."""

    async def of(self, document_id: UUID) -> Sequence[KnowledgeChunk]:
        """Return the parts of a document in their order."""
        mine = self.query(KnowledgeChunk.document_id == document_id)
        return await self.all(mine.order_by(KnowledgeChunk.ordinal))
