"""Portfolios and the imports that filled them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import (
    Owned,
    Record,
    Timestamped,
    Versioned,
    tenant_key,
)
from domain.db.types import ClosedText, OpenText
from domain.identity.models import User
from domain.trading.models.constraints import SCHEMA, in_portfolio
from domain.trading.terms import (
    AssignmentPolicy,
    CostBasisMethod,
    PositionMode,
)


class BatchStatus(StrEnum):
    """Whether an import stands."""

    APPLIED = "applied"
    REVERTED = "reverted"


class Portfolio(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A set of positions and cash that is measured together."""

    __tablename__ = "portfolios"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("user_id", "name"),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_length"),
        {"schema": SCHEMA, "comment": "Sets of positions and cash measured together"},
    )

    name: Mapped[str] = mapped_column(comment="Name, unique for the user")
    base_currency: Mapped[str] = mapped_column(
        ForeignKey("market.currencies.code"), default="USD", comment="Currency of totals"
    )
    description: Mapped[str | None] = mapped_column(default=None, comment="What it is for")
    cost_basis_method: Mapped[CostBasisMethod] = mapped_column(
        ClosedText(CostBasisMethod),
        default=CostBasisMethod.FIFO,
        comment="Which lots a closing trade consumes; a change needs a replay",
    )
    position_mode: Mapped[PositionMode] = mapped_column(
        ClosedText(PositionMode),
        default=PositionMode.NETTING,
        comment="One position an instrument, or one a reference",
    )
    assignment_policy: Mapped[AssignmentPolicy] = mapped_column(
        ClosedText(AssignmentPolicy),
        default=AssignmentPolicy.SEPARATE,
        comment="Where an assigned option's premium goes",
    )
    broker: Mapped[str | None] = mapped_column(OpenText(), default=None, comment="Broker name")
    external_account: Mapped[str | None] = mapped_column(
        default=None, comment="Account number at the broker, shortened"
    )
    inception_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Start of the track record, UTC; NULL: the first fact"
    )
    archived_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it was put away, UTC"
    )

    user: Mapped[User] = relationship(init=False, lazy="raise_on_sql", viewonly=True)

    def __str__(self) -> str:
        return self.name


class ImportBatch(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """One file that was imported, with its report; can be reverted as a whole."""

    __tablename__ = "import_batches"
    __table_args__ = (
        tenant_key(),
        in_portfolio(),
        Index(None, "portfolio_id", "created_at"),
        CheckConstraint(
            "rows_new >= 0 AND rows_duplicate >= 0 AND rows_rejected >= 0"
            " AND rows_new + rows_duplicate + rows_rejected = rows_total",
            name="rows_add_up",
        ),
        CheckConstraint("octet_length(sha256) = 32", name="sha256_length"),
        {"schema": SCHEMA, "comment": "Imported files and their reports"},
    )

    portfolio_id: Mapped[UUID] = mapped_column(comment="Where the rows went")
    source: Mapped[str] = mapped_column(OpenText(), comment="Format of the file")
    filename: Mapped[str | None] = mapped_column(default=None, comment="Name without folders")
    sha256: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of the file")
    rows_total: Mapped[int] = mapped_column(comment="Data rows in the file")
    rows_new: Mapped[int] = mapped_column(comment="Rows booked")
    rows_duplicate: Mapped[int] = mapped_column(comment="Rows that were booked before")
    rows_rejected: Mapped[int] = mapped_column(comment="Rows refused; the report says why")
    status: Mapped[BatchStatus] = mapped_column(
        ClosedText(BatchStatus), default=BatchStatus.APPLIED, comment="Whether it stands"
    )
    report: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="Refused rows: line, column, value, rule"
    )

    portfolio: Mapped[Portfolio] = relationship(init=False, lazy="raise_on_sql", viewonly=True)

    def __str__(self) -> str:
        return f"{self.source} {self.filename or ''}".strip()
