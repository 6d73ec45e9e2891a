"""Screeners and their runs: a search over the market, repeated by hand or by the clock."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import Owned, Record, Timestamped, Versioned, tenant_key
from domain.db.types import OpenText

_SCHEMA = "research"


class Screener(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """What to look for, and when to look by itself."""

    __tablename__ = "screeners"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("user_id", "name"),
        Index("ix_screeners_due", "next_run_at", postgresql_where=text("auto_run")),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_length"),
        CheckConstraint("NOT auto_run OR schedule IS NOT NULL", name="auto_run_has_schedule"),
        CheckConstraint("length(schedule) <= 100", name="schedule_length"),
        {"schema": _SCHEMA, "comment": "Screeners: saved searches over the market"},
    )

    name: Mapped[str] = mapped_column(comment="Name, unique for the user")
    screener_type: Mapped[str] = mapped_column(OpenText(), comment="stock, csp, …")
    criteria: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="What to look for"
    )
    description: Mapped[str | None] = mapped_column(default=None, comment="What it is for")
    auto_run: Mapped[bool] = mapped_column(default=False, comment="Runs by its schedule")
    schedule: Mapped[str | None] = mapped_column(
        default=None, comment="Cron expression of five fields, read in `timezone`"
    )
    timezone: Mapped[str] = mapped_column(default="UTC", comment="IANA zone of the schedule")
    notify_channels: Mapped[list[str]] = mapped_column(
        ARRAY(Text), default_factory=list, comment="Where to tell about candidates"
    )
    next_run_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it is due, UTC; NULL: never by itself"
    )

    def __str__(self) -> str:
        return self.name


class ScreenerRun(Owned, Record, kw_only=True, eq=False, repr=False):
    """One run with the criteria it had and what it found. Never updated."""

    __tablename__ = "screener_runs"
    __table_args__ = (
        tenant_key(),
        ForeignKeyConstraint(
            ["user_id", "screener_id"],
            ["research.screeners.user_id", "research.screeners.id"],
            ondelete="SET NULL (screener_id)",
        ),
        Index("ix_screener_runs_screener", "screener_id", text("run_at DESC"), text("id DESC")),
        Index("ix_screener_runs_time", "user_id", text("run_at DESC"), text("id DESC")),
        Index("ix_screener_runs_all_times", text("run_at DESC"), text("id DESC")),
        CheckConstraint("jsonb_typeof(results) = 'array'", name="results_are_list"),
        CheckConstraint(
            "candidates_found >= jsonb_array_length(results)", name="candidates_counted"
        ),
        {"schema": _SCHEMA, "comment": "Runs of screeners"},
    )

    screener_type: Mapped[str] = mapped_column(OpenText(), comment="Type at the time of the run")
    criteria: Mapped[dict[str, Any]] = mapped_column(
        JSONB, comment="Criteria at the time of the run"
    )
    candidates_found: Mapped[int] = mapped_column(
        comment="How many matched; results may hold fewer"
    )
    results: Mapped[list[Any]] = mapped_column(JSONB, comment="What matched, best first")
    run_at: Mapped[datetime] = mapped_column(comment="When it ran, UTC")
    screener_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="The screener; NULL: it was run once, or is gone"
    )

    screener: Mapped[Screener | None] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
