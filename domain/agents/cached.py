"""Cached answers about agents: how they stand, their track record, analytics and conversations."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from domain.agents.models import Agent, AgentAnalytics, Conversation, Message, MessageRole, Standing
from domain.agents.repositories import AgentRepository
from domain.cache import CachedReader, Rows, Tier, cached
from domain.cache.selecting import all_as, first_as, select_as
from domain.db.exact_json import loads
from domain.db.unit import ReadUnit
from domain.trading.models import EquitySnapshot, Portfolio

_LINES = 100
_CONVERSATIONS = 50
_MESSAGES = 200


class AgentFacts(msgspec.Struct, frozen=True):
    """Who an agent is."""

    id: UUID
    slug: str
    display_name: str
    portfolio_id: UUID
    provider: str | None
    archived_at: datetime | None


class StandingFacts(msgspec.Struct, frozen=True):
    """One line of the leaderboard."""

    agent_id: UUID
    slug: str
    display_name: str
    equity: Decimal | None
    sharpe: Decimal | None
    num_trades: int
    num_wins: int
    num_losses: int
    win_dollars: Decimal
    lose_dollars: Decimal
    return_pct: Decimal | None
    currency: str
    valued_at: datetime | None


class RecordPoint(msgspec.Struct, frozen=True):
    """What a portfolio was worth at one instant, in its base currency."""

    time: datetime
    equity: Decimal


class Analytics(msgspec.Struct, frozen=True):
    """The newest analysis of an agent; `payload` is JSON as it is stored."""

    agent_id: UUID
    updated_at: datetime
    payload: msgspec.Raw

    @property
    def tables(self) -> dict[str, Any]:
        """The payload with every digit: numbers with a point are Decimal."""
        found: dict[str, Any] = loads(bytes(self.payload))
        return found


class ConversationFacts(msgspec.Struct, frozen=True):
    """What a conversation is."""

    id: UUID
    agent_id: UUID
    title: str | None
    external_id: str | None
    message_count: int
    last_message_at: datetime | None


class MessageFacts(msgspec.Struct, frozen=True):
    """One message."""

    sequence: int
    role: MessageRole
    content: str
    time: datetime
    token_count: int | None


class Talk(msgspec.Struct, frozen=True):
    """A conversation with its newest messages, in their order."""

    conversation: ConversationFacts
    messages: tuple[MessageFacts, ...]


@cached(tier=Tier.WARM, stale_by=[Rows(Agent, agent_id="id")])
async def agent(unit: ReadUnit, agent_id: UUID) -> AgentFacts | None:
    """Return an agent."""
    statement = select_as(AgentFacts, Agent).where(Agent.id == agent_id)
    return await first_as(unit, AgentFacts, statement)


@cached(tier=Tier.WARM, stale_by=[Rows(Agent, slug="slug")])
async def agent_named(unit: ReadUnit, slug: str) -> AgentFacts | None:
    """Return the agent with this model id."""
    statement = select_as(AgentFacts, Agent).where(Agent.slug == slug).order_by(Agent.id)
    return await first_as(unit, AgentFacts, statement)


@cached(tier=Tier.WARM, stale_by=[Rows(Standing), Rows(Agent)])
async def leaderboard(unit: ReadUnit) -> tuple[StandingFacts, ...]:
    """Return the first 100 agents that are not retired, best return first."""
    ranked = (
        select_as(StandingFacts, Standing, Agent)
        .join(Agent, (Agent.user_id == Standing.user_id) & (Agent.id == Standing.agent_id))
        .where(Agent.archived_at.is_(None))
        .order_by(Standing.return_order.desc(), Standing.agent_id.desc())
        .limit(_LINES)
    )
    return await all_as(unit, StandingFacts, ranked)


@cached(
    tier=Tier.WARM,
    stale_by=[
        Rows(EquitySnapshot, portfolio_id="portfolio_id"),
        Rows(Portfolio, portfolio_id="id"),
    ],
)
async def track_record(unit: ReadUnit, portfolio_id: UUID) -> tuple[RecordPoint, ...]:
    """Return a portfolio's equity since its inception, thinned out to 500 exact points."""
    points = await unit.repository(AgentRepository).track_record(portfolio_id)
    return tuple(RecordPoint(time, equity) for time, equity in points)


@cached(tier=Tier.ANALYSIS, stale_by=[Rows(AgentAnalytics, agent_id="agent_id")])
async def analytics(unit: ReadUnit, agent_id: UUID) -> Analytics | None:
    """Return the newest analysis of an agent's behaviour."""
    statement = select_as(Analytics, AgentAnalytics).where(AgentAnalytics.agent_id == agent_id)
    return await first_as(unit, Analytics, statement)


@cached(tier=Tier.WARM, stale_by=[Rows(Conversation, agent_id="agent_id")])
async def conversations(unit: ReadUnit, agent_id: UUID) -> tuple[ConversationFacts, ...]:
    """Return the newest 50 conversations of an agent, newest first."""
    newest = (
        select_as(ConversationFacts, Conversation)
        .where(Conversation.agent_id == agent_id)
        .order_by(Conversation.id.desc())
        .limit(_CONVERSATIONS)
    )
    return await all_as(unit, ConversationFacts, newest)


@cached(
    tier=Tier.WARM,
    stale_by=[
        Rows(Conversation, conversation_id="id"),
        Rows(Message, conversation_id="conversation_id"),
    ],
)
async def conversation(unit: ReadUnit, conversation_id: UUID) -> Talk | None:
    """Return a conversation with its newest 200 messages, in their order."""
    head = select_as(ConversationFacts, Conversation).where(Conversation.id == conversation_id)
    facts = await first_as(unit, ConversationFacts, head)
    if facts is None:
        return None
    newest = (
        select_as(MessageFacts, Message)
        .where(Message.conversation_id == conversation_id)
        .order_by(Message.sequence.desc())
        .limit(_MESSAGES)
    )
    messages = await all_as(unit, MessageFacts, newest)
    return Talk(facts, messages[::-1])


async def since_inception(reader: CachedReader, agent_id: UUID) -> tuple[RecordPoint, ...]:
    """Return the track record of an agent; nothing for an unknown one."""
    found = await reader.get(agent, agent_id)
    return () if found is None else await reader.get(track_record, found.portfolio_id)
