"""What is stored about people and their access. Secrets are stored hashed or encrypted only."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import Base, Owned, Record, Timestamped, Versioned
from domain.db.types import ClosedText, OpenText

SECRET = {"secret": True}
"""Marks a column that no list, form, export, log or history may show."""

_SCHEMA = "identity"
_CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9]$"


class Role(StrEnum):
    """What a user may do; only staff roles enter the admin."""

    ADMIN = "admin"
    MANAGER = "manager"
    ANALYST = "analyst"
    TRADER = "trader"
    USER = "user"
    VIEWER = "viewer"
    SERVICE = "service"


class TicketPurpose(StrEnum):
    """What a single-use token is for."""

    SECOND_STEP = "second_step"
    """A password was right; the code is still missing. It is no login yet."""
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a purpose


class Effect(StrEnum):
    """What a role may do with something."""

    ALLOW = "allow"
    DENY = "deny"
    HIDDEN = "hidden"
    READONLY = "readonly"
    EDITABLE = "editable"


class User(Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A person or service; the tenant that owns portfolios and everything in them."""

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("username"),
        UniqueConstraint("email"),
        UniqueConstraint("external_id"),
        CheckConstraint("username ~ '^[a-z0-9][a-z0-9._-]{0,49}$'", name="username_format"),
        CheckConstraint("email = lower(email) AND length(email) <= 254", name="email_format"),
        CheckConstraint("base_currency ~ '^[A-Z0-9]{2,12}$'", name="base_currency_format"),
        {"schema": _SCHEMA, "comment": "People and services; each is a tenant"},
    )

    username: Mapped[str] = mapped_column(comment="Login name, lower case, unique")
    email: Mapped[str | None] = mapped_column(default=None, comment="E-mail, lower case, unique")
    name: Mapped[str | None] = mapped_column(default=None, comment="Name to show")
    external_id: Mapped[str | None] = mapped_column(
        default=None, comment="Id in the identity provider or the system migrated from"
    )
    password_hash: Mapped[str | None] = mapped_column(
        default=None, comment="Argon2id hash; NULL when only keys or tokens log in", info=SECRET
    )
    role: Mapped[Role] = mapped_column(
        ClosedText(Role), default=Role.USER, comment="What the user may do"
    )
    base_currency: Mapped[str] = mapped_column(
        default="USD", comment="Currency for totals, ISO 4217 or crypto code"
    )
    timezone: Mapped[str] = mapped_column(
        default="UTC", comment="IANA time zone in which times are shown"
    )
    is_active: Mapped[bool] = mapped_column(default=True, comment="False locks the account")
    last_login_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Last successful login, UTC"
    )

    def __str__(self) -> str:
        return self.username


class UserSession(Owned, Record, kw_only=True, eq=False, repr=False):
    """A login that can be revoked; the cookie holds the token, the table only its hash."""

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("token_hash"),
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash_length"),
        CheckConstraint("expires_at > issued_at", name="expires_after_issue"),
        CheckConstraint(
            "revoked_at IS NULL OR revoked_at >= issued_at", name="revoked_after_issue"
        ),
        Index(
            "ix_sessions_live", "user_id", "expires_at", postgresql_where=text("revoked_at IS NULL")
        ),
        {"schema": _SCHEMA, "comment": "Logins, revocable on the server"},
    )

    token_hash: Mapped[bytes] = mapped_column(
        LargeBinary, comment="SHA-256 of the 256-bit token", info=SECRET
    )
    issued_at: Mapped[datetime] = mapped_column(comment="When the user logged in, UTC")
    last_seen_at: Mapped[datetime] = mapped_column(comment="Last request, UTC, to the minute")
    expires_at: Mapped[datetime] = mapped_column(comment="Absolute end, UTC")
    revoked_at: Mapped[datetime | None] = mapped_column(default=None, comment="When revoked, UTC")
    revoked_reason: Mapped[str | None] = mapped_column(default=None, comment="Why it was revoked")
    confirmed_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When the user last proved who they are, UTC; dangerous actions ask"
    )
    ip: Mapped[str | None] = mapped_column(default=None, comment="Address of the login")
    user_agent: Mapped[str | None] = mapped_column(default=None, comment="Browser of the login")


class ApiKey(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A key for programs; shown once, stored as a hash."""

    __tablename__ = "api_keys"
    __table_args__ = (
        UniqueConstraint("user_id", "name"),
        UniqueConstraint("key_hash"),
        CheckConstraint("octet_length(key_hash) = 32", name="key_hash_length"),
        {"schema": _SCHEMA, "comment": "Keys with which programs authenticate"},
    )

    name: Mapped[str] = mapped_column(comment="What the key is for, unique for the user")
    prefix: Mapped[str] = mapped_column(comment="First characters, to recognise the key")
    key_hash: Mapped[bytes] = mapped_column(
        LargeBinary, comment="SHA-256 of the 256-bit key", info=SECRET
    )
    permissions: Mapped[list[str]] = mapped_column(
        ARRAY(Text), default_factory=list, comment="What the key may do; empty: read only"
    )
    expires_at: Mapped[datetime | None] = mapped_column(default=None, comment="End, UTC")
    last_used_at: Mapped[datetime | None] = mapped_column(default=None, comment="Last use, UTC")
    revoked_at: Mapped[datetime | None] = mapped_column(default=None, comment="Revoked, UTC")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class OAuthToken(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A broker's or provider's tokens, encrypted and bound to this row."""

    __tablename__ = "oauth_tokens"
    __table_args__ = (
        UniqueConstraint("user_id", "provider"),
        Index(None, "expires_at"),
        {"schema": _SCHEMA, "comment": "Tokens of brokers and providers, encrypted"},
    )

    provider: Mapped[str] = mapped_column(OpenText(), comment="Who issued the tokens")
    access_token_enc: Mapped[bytes] = mapped_column(
        LargeBinary, comment="Access token, AES-256-GCM, bound to the row", info=SECRET
    )
    refresh_token_enc: Mapped[bytes | None] = mapped_column(
        LargeBinary, default=None, comment="Refresh token, AES-256-GCM", info=SECRET
    )
    key_id: Mapped[str] = mapped_column(comment="Which encryption key was used")
    scopes: Mapped[list[str]] = mapped_column(
        ARRAY(Text), default_factory=list, comment="Scopes that were granted"
    )
    expires_at: Mapped[datetime] = mapped_column(comment="When the access token ends, UTC")


class NotificationAddress(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """Where a user is reached on a channel, encrypted and bound to this row."""

    __tablename__ = "notification_addresses"
    __table_args__ = (
        UniqueConstraint("user_id", "channel"),
        {"schema": _SCHEMA, "comment": "Where users are reached, encrypted"},
    )

    channel: Mapped[str] = mapped_column(OpenText(), comment="email, webhook, discord, slack …")
    address_enc: Mapped[bytes] = mapped_column(
        LargeBinary, comment="E-mail or URL, AES-256-GCM, bound to the row", info=SECRET
    )
    signing_key_enc: Mapped[bytes | None] = mapped_column(
        LargeBinary,
        default=None,
        comment="Key that signs what a webhook gets, AES-256-GCM",
        info=SECRET,
    )
    key_id: Mapped[str] = mapped_column(comment="Which encryption key was used")
    hint: Mapped[str] = mapped_column(comment="What may be shown of it: host, or a…@example.com")

    def __str__(self) -> str:
        return f"{self.channel}: {self.hint}"


class UserPreferences(Timestamped, Base, kw_only=True, eq=False, repr=False):
    """How a user wants things; one row a user."""

    __tablename__ = "preferences"
    __table_args__ = (
        CheckConstraint(f"quiet_from ~ '{_CLOCK}'", name="quiet_from_clock"),
        CheckConstraint(f"quiet_until ~ '{_CLOCK}'", name="quiet_until_clock"),
        CheckConstraint(
            "(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_hours_have_both_ends"
        ),
        CheckConstraint(
            "jsonb_typeof(notification_rules) = 'object'", name="notification_rules_object"
        ),
        {"schema": _SCHEMA, "comment": "How a user wants things"},
    )

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("identity.users.id", ondelete="CASCADE"), primary_key=True, comment="The user"
    )
    default_strategy: Mapped[str | None] = mapped_column(
        default=None, comment="Strategy preset for new trades"
    )
    morning_alert: Mapped[bool] = mapped_column(default=True, comment="Send the morning summary")
    eod_summary: Mapped[bool] = mapped_column(default=True, comment="Send the end-of-day summary")
    notification_channels: Mapped[list[str]] = mapped_column(
        ARRAY(Text), default_factory=list, comment="Channels in order of preference"
    )
    notification_rules: Mapped[dict[str, Any]] = mapped_column(
        JSONB,
        default_factory=dict,
        comment="By kind of notice: its channels, and the severity from which it is told",
    )
    quiet_from: Mapped[str | None] = mapped_column(
        default=None, comment="Start of the quiet hours, HH:MM in the user's time zone"
    )
    quiet_until: Mapped[str | None] = mapped_column(
        default=None, comment="End of the quiet hours, HH:MM; before the start: next day"
    )
    cost_basis_method: Mapped[str] = mapped_column(
        OpenText(), default="fifo", comment="Cost-basis method preset for new portfolios"
    )
    settings: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="Anything else a client remembers"
    )

    user: Mapped[User] = relationship(init=False, lazy="raise_on_sql")


class SecondFactor(Timestamped, Base, kw_only=True, eq=False, repr=False):
    """The secret of a user's authenticator, encrypted and bound to the user; one a user."""

    __tablename__ = "second_factors"
    __table_args__ = (
        CheckConstraint("last_step >= 0", name="last_step_counts_up"),
        {"schema": _SCHEMA, "comment": "Authenticators of the second step of a login, encrypted"},
    )

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("identity.users.id", ondelete="CASCADE"), primary_key=True, comment="The user"
    )
    secret_enc: Mapped[bytes] = mapped_column(
        LargeBinary, comment="Shared secret, AES-256-GCM, bound to the user", info=SECRET
    )
    key_id: Mapped[str] = mapped_column(comment="Which encryption key was used")
    confirmed_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When the first code was right, UTC; NULL: logins do not ask yet"
    )
    last_step: Mapped[int | None] = mapped_column(
        BigInteger, default=None, comment="Newest 30-second step whose code was used: each once"
    )


class RecoveryCode(Owned, Record, kw_only=True, eq=False, repr=False):
    """A code that stands in for the authenticator once."""

    __tablename__ = "recovery_codes"
    __table_args__ = (
        UniqueConstraint("user_id", "code_hash"),
        CheckConstraint("octet_length(code_hash) = 32", name="code_hash_length"),
        {"schema": _SCHEMA, "comment": "Codes for the day the authenticator is lost, hashed"},
    )

    code_hash: Mapped[bytes] = mapped_column(
        LargeBinary, comment="SHA-256 of the 120-bit code", info=SECRET
    )
    used_at: Mapped[datetime | None] = mapped_column(default=None, comment="When used, UTC")


class Ticket(Owned, Record, kw_only=True, eq=False, repr=False):
    """A token that is good once, for one purpose, for a short time."""

    __tablename__ = "tickets"
    __table_args__ = (
        UniqueConstraint("token_hash"),
        CheckConstraint("octet_length(token_hash) = 32", name="token_hash_length"),
        CheckConstraint("expires_at > issued_at", name="expires_after_issue"),
        Index("ix_tickets_user_id_purpose", "user_id", "purpose"),
        {"schema": _SCHEMA, "comment": "Single-use tokens: second steps and password resets"},
    )

    purpose: Mapped[TicketPurpose] = mapped_column(
        ClosedText(TicketPurpose), comment="What it is for"
    )
    token_hash: Mapped[bytes] = mapped_column(
        LargeBinary, comment="SHA-256 of the 256-bit token", info=SECRET
    )
    issued_at: Mapped[datetime] = mapped_column(comment="When it was made, UTC")
    expires_at: Mapped[datetime] = mapped_column(comment="End, UTC")
    issued_by: Mapped[str] = mapped_column(comment="Who made it: a member of staff, or a page")
    used_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it was used or withdrawn, UTC"
    )


class RolePermission(Timestamped, Base, kw_only=True, eq=False, repr=False):
    """Where a role differs from what the code gives it; no row: as the code says."""

    __tablename__ = "role_permissions"
    __table_args__ = (
        CheckConstraint("resource ~ '^[a-z0-9][a-z0-9-]{0,59}$'", name="resource_format"),
        CheckConstraint("action ~ '^[a-z][a-z-]{0,29}$'", name="action_format"),
        CheckConstraint("length(field) <= 63", name="field_length"),
        CheckConstraint(
            "(field = '') = (effect IN ('allow', 'deny'))", name="effect_fits_action_or_field"
        ),
        {"schema": _SCHEMA, "comment": "What roles may do, where it differs from the defaults"},
    )

    role: Mapped[Role] = mapped_column(ClosedText(Role), primary_key=True, comment="The role")
    resource: Mapped[str] = mapped_column(
        primary_key=True, comment="What it is about: the path of a view, such as trades"
    )
    action: Mapped[str] = mapped_column(
        primary_key=True, comment="read, create, edit, delete, export …; field for a field"
    )
    field: Mapped[str] = mapped_column(
        primary_key=True, default="", comment="The column, or empty for an action"
    )
    effect: Mapped[Effect] = mapped_column(
        ClosedText(Effect), comment="allow or deny; hidden, readonly or editable for a field"
    )


__all__ = [
    "SECRET",
    "ApiKey",
    "Effect",
    "NotificationAddress",
    "OAuthToken",
    "RecoveryCode",
    "Role",
    "RolePermission",
    "SecondFactor",
    "Ticket",
    "TicketPurpose",
    "User",
    "UserPreferences",
    "UserSession",
]
