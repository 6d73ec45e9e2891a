"""What is stored about messages: facts on their way out, notices for people, what was handled."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.db.orm import Base, Owned, Record
from domain.db.types import ClosedText, OpenText


class NotificationStatus(StrEnum):
    """How far a notice got."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    READ = "read"


class OutboxMessage(Base, kw_only=True, eq=False, repr=False):
    """A fact to be delivered after the commit, at least once, in the order of its key."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("event_id"),
        Index("ix_outbox_waiting", "id", postgresql_where=text("published_at IS NULL")),
        {"schema": "messaging", "comment": "Facts on their way to others"},
    )

    id: Mapped[int] = mapped_column(
        BigInteger,
        Identity(always=True),
        primary_key=True,
        init=False,
        comment="Counts up; not the order of commits",
    )
    event_id: Mapped[UUID] = mapped_column(
        init=False, server_default=text("gen_random_uuid()"), comment="Lets consumers deduplicate"
    )
    topic: Mapped[str] = mapped_column(OpenText(), comment="What happened, e.g. trade.recorded")
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB, comment="The fact; amounts are strings")
    key: Mapped[str | None] = mapped_column(
        default=None, comment="Messages of one tenant and key are delivered in order"
    )
    user_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("identity.users.id", ondelete="CASCADE"),
        default=None,
        comment="The tenant, for a tenant's fact",
    )
    created_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When it was written, UTC"
    )
    published_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it was delivered, UTC"
    )


class FailedDelivery(Base, kw_only=True, eq=False, repr=False):
    """A message that a consumer could not handle yet; the row goes when it could.

    While it is here and not dead, the consumer gets no later message of the same key.
    """

    __tablename__ = "failed_deliveries"
    __table_args__ = (
        Index("ix_failed_deliveries_message", "message_id"),
        Index(
            "ix_failed_deliveries_held",
            "consumer",
            "key",
            "message_id",
            postgresql_where=text("dead_at IS NULL"),
        ),
        Index(
            "ix_failed_deliveries_due",
            "consumer",
            "next_attempt_at",
            postgresql_where=text("dead_at IS NULL"),
        ),
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        {"schema": "messaging", "comment": "Messages that could not be handled: to retry, or dead"},
    )

    consumer: Mapped[str] = mapped_column(OpenText(), primary_key=True, comment="Who failed")
    message_id: Mapped[int] = mapped_column(
        BigInteger,
        primary_key=True,
        comment="The message: its number in the outbox",
    )
    topic: Mapped[str] = mapped_column(OpenText(), comment="Its topic")
    key: Mapped[str | None] = mapped_column(
        default=None, comment="Its tenant and key: what it holds up"
    )
    attempts: Mapped[int] = mapped_column(default=1, comment="Attempts that failed")
    last_error: Mapped[str] = mapped_column(comment="Why the last one failed, without secrets")
    failed_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When the last one failed, UTC"
    )
    next_attempt_at: Mapped[datetime] = mapped_column(comment="When the next one is due, UTC")
    dead_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it was given up, UTC; NULL: it is tried again"
    )


class Notification(Owned, Record, kw_only=True, eq=False, repr=False):
    """A notice for one user by one channel."""

    __tablename__ = "notifications"
    __table_args__ = (
        Index("ix_notifications_newest", "user_id", text("created_at DESC")),
        Index(
            "ix_notifications_waiting",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
        ),
        CheckConstraint("length(title) BETWEEN 1 AND 200", name="title_length"),
        CheckConstraint(
            "(status = 'pending') OR (status = 'failed') OR sent_at IS NOT NULL",
            name="sent_has_time",
        ),
        CheckConstraint("(status = 'read') = (read_at IS NOT NULL)", name="read_has_time"),
        {"schema": "messaging", "comment": "Notices for users, one row a channel"},
    )

    channel: Mapped[str] = mapped_column(
        OpenText(), comment="Way to the user: in_app, email, discord, slack, webhook, log …"
    )
    kind: Mapped[str] = mapped_column(
        OpenText(), default="notice", comment="What it is about: alert, analysis, screener …"
    )
    severity: Mapped[str] = mapped_column(
        OpenText(), default="info", comment="How much it matters: debug, info, warning, critical"
    )
    title: Mapped[str] = mapped_column(comment="Headline, 1 to 200 characters")
    body: Mapped[str] = mapped_column(comment="Text")
    data: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="What programs need; amounts are strings"
    )
    status: Mapped[NotificationStatus] = mapped_column(
        ClosedText(NotificationStatus),
        default=NotificationStatus.PENDING,
        comment="How far it got",
    )
    attempts: Mapped[int] = mapped_column(default=0, comment="Deliveries tried")
    last_error: Mapped[str | None] = mapped_column(
        default=None, comment="Why the last one failed, without secrets"
    )
    created_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When it was written, UTC"
    )
    next_attempt_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Not before this, UTC: quiet hours, a pause; NULL: at once"
    )
    sent_at: Mapped[datetime | None] = mapped_column(default=None, comment="When it left, UTC")
    read_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When the user opened it, UTC"
    )


class ProcessedMessage(Base, kw_only=True, eq=False, repr=False):
    """A message that a consumer has handled: a second delivery changes nothing."""

    __tablename__ = "processed_messages"
    __table_args__ = (
        Index("ix_processed_messages_time", "processed_at", postgresql_using="brin"),
        {"schema": "messaging", "comment": "What consumers have handled"},
    )

    consumer: Mapped[str] = mapped_column(OpenText(), primary_key=True, comment="Who handled it")
    message_id: Mapped[str] = mapped_column(primary_key=True, comment="The message's own id")
    processed_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When, UTC"
    )
    result: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, default=None, comment="What came of it"
    )


class ScheduledJob(Base, kw_only=True, eq=False, repr=False):
    """A job that comes again, and how it went; of many workers one runs it."""

    __tablename__ = "jobs"
    __table_args__ = (
        {"schema": "messaging", "comment": "Jobs of the worker: when they come and how they went"},
    )

    name: Mapped[str] = mapped_column(OpenText(), primary_key=True, comment="The job")
    schedule: Mapped[str] = mapped_column(comment="Cron expression of five fields, in UTC")
    next_run_at: Mapped[datetime] = mapped_column(comment="When it comes next, UTC")
    running_until: Mapped[datetime | None] = mapped_column(
        default=None, comment="Nobody else starts it before this, UTC; NULL: it does not run"
    )
    last_started_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it last began, UTC"
    )
    last_finished_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it last ended, well or not, UTC"
    )
    last_error: Mapped[str | None] = mapped_column(
        default=None, comment="Why the last run failed, without secrets; NULL: it did not"
    )
    last_result: Mapped[str | None] = mapped_column(
        default=None, comment="What the last run did, in words"
    )
