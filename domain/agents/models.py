"""What is stored about AI agents: who they are, what they said, how they stand.

An agent trades through a portfolio of its own; what it traded is in `domain.trading`, which knows
nothing of agents.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import (
    Amount,
    Base,
    Owned,
    Ratio,
    Record,
    Timestamped,
    Versioned,
    tenant_key,
)
from domain.db.types import ClosedText, OpenText
from domain.trading.models import Portfolio

_SCHEMA = "agents"


def _of_agent() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["user_id", "agent_id"], ["agents.agents.user_id", "agents.agents.id"], ondelete="CASCADE"
    )


class MessageRole(StrEnum):
    """Who speaks in a conversation."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Agent(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """An AI model that trades one portfolio: nof0's "model"."""

    __tablename__ = "agents"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("user_id", "slug"),
        UniqueConstraint("user_id", "portfolio_id"),
        ForeignKeyConstraint(
            ["user_id", "portfolio_id"],
            ["trading.portfolios.user_id", "trading.portfolios.id"],
        ),
        Index("ix_agents_slug_prefix", text("slug text_pattern_ops")),
        CheckConstraint("slug ~ '^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}$'", name="slug_format"),
        CheckConstraint("length(display_name) BETWEEN 1 AND 100", name="display_name_length"),
        {"schema": _SCHEMA, "comment": "AI models that trade, one portfolio each"},
    )

    slug: Mapped[str] = mapped_column(comment="nof0's model id, e.g. gpt-5; unique for the user")
    display_name: Mapped[str] = mapped_column(comment="Name for people")
    portfolio_id: Mapped[UUID] = mapped_column(comment="What it trades; no two agents share one")
    provider: Mapped[str | None] = mapped_column(
        OpenText(), default=None, comment="Who runs the model: openai, anthropic, …"
    )
    description: Mapped[str | None] = mapped_column(default=None, comment="What it is told to do")
    archived_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it was retired, UTC"
    )

    portfolio: Mapped[Portfolio] = relationship(init=False, lazy="raise_on_sql", viewonly=True)

    def __str__(self) -> str:
        return self.display_name


class AgentAnalytics(Owned, Base, kw_only=True, eq=False, repr=False):
    """The newest analysis of an agent's behaviour, in the shape that nof0's API has."""

    __tablename__ = "agent_analytics"
    __table_args__ = (
        _of_agent(),
        CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload_object"),
        {"schema": _SCHEMA, "comment": "Newest analysis of each agent"},
    )

    agent_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The agent")
    payload: Mapped[dict[str, Any]] = mapped_column(
        JSONB, comment="nof0's tables: fees, winners and losers, signals, longs and shorts, …"
    )
    updated_at: Mapped[datetime] = mapped_column(comment="When it was computed, UTC")

    agent: Mapped[Agent] = relationship(init=False, lazy="raise_on_sql", viewonly=True)


class Conversation(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """What was said between an agent and those who run it."""

    __tablename__ = "conversations"
    __table_args__ = (
        tenant_key(),
        _of_agent(),
        UniqueConstraint("user_id", "agent_id", "external_id"),
        Index("ix_conversations_agent", "agent_id", text("id DESC")),
        CheckConstraint("message_count >= 0", name="message_count_not_negative"),
        CheckConstraint(
            "(message_count = 0) = (last_message_at IS NULL)", name="last_message_has_time"
        ),
        CheckConstraint("length(external_id) BETWEEN 1 AND 200", name="external_id_length"),
        {"schema": _SCHEMA, "comment": "Conversations of agents"},
    )

    agent_id: Mapped[UUID] = mapped_column(comment="The agent")
    title: Mapped[str | None] = mapped_column(default=None, comment="What it is about")
    external_id: Mapped[str | None] = mapped_column(
        default=None, comment="The source's id: the same conversation is not imported twice"
    )
    message_count: Mapped[int] = mapped_column(
        default=0, comment="How many messages it has: the sequence of the last one"
    )
    last_message_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Time of its newest message, UTC"
    )

    agent: Mapped[Agent] = relationship(init=False, lazy="raise_on_sql", viewonly=True)

    def __str__(self) -> str:
        return self.title or f"{self.message_count} messages"


class Message(Owned, Record, kw_only=True, eq=False, repr=False):
    """One message of a conversation. Said is said: it is never changed."""

    __tablename__ = "messages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["agents.conversations.user_id", "agents.conversations.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("user_id", "conversation_id", "sequence"),
        Index("ix_messages_conversation", "conversation_id", "sequence"),
        CheckConstraint("sequence > 0", name="sequence_positive"),
        CheckConstraint("token_count >= 0", name="token_count_not_negative"),
        {"schema": _SCHEMA, "comment": "Messages of conversations, in their order"},
    )

    conversation_id: Mapped[UUID] = mapped_column(comment="The conversation")
    sequence: Mapped[int] = mapped_column(comment="Place in the conversation, from 1, no gaps")
    role: Mapped[MessageRole] = mapped_column(ClosedText(MessageRole), comment="Who speaks")
    content: Mapped[str] = mapped_column(comment="What is said")
    time: Mapped[datetime] = mapped_column(comment="When it was said, UTC")
    token_count: Mapped[int | None] = mapped_column(
        default=None, comment="Tokens as the provider counted them"
    )

    conversation: Mapped[Conversation] = relationship(
        init=False, lazy="raise_on_sql", viewonly=True
    )


class Standing(Owned, Base, kw_only=True, eq=False, repr=False):
    """One agent's line of the leaderboard: a roll-up of its portfolio, made by a refresh."""

    __tablename__ = "leaderboard"
    __table_args__ = (
        _of_agent(),
        Index("ix_leaderboard_return", text("return_order DESC"), text("agent_id DESC")),
        Index("ix_leaderboard_user", "user_id", text("return_order DESC"), text("agent_id DESC")),
        CheckConstraint(
            "num_wins >= 0 AND num_losses >= 0 AND num_wins + num_losses <= num_trades",
            name="counts_add_up",
        ),
        CheckConstraint("win_dollars >= 0 AND lose_dollars <= 0", name="signs"),
        {"schema": _SCHEMA, "comment": "How agents stand: nof0's nine figures, rolled up"},
    )

    agent_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The agent")
    equity: Mapped[Amount | None] = mapped_column(
        comment="Cash and positions at the newest snapshot, `currency`; NULL: never valued"
    )
    sharpe: Mapped[Ratio | None] = mapped_column(
        comment="Annualised Sharpe ratio of daily returns, 12 decimals; NULL: fewer than two"
        " returns, or all the same"
    )
    num_trades: Mapped[int] = mapped_column(comment="Round trips: closed positions")
    num_wins: Mapped[int] = mapped_column(comment="Round trips with a profit after fees")
    num_losses: Mapped[int] = mapped_column(comment="Round trips with a loss after fees")
    win_dollars: Mapped[Amount] = mapped_column(comment="Sum of these profits, `currency`")
    lose_dollars: Mapped[Amount] = mapped_column(
        comment="Sum of these losses, `currency`, negative"
    )
    return_pct: Mapped[Ratio | None] = mapped_column(
        comment="Profit in percent of net contributions, 12 decimals; NULL: nothing was paid in"
    )
    currency: Mapped[str] = mapped_column(comment="The portfolio's base currency")
    valued_at: Mapped[datetime | None] = mapped_column(comment="Time of the newest snapshot, UTC")
    refreshed_at: Mapped[datetime] = mapped_column(comment="When the line was computed, UTC")
    fingerprint: Mapped[str] = mapped_column(
        comment="Of the snapshots and round trips it was computed from: unchanged, no refresh"
    )
    return_order: Mapped[Decimal] = mapped_column(
        Computed("coalesce(return_pct, -99999999999999999999)", persisted=True),
        init=False,
        comment="return_pct, lowest where that is unknown: what lists are sorted by",
    )

    agent: Mapped[Agent] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
