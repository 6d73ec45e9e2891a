"""What is asked about agents, their conversations and how they stand."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, select
from sqlalchemy.orm import joinedload

from domain.agents.downsampling import lttb
from domain.agents.models import Agent, AgentAnalytics, Conversation, Message, Standing
from domain.db.bulk import any_of
from domain.db.exact_json import loads
from domain.db.page import Page
from domain.db.repository import Repository
from domain.errors import NotFound
from domain.trading.models import EquitySnapshot, Portfolio


class AgentRepository(Repository[Agent]):
    """Agents."""

    async def by_slug(self, slug: str) -> Agent:
        """Return the agent with this model id, with its portfolio.

        Raises:
            NotFound: None of this tenant's agents has it.
        """
        found = await self.find_slug(slug)
        if found is None:
            raise NotFound(f"agent {slug!r} was not found")
        return found

    async def find_slug(self, slug: str) -> Agent | None:
        """Return the agent with this model id, with its portfolio, or None."""
        statement = self.query(Agent.slug == slug).options(joinedload(Agent.portfolio))
        return await self.first(statement.order_by(Agent.id))

    async def since_inception(
        self, agent: Agent, *, limit: int = 500
    ) -> Sequence[tuple[datetime, Decimal]]:
        """Return (time, equity) of the agent's track record, oldest first.

        Args:
            agent: Which agent.
            limit: More points than that are thinned out with `domain.agents.downsampling.lttb`:
                those that remain are exact.

        Raises:
            InvalidData: `limit` is below 3.
        """
        return await self.track_record(agent.portfolio_id, limit=limit)

    async def track_record(
        self, portfolio_id: UUID, *, limit: int = 500
    ) -> Sequence[tuple[datetime, Decimal]]:
        """Return (time, equity) of a portfolio's track record, as `since_inception` does."""
        statement = (
            select(EquitySnapshot.time, EquitySnapshot.equity)
            .join(
                Portfolio,
                (Portfolio.user_id == EquitySnapshot.user_id)
                & (Portfolio.id == EquitySnapshot.portfolio_id),
            )
            .where(
                EquitySnapshot.portfolio_id == portfolio_id,
                Portfolio.inception_at.is_(None) | (EquitySnapshot.time >= Portfolio.inception_at),
            )
            .order_by(EquitySnapshot.time)
        )
        found = await self.session.execute(statement)
        return lttb([(time, equity) for time, equity in found], limit)


class AgentAnalyticsRepository(Repository[AgentAnalytics]):
    """The newest analysis of each agent."""

    async def exact(self, agents: Iterable[Agent] | None = None) -> Mapping[UUID, dict[str, Any]]:
        """Return payloads by agent id, with every digit: an entity's `payload` has floats.

        Args:
            agents: Whose; None: of the whole scope.
        """
        chosen = self.query() if agents is None else self.query(_is_of(agents))
        statement = chosen.order_by(AgentAnalytics.agent_id).with_only_columns(
            AgentAnalytics.agent_id, cast(AgentAnalytics.payload, Text)
        )
        found = await self.session.execute(statement)
        return {agent_id: loads(payload) for agent_id, payload in found}


def _is_of(agents: Iterable[Agent]) -> ColumnElement[bool]:
    return AgentAnalytics.agent_id == any_of({agent.id for agent in agents})


class ConversationRepository(Repository[Conversation]):
    """Conversations."""

    async def of(
        self, agent: Agent, *, limit: int = 50, after: str | None = None
    ) -> Page[Conversation]:
        """Return a page of the agent's conversations, newest first."""
        newest = self.query(Conversation.agent_id == agent.id).order_by(Conversation.id.desc())
        return await self.page(newest, limit=limit, after=after)


class MessageRepository(Repository[Message]):
    """Messages."""

    async def of(
        self, conversation: Conversation, *, limit: int = 50, after: str | None = None
    ) -> Page[Message]:
        """Return a page of the conversation's messages in their order."""
        spoken = self.query(Message.conversation_id == conversation.id)
        return await self.page(spoken.order_by(Message.sequence), limit=limit, after=after)


class StandingRepository(Repository[Standing]):
    """The leaderboard, as its last refresh left it."""

    async def ranked(self, *, limit: int = 100) -> Sequence[Standing]:
        """Return the lines of agents that are not retired, with them, best return first."""
        statement = (
            self.query(Agent.archived_at.is_(None))
            .join(Agent, (Agent.user_id == Standing.user_id) & (Agent.id == Standing.agent_id))
            .options(joinedload(Standing.agent))
            .order_by(Standing.return_order.desc(), Standing.agent_id.desc())
        )
        return await self.all(statement.limit(limit))
