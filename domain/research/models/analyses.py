"""Analyses: what a program or a person concluded about an instrument."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import Owned, Ratio, Record, tenant_key
from domain.db.types import OpenText
from domain.market.models import Instrument


class Analysis(Owned, Record, kw_only=True, eq=False, repr=False):
    """A conclusion with its inputs. Never updated; a newer one is another row."""

    __tablename__ = "analyses"
    __table_args__ = (
        tenant_key(),
        Index(
            "ix_analyses_instrument",
            "user_id",
            "instrument_id",
            "analysis_type",
            text("created_at DESC"),
            text("id DESC"),
        ),
        Index("ix_analyses_time", "user_id", text("created_at DESC"), text("id DESC")),
        Index("ix_analyses_all_times", text("created_at DESC"), text("id DESC")),
        Index(None, "instrument_id"),
        Index(
            "uq_analyses_workflow",
            "user_id",
            "workflow_id",
            "analysis_type",
            "instrument_id",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("workflow_id IS NOT NULL"),
        ),
        Index(
            "ix_analyses_result",
            "result",
            postgresql_using="gin",
            postgresql_ops={"result": "jsonb_path_ops"},
        ),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence_unit"),
        CheckConstraint("length(workflow_id) BETWEEN 1 AND 200", name="workflow_id_length"),
        {"schema": "research", "comment": "Analyses and their recommendations"},
    )

    analysis_type: Mapped[str] = mapped_column(OpenText(), comment="chart, options, full, …")
    instrument_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"),
        default=None,
        comment="What was analysed; NULL: the market as a whole",
    )
    params: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="What it was asked with"
    )
    result: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="What it found"
    )
    recommendation: Mapped[str | None] = mapped_column(
        OpenText(), default=None, comment="select, reject, neutral, …"
    )
    confidence: Mapped[Ratio | None] = mapped_column(default=None, comment="0 to 1")
    workflow_id: Mapped[str | None] = mapped_column(
        default=None, comment="The run that made it: saved once however often it is sent"
    )
    model: Mapped[str | None] = mapped_column(
        default=None, comment="Program or language model that made it"
    )
    created_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When it was saved, UTC"
    )

    instrument: Mapped[Instrument | None] = relationship(init=False, lazy="raise_on_sql")

    def __str__(self) -> str:
        return self.analysis_type
