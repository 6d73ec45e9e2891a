"""What is stored about research, one file a subject.

Watchlists, screeners and analyses belong to a tenant. Metrics may belong to one or to nobody.
Knowledge is global: staff writes it, everybody reads it.
"""

from domain.research.models.analyses import Analysis
from domain.research.models.knowledge import KnowledgeChunk, KnowledgeDocument
from domain.research.models.metrics import Metric
from domain.research.models.screeners import Screener, ScreenerRun
from domain.research.models.watchlists import Watchlist, WatchlistItem

__all__ = [
    "Analysis",
    "KnowledgeChunk",
    "KnowledgeDocument",
    "Metric",
    "Screener",
    "ScreenerRun",
    "Watchlist",
    "WatchlistItem",
]
