"""Tells users that an analysis or a screener is done."""

from collections.abc import Sequence

from domain.db.unit import UnitOfWork
from domain.identity.notifying import Announcement, notify
from domain.messaging.consuming import Received
from domain.messaging.messages import AnalysisComplete, ScreenerComplete


async def tell_results(
    unit: UnitOfWork, received: Sequence[Received[AnalysisComplete | ScreenerComplete]]
) -> None:
    """Write a notice for each result, a screener's on the channels that it names.

    A handler for `domain.messaging.consuming.Consumer`.
    """
    for item in received:
        await notify(unit, item.message.user_id, _announcement(item.message))


def _announcement(message: AnalysisComplete | ScreenerComplete) -> Announcement:
    if isinstance(message, ScreenerComplete):
        return Announcement(
            kind="screener",
            title=f"Screener complete: {message.name or message.screener_id}",
            body=f"{message.result_count} results",
            data={
                "screenerId": str(message.screener_id),
                "runId": None if message.run_id is None else str(message.run_id),
                "resultCount": message.result_count,
            },
            channels=message.notify_channels,
        )
    return Announcement(
        kind="analysis",
        title=f"Analysis complete: {message.symbol or 'the market'}",
        body=f"Recommendation: {message.recommendation or 'none'}",
        data={
            "analysisId": None if message.analysis_id is None else str(message.analysis_id),
            "symbol": message.symbol,
            "workflowId": message.workflow_id,
        },
    )
