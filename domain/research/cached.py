"""Cached answers about research: the latest conclusion."""

import asyncio
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from domain.cache import CachedReader, Rows, Tier, cached
from domain.cache.selecting import first_as, select_as
from domain.db.unit import ReadUnit
from domain.market.cached import instruments_named
from domain.research.models import Analysis


class AnalysisFacts(msgspec.Struct, frozen=True):
    """A conclusion; `params` and `result` are JSON as they are stored."""

    id: UUID
    instrument_id: UUID | None
    analysis_type: str
    recommendation: str | None
    confidence: Decimal | None
    workflow_id: str | None
    model: str | None
    created_at: datetime
    params: msgspec.Raw
    result: msgspec.Raw


@cached(
    tier=Tier.ANALYSIS,
    stale_by=[Rows(Analysis, instrument_id="instrument_id", analysis_type="analysis_type")],
)
async def latest_analysis(
    unit: ReadUnit, instrument_id: UUID | None, analysis_type: str
) -> AnalysisFacts | None:
    """Return the newest analysis of one type; of the market as a whole without an instrument."""
    newest = (
        select_as(AnalysisFacts, Analysis)
        .where(Analysis.instrument_id == instrument_id, Analysis.analysis_type == analysis_type)
        .order_by(Analysis.created_at.desc(), Analysis.id.desc())
    )
    return await first_as(unit, AnalysisFacts, newest)


async def latest_analysis_of_symbol(
    reader: CachedReader, symbol: str, analysis_type: str
) -> AnalysisFacts | None:
    """Return the newest analysis of one type of whatever has this ticker, or None."""
    idents = await reader.get(instruments_named, symbol)
    found = await asyncio.gather(
        *(reader.get(latest_analysis, ident, analysis_type) for ident in idents)
    )
    known = [item for item in found if item is not None]
    return max(known, key=lambda item: (item.created_at, item.id), default=None)
