"""What ties users to others: staff to the tenants they see, users to accounts at providers."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import Base, Owned, Record, Timestamped
from domain.identity.models import User

_SCHEMA = "identity"


class StaffTenant(Timestamped, Base, kw_only=True, eq=False, repr=False):
    """A tenant that a limited member of staff sees."""

    __tablename__ = "staff_tenants"
    __table_args__ = (
        Index(None, "tenant_id"),
        CheckConstraint("staff_id <> tenant_id", name="staff_see_themselves_anyway"),
        {"schema": _SCHEMA, "comment": "Which tenants limited members of staff see"},
    )

    staff_id: Mapped[UUID] = mapped_column(
        ForeignKey("identity.users.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The member of staff",
    )
    tenant_id: Mapped[UUID] = mapped_column(
        ForeignKey("identity.users.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The tenant they see",
    )
    granted_by: Mapped[str] = mapped_column(comment="Who gave it: a member of staff, or a job")

    staff: Mapped[User] = relationship(init=False, lazy="raise_on_sql", foreign_keys=[staff_id])
    tenant: Mapped[User] = relationship(init=False, lazy="raise_on_sql", foreign_keys=[tenant_id])


class ExternalIdentity(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """An account at an identity provider with which a user logs in."""

    __tablename__ = "external_identities"
    __table_args__ = (
        UniqueConstraint("issuer", "subject"),
        CheckConstraint("issuer ~ '^https?://'", name="issuer_is_address"),
        CheckConstraint("length(issuer) <= 500", name="issuer_length"),
        CheckConstraint("length(subject) BETWEEN 1 AND 255", name="subject_length"),
        {"schema": _SCHEMA, "comment": "Accounts at identity providers, by issuer and subject"},
    )

    issuer: Mapped[str] = mapped_column(comment="Who says so: the provider's issuer, as it says")
    subject: Mapped[str] = mapped_column(comment="The provider's id of the account, never reused")
    email: Mapped[str | None] = mapped_column(
        default=None, comment="E-mail when it was linked, to recognise it; nothing is found by it"
    )
    linked_by: Mapped[str] = mapped_column(comment="Who linked it: the user, an administrator")
    last_used_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Last login with it, UTC"
    )

    def __str__(self) -> str:
        return self.email or self.subject
