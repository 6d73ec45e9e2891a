"""What is stored about messages: facts written in the transaction that made them true."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.db.orm import Base
from domain.db.types import OpenText


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
        default=None, comment="Messages of one key are delivered in order"
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
    attempts: Mapped[int] = mapped_column(
        init=False, server_default="0", comment="Deliveries tried"
    )
    last_error: Mapped[str | None] = mapped_column(default=None, comment="Why the last one failed")
