"""Metrics: named numbers over time, told apart by labels. A time series, without surrogate key."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, LargeBinary, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from domain.db.orm import Amount, Base
from domain.db.timeseries import series
from domain.db.types import OpenText

# The binary forms: text would depend on the session's encoding, and may not be generated from.
_SERIES = "sha256(coalesce(uuid_send(user_id), ''::bytea) || jsonb_send(labels))"


class Metric(Base, kw_only=True, eq=False, repr=False):
    """One value of one series at one instant."""

    __tablename__ = "metrics"
    __table_args__ = (
        Index("ix_metrics_name", "metric_name", text('"time" DESC')),
        Index(
            "ix_metrics_user",
            "user_id",
            "metric_name",
            text('"time" DESC'),
            postgresql_where=text("user_id IS NOT NULL"),
        ),
        Index(
            "ix_metrics_labels",
            "labels",
            postgresql_using="gin",
            postgresql_ops={"labels": "jsonb_path_ops"},
        ),
        CheckConstraint("jsonb_typeof(labels) = 'object'", name="labels_are_object"),
        {
            "schema": "research",
            "comment": "Named numbers over time",
            "info": series(by="time", every=timedelta(days=30), coarse_after=timedelta(days=730)),
        },
    )

    metric_name: Mapped[str] = mapped_column(
        OpenText(), primary_key=True, comment="What is measured: portfolio_value, volatility_20d"
    )
    labels_hash: Mapped[bytes] = mapped_column(
        LargeBinary,
        Computed(_SERIES, persisted=True),
        primary_key=True,
        init=False,
        comment="SHA-256 of owner and labels: names the series",
    )
    time: Mapped[datetime] = mapped_column(primary_key=True, comment="When it was measured, UTC")
    value: Mapped[Amount] = mapped_column(comment="The number, in the unit that its name says")
    labels: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="Tells series of one name apart: words to words"
    )
    user_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("identity.users.id", ondelete="CASCADE"),
        default=None,
        comment="Whose it is; NULL: everybody reads it",
    )
