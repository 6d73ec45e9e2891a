"""Saves analyses: once for each workflow, announced once."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypedDict
from uuid import UUID

from sqlalchemy import text
from typing_extensions import Unpack

from domain.db import bulk
from domain.db.unit import Unit, UnitOfWork
from domain.errors import InvalidData
from domain.market.models import Instrument
from domain.messaging.messages import AnalysisComplete
from domain.messaging.publishing import publish
from domain.money import checked
from domain.research.models import Analysis
from domain.research.naming import instrument_named, owner_of
from domain.research.plain_json import plain_json
from domain.research.repositories import AnalysisRepository

_KEY: Final = ("user_id", "workflow_id", "analysis_type", "instrument_id")
_LONGEST_ID: Final = 200


class AnalysisDetails(TypedDict, total=False):
    """What may be said about an analysis beyond symbol, type and result."""

    params: dict[str, Any]
    recommendation: str | None
    confidence: Decimal | None
    workflow_id: str | None
    model: str | None
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving did: the stored analysis; is_new is False when its workflow had saved it."""

    analysis: Analysis
    is_new: bool


async def save_analysis(
    unit: UnitOfWork,
    symbol: str | Instrument | None,
    analysis_type: str,
    result: dict[str, Any],
    **details: Unpack[AnalysisDetails],
) -> Saved:
    """Save an analysis and announce it.

    With a workflow id it is saved once: sent again, the first one is returned and nothing is
    announced.

    Args:
        unit: A tenant's unit, or a trusted one that names `user_id`.
        symbol: What was analysed; None for the market as a whole.
        analysis_type: A lower-case word: chart, options, full, …
        result: What was found; Decimals become text.
        **details: See `AnalysisDetails`.

    Raises:
        InvalidData: The symbol is unknown, or a value breaks a rule.

    Example:
        saved = await save_analysis(unit, "AAPL", "chart", {"trend": "up"},
            recommendation="select", workflow_id="wf-1")
    """
    instrument = symbol
    if isinstance(symbol, str):
        instrument = await instrument_named(unit, symbol)
    assert instrument is None or isinstance(instrument, Instrument)  # noqa: S101 - no text is left
    row = _row(owner_of(unit, details.get("user_id")), analysis_type, result, details)
    row["instrument_id"] = None if instrument is None else instrument.id
    inserted = await bulk.insert_new(
        unit.session, Analysis, [row], key=_KEY, where=text("workflow_id IS NOT NULL")
    )
    if not inserted:
        return Saved(await _saved(unit, row), is_new=False)
    (analysis,) = inserted
    message = AnalysisComplete(
        user_id=analysis.user_id,
        analysis_id=analysis.id,
        analysis_type=analysis_type,
        symbol=None if instrument is None else instrument.symbol,
        recommendation=analysis.recommendation,
        workflow_id=analysis.workflow_id,
    )
    await publish(unit, message)
    return Saved(analysis, is_new=True)


def _row(
    owner: UUID, analysis_type: str, result: dict[str, Any], details: AnalysisDetails
) -> dict[str, Any]:
    confidence, workflow_id = details.get("confidence"), details.get("workflow_id")
    if confidence is not None and not 0 <= checked(confidence, "confidence") <= 1:
        raise InvalidData("confidence", str(confidence), "lie between 0 and 1")
    if workflow_id is not None and not 1 <= len(workflow_id) <= _LONGEST_ID:
        raise InvalidData("workflow_id", workflow_id, f"have 1 to {_LONGEST_ID} characters")
    return {
        "user_id": owner,
        "analysis_type": analysis_type,
        "params": plain_json(details.get("params", {}), "params"),
        "result": plain_json(result, "result"),
        "recommendation": details.get("recommendation"),
        "confidence": confidence,
        "workflow_id": workflow_id,
        "model": details.get("model"),
    }


async def _saved(unit: Unit, row: dict[str, Any]) -> Analysis:
    analyses = unit.repository(AnalysisRepository)
    same = [getattr(Analysis, name).is_not_distinct_from(row[name]) for name in _KEY]
    return await analyses.one(analyses.query(*same))
