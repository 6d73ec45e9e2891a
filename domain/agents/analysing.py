"""Keeps the newest analysis of an agent: a payload that somebody else computed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, literal
from sqlalchemy.dialects.postgresql import JSONB, insert

from domain.agents.models import Agent, AgentAnalytics
from domain.clock import as_utc
from domain.db.exact_json import dumps
from domain.db.unit import UnitOfWork


async def record_analytics(
    unit: UnitOfWork, agent: Agent, payload: Mapping[str, Any], *, updated_at: datetime
) -> bool:
    """Store `payload` unless a newer one is there.

    Args:
        unit: An open transaction.
        agent: Whose behaviour it describes.
        payload: JSON as nof0's API has it; numbers are int or Decimal, stored with all digits.
        updated_at: When it was computed, aware.

    Returns:
        Whether it was stored.

    Raises:
        InvalidData: `updated_at` is naive, or the payload holds a float.
    """
    values = {
        "agent_id": agent.id,
        "user_id": agent.user_id,
        # As text: the driver's JSON would turn decimals into floats.
        "payload": cast(literal(dumps(payload), Text), JSONB),
        "updated_at": as_utc(updated_at, "updated_at"),
    }
    await unit.flush()
    statement = insert(AgentAnalytics).values(**values)
    newest = statement.on_conflict_do_update(
        index_elements=[AgentAnalytics.agent_id],
        set_={name: statement.excluded[name] for name in ("payload", "updated_at")},
        where=AgentAnalytics.updated_at <= statement.excluded.updated_at,
    )
    written = await unit.session.scalars(newest.returning(AgentAnalytics.agent_id))
    return written.first() is not None
