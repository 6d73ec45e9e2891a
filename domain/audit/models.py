"""What is stored about changes: one entry a changed row or event, and the seals over them.

Entries are written by the triggers and functions of `domain.audit.declarations` alone; these
models read them.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.db.orm import Base
from domain.db.timeseries import series
from domain.db.types import ClosedText, OpenText

REDACTED: Final = "[redacted]"
"""Stands for every value of a secret column: the log says that it changed, never what it is."""


class Origin(StrEnum):
    """Through which door a change came in."""

    USER = "user"
    STAFF = "staff"
    SYSTEM = "system"
    PSQL = "psql"


class AuditEntry(Base, kw_only=True, eq=False, repr=False):
    """One row that was inserted, updated or deleted, or one event such as a login."""

    __tablename__ = "entries"
    __table_args__ = (
        Index("ix_entries_record", "table_name", "row_key", "at", "id"),
        Index("ix_entries_actor", "actor", "at", "id"),
        Index(
            "ix_entries_tenant", "user_id", "at", "id", postgresql_where=text("user_id IS NOT NULL")
        ),
        Index(
            "ix_entries_request",
            "request_id",
            "at",
            "id",
            postgresql_where=text("request_id IS NOT NULL"),
        ),
        Index(
            "ix_entries_deleted",
            "table_name",
            "at",
            "id",
            postgresql_where=text("action = 'delete'"),
        ),
        # Transaction numbers grow as the table does: the sealer needs no more than this.
        Index("ix_entries_xid", "xid", postgresql_using="brin"),
        CheckConstraint(
            "(action IN ('insert', 'update', 'delete')) <= (row_key IS NOT NULL)",
            name="row_changes_name_a_row",
        ),
        CheckConstraint("row_key IS NULL OR table_name IS NOT NULL", name="row_key_has_table"),
        {
            "schema": "audit",
            "comment": "Who changed which row from what to what, and events such as logins",
            "info": series(by="at", every=timedelta(days=28)),
        },
    )

    at: Mapped[datetime] = mapped_column(
        primary_key=True, init=False, server_default=text("clock_timestamp()"), comment="When, UTC"
    )
    id: Mapped[UUID] = mapped_column(
        primary_key=True,
        init=False,
        server_default=func.uuidv7(),
        comment="Key, UUID version 7: sorts by time, and within a transaction by order",
    )
    xid: Mapped[int] = mapped_column(
        BigInteger,
        init=False,
        server_default=text("(pg_current_xact_id()::text)::bigint"),
        comment="Number of the transaction, that of PostgreSQL without wrap-around",
    )
    cluster: Mapped[int] = mapped_column(
        BigInteger,
        comment="System identifier of the server that counted `xid`: a restored copy counts anew",
    )
    user_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="The tenant whose row it is; no foreign key: history outlives it"
    )
    actor: Mapped[str] = mapped_column(
        comment="Who: a user id, a staff name, system:reason, or the database role"
    )
    origin: Mapped[Origin] = mapped_column(
        ClosedText(Origin),
        comment="By which door: a tenant's unit, staff, a trusted job, or SQL without a unit",
    )
    impersonator: Mapped[str | None] = mapped_column(
        default=None, comment="The member of staff who acted in the actor's name"
    )
    request_id: Mapped[str | None] = mapped_column(
        default=None, comment="The request that it was part of: X-Request-ID"
    )
    action: Mapped[str] = mapped_column(
        OpenText(), comment="insert, update, delete, truncate; login, login-failed, export …"
    )
    table_name: Mapped[str | None] = mapped_column(
        default=None, comment="The table, schema.table; NULL: the event is about none"
    )
    row_key: Mapped[str | None] = mapped_column(
        default=None,
        comment="The row's primary key as text, parts joined by a semicolon",
    )
    old_values: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, default=None, comment="Before, changed columns only; numerics are text"
    )
    new_values: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, default=None, comment="After, changed columns only; numerics are text"
    )
    details: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB, default=None, comment="What else is known of an event: address, rows, reason"
    )


class Seal(Base, kw_only=True, eq=False, repr=False):
    """The hash over the entries of some transactions and over the seal before it."""

    __tablename__ = "seals"
    __table_args__ = (
        UniqueConstraint("hash"),
        CheckConstraint("from_xid < to_xid", name="range_not_empty"),
        CheckConstraint("entries_count > 0", name="entries_count_positive"),
        {"schema": "audit", "comment": "Seals over the audit entries, each over the one before"},
    )

    number: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="Counts up from 1 without a gap"
    )
    cluster: Mapped[int] = mapped_column(
        BigInteger, comment="System identifier of the server that counted the transactions"
    )
    from_xid: Mapped[int] = mapped_column(BigInteger, comment="First transaction number")
    to_xid: Mapped[int] = mapped_column(BigInteger, comment="Last transaction number plus one")
    entries_count: Mapped[int] = mapped_column(BigInteger, comment="Entries of these transactions")
    first_at: Mapped[datetime] = mapped_column(comment="When the earliest entry was written, UTC")
    last_at: Mapped[datetime] = mapped_column(comment="When the latest entry was written, UTC")
    entries_hash: Mapped[str] = mapped_column(
        comment="SHA-256 over the SHA-256 of every entry in the order of xid and id, hex"
    )
    previous_hash: Mapped[str] = mapped_column(comment="Hash of the seal before; empty: the first")
    hash: Mapped[str] = mapped_column(comment="SHA-256 over this seal, hex: what is kept elsewhere")
    sealed_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("clock_timestamp()"), comment="When it was made, UTC"
    )
