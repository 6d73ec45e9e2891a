"""Views of research. Analyses, runs, metrics and knowledge are written by the library."""

from typing import Any

from sqlalchemy import ColumnElement, func, select

from admin.records import Inline, RecordView, Related
from admin.translating import gettext, word
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

_CATEGORY = "Research"


class WatchlistView(RecordView, model=Watchlist):
    """Watchlists."""

    name, name_plural, path = "Watchlist", "Watchlists", "watchlists"
    category = _CATEGORY
    about = "Instruments that somebody follows."
    columns = ("name", "description", "user_id", "updated_at")
    order = (Watchlist.id,)
    is_found_by_name = True
    search = (Watchlist.name,)
    search_hint = "Name begins with…"
    keys = ("user_id",)
    editable = ("name", "description")
    creatable = ("user_id", "name", "description")
    is_deletable = True
    inlines = (Inline("Instruments", "watchlist-items", "watchlist_id", same=("user_id",)),)
    related = (Related("Instruments", "watchlist-items", "watchlist_id", is_shown=True),)


class WatchlistItemView(RecordView, model=WatchlistItem):
    """Instruments on watchlists."""

    name, name_plural, path = "Watched instrument", "Watched instruments", "watchlist-items"
    category = _CATEGORY
    about = "What is on the watchlists, and the price to wait for."
    columns = ("watchlist", "instrument", "target_price", "note", "sort_order", "added_at")
    order = (WatchlistItem.watchlist_id, WatchlistItem.instrument_id)
    is_newest_first = False
    keys = ("watchlist_id", "instrument_id")
    is_part = True
    editable = ("sort_order", "target_price", "note")
    creatable = (
        "user_id",
        "watchlist_id",
        "instrument_id",
        "sort_order",
        "target_price",
        "note",
    )
    is_deletable = True

    def option(self, record: Any) -> str:
        """Return what is watched."""
        return str(record.instrument)


class ScreenerView(RecordView, model=Screener):
    """Screeners."""

    name, name_plural, path = "Screener", "Screeners", "screeners"
    category = _CATEGORY
    about = "Saved searches over the market. Schedules are set by the library, which checks them."
    columns = ("name", "screener_type", "auto_run", "schedule", "timezone", "next_run_at")
    order = (Screener.id,)
    is_found_by_name = True
    search = (Screener.name,)
    search_hint = "Name begins with…"
    keys = ("user_id",)
    editable = ("name", "description", "criteria", "notify_channels")
    is_deletable = True
    related = (Related("Runs", "screener-runs", "screener_id", is_shown=True),)
    hint = "save_screener(unit, name, screener_type, …)"


class ScreenerRunView(RecordView, model=ScreenerRun):
    """Screener runs."""

    name, name_plural, path = "Screener run", "Screener runs", "screener-runs"
    category = _CATEGORY
    about = "What screeners found, with the criteria that they had then."
    columns = ("run_at", "screener", "screener_type", "candidates_found")
    order = (ScreenerRun.run_at, ScreenerRun.id)
    keys = ("screener_id", "user_id")
    pickers = ("screener_id",)
    time_column = "run_at"
    hint = "save_screener_run(unit, screener, results)"

    def heading(self, record: Any) -> str:
        """Return ``Above the 50-day average, run of 2024-03-15 20:00 UTC``."""
        what = record.screener or word(record.screener_type)
        run_at = f"{record.run_at:%Y-%m-%d %H:%M}"
        return gettext("%(what)s, run of %(time)s UTC", what=what, time=run_at)


class AnalysisView(RecordView, model=Analysis):
    """Analyses."""

    name, name_plural, path = "Analysis", "Analyses", "analyses"
    category = _CATEGORY
    about = "What programs and people concluded. An analysis is never edited."
    columns = (
        "created_at",
        "instrument",
        "analysis_type",
        "recommendation",
        "confidence",
        "model",
    )
    order = (Analysis.created_at, Analysis.id)
    search = (Analysis.instrument_id,)
    search_hint = "Symbol is…"
    keys = ("instrument_id", "user_id")
    pickers = ("user_id",)
    time_column = "created_at"
    hint = "save_analysis(unit, symbol, analysis_type, …)"
    related = (
        Related(
            "Journal entries", "journal-entries", "analysis_id", same=("user_id",), is_shown=True
        ),
    )

    def heading(self, record: Any) -> str:
        """Return ``AAPL: trend, select``."""
        said = [word(part) for part in (record.analysis_type, record.recommendation) if part]
        what = ", ".join(said)
        return f"{record.instrument}: {what}" if record.instrument else what.capitalize()

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for analyses of instruments of this symbol."""
        matching = select(Instrument.id).where(Instrument.symbol == text.strip().upper())
        return Analysis.instrument_id.in_(matching)


class MetricView(RecordView, model=Metric):
    """Metrics."""

    name, name_plural, path = "Metric", "Metrics", "metrics"
    category = _CATEGORY
    about = "Named numbers over time."
    columns = ("metric_name", "labels", "time", "value")
    order = (Metric.metric_name, Metric.labels_hash, Metric.time)
    search = (Metric.metric_name,)
    search_hint = "Name begins with…"
    keys = ("user_id",)
    hint = "insert_metric(unit, name, value)"

    def heading(self, record: Any) -> str:
        """Return ``volatility_20d at 2024-03-15 20:00 UTC``."""
        time = f"{record.time:%Y-%m-%d %H:%M}"
        return gettext("%(what)s at %(time)s UTC", what=record.metric_name, time=time)


class KnowledgeDocumentView(RecordView, model=KnowledgeDocument):
    """Documents."""

    name, name_plural, path = "Document", "Documents", "documents"
    category = _CATEGORY
    about = "Documents of the knowledge base; their bytes are in the object store."
    columns = ("path", "title", "content_type", "updated_at")
    order = (KnowledgeDocument.id,)
    search = (KnowledgeDocument.path,)
    search_hint = "Path begins with…"
    related = (Related("Parts", "chunks", "document_id", is_shown=True),)
    hint = "ingest_document(unit, staged, path, …)"


class KnowledgeChunkView(RecordView, model=KnowledgeChunk):
    """Parts of documents."""

    name, name_plural, path = "Document part", "Document parts", "chunks"
    category = _CATEGORY
    about = "What a search of the knowledge base finds."
    columns = ("document", "ordinal", "heading", "content")
    prose = ("content",)
    is_part = True
    order = (KnowledgeChunk.document_id, KnowledgeChunk.ordinal)
    is_newest_first = False
    search = (KnowledgeChunk.heading,)
    search_hint = "Words of heading and text…"
    keys = ("document_id",)

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for parts that hold these words."""
        wanted = func.websearch_to_tsquery("english", text.strip())
        return KnowledgeChunk.search.op("@@")(wanted)


VIEWS = (
    WatchlistView,
    WatchlistItemView,
    ScreenerView,
    ScreenerRunView,
    AnalysisView,
    MetricView,
    KnowledgeDocumentView,
    KnowledgeChunkView,
)
