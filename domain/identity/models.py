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
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import Base, Owned, Record, Timestamped, Versioned, tenant_key
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


class TenantScope(StrEnum):
    """Which tenants a member of staff sees."""

    ALL = "all"
    CHOSEN = "chosen"
    """Those in ``identity.staff_tenants``, and none without a row there."""


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
    tenant_scope: Mapped[TenantScope] = mapped_column(
        ClosedText(TenantScope),
        default=TenantScope.ALL,
        comment="Whose data the user sees as a member of staff; without meaning for others",
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
        CheckConstraint(
            "(viewing_id IS NULL) = (viewing_since IS NULL)", name="viewing_has_its_beginning"
        ),
        CheckConstraint("viewing_id <> user_id", name="nobody_views_as_themselves"),
        Index(None, "viewing_id"),
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
    viewing_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("identity.users.id", ondelete="CASCADE"),
        default=None,
        comment="As whom a member of staff sees the admin; the login ends with that user",
    )
    viewing_since: Mapped[datetime | None] = mapped_column(
        default=None, comment="Since when they do, UTC; it ends after 30 minutes"
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


class SavedView(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A list as somebody wants it again: its filters, order and columns under a name."""

    __tablename__ = "saved_views"
    __table_args__ = (
        UniqueConstraint("user_id", "view", "name"),
        Index(
            "uq_saved_views_default",
            "user_id",
            "view",
            unique=True,
            postgresql_where=text("is_default"),
        ),
        Index("ix_saved_views_shared", "view", postgresql_where=text("is_shared")),
        CheckConstraint("length(name) BETWEEN 1 AND 60", name="name_length"),
        CheckConstraint("length(query) <= 6000", name="query_length"),
        {"schema": _SCHEMA, "comment": "Lists as people want them again"},
    )

    view: Mapped[str] = mapped_column(OpenText(), comment="The list, as in its address: trades")
    name: Mapped[str] = mapped_column(comment="What it is called, unique for user and list")
    query: Mapped[str] = mapped_column(
        comment="Filters, order and columns, as in the list's address after the question mark"
    )
    is_shared: Mapped[bool] = mapped_column(
        default=False, comment="True: all members of staff see it"
    )
    is_default: Mapped[bool] = mapped_column(
        default=False, comment="True: its owner's list opens with it"
    )
    position: Mapped[int] = mapped_column(default=0, comment="Place among its owner's tabs")

    def __str__(self) -> str:
        return self.name


class ImportStatus(StrEnum):
    """How an import stands."""

    APPLIED = "applied"
    REVERTED = "reverted"


class RowOutcome(StrEnum):
    """What became of a row of an import."""

    INSERTED = "inserted"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"


class TableImport(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A file that a member of staff read into a table, with what became of its rows."""

    __tablename__ = "table_imports"
    __table_args__ = (
        tenant_key(),
        Index("ix_table_imports_content", "view", "sha256"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256_length"),
        CheckConstraint(
            "rows_total = rows_inserted + rows_updated + rows_unchanged + rows_rejected",
            name="rows_add_up",
        ),
        CheckConstraint(
            "(status = 'reverted') = (reverted_at IS NOT NULL)", name="reverted_has_time"
        ),
        {"schema": _SCHEMA, "comment": "Files that staff read into tables"},
    )

    view: Mapped[str] = mapped_column(OpenText(), comment="The table, as in its address")
    filename: Mapped[str] = mapped_column(comment="Name of the file, without folders")
    sha256: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of the file")
    mapping: Mapped[dict[str, Any]] = mapped_column(
        JSONB, comment="Column of the file by attribute, and how rows were treated"
    )
    rows_total: Mapped[int] = mapped_column(comment="Data rows of the file")
    rows_inserted: Mapped[int] = mapped_column(comment="Rows that became new records")
    rows_updated: Mapped[int] = mapped_column(comment="Rows that changed a record")
    rows_unchanged: Mapped[int] = mapped_column(comment="Rows whose record was as they say")
    rows_rejected: Mapped[int] = mapped_column(comment="Rows that were refused")
    status: Mapped[ImportStatus] = mapped_column(
        ClosedText(ImportStatus), default=ImportStatus.APPLIED, comment="Whether it counts"
    )
    reverted_at: Mapped[datetime | None] = mapped_column(default=None, comment="Taken back, UTC")

    def __str__(self) -> str:
        return self.filename


class TableImportRow(Owned, Record, kw_only=True, eq=False, repr=False):
    """What became of one row of an import, and what is needed to take it back."""

    __tablename__ = "table_import_rows"
    __table_args__ = (
        UniqueConstraint("user_id", "import_id", "line"),
        ForeignKeyConstraint(
            ["user_id", "import_id"],
            ["identity.table_imports.user_id", "identity.table_imports.id"],
            ondelete="CASCADE",
        ),
        {"schema": _SCHEMA, "comment": "What became of each row of an import"},
    )

    import_id: Mapped[UUID] = mapped_column(comment="The import")
    line: Mapped[int] = mapped_column(comment="Line of the file, the first one is 1")
    outcome: Mapped[RowOutcome] = mapped_column(
        ClosedText(RowOutcome), comment="What became of the row"
    )
    record_key: Mapped[str | None] = mapped_column(
        default=None, comment="The record, as in its address; NULL for a refused row"
    )
    before: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True), default=None, comment="Texts that an update replaced"
    )
    after: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True), default=None, comment="Texts that were written"
    )
    faults: Mapped[dict[str, Any] | None] = mapped_column(
        JSONB(none_as_null=True), default=None, comment="What was wrong, by column: value and rule"
    )


class RunStatus(StrEnum):
    """How a run over many records stands."""

    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"


class ItemOutcome(StrEnum):
    """What became of a record of a run."""

    DONE = "done"
    SKIPPED = "skipped"


class BulkRun(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """One thing that a member of staff does to many records, in batches."""

    __tablename__ = "bulk_runs"
    __table_args__ = (
        tenant_key(),
        CheckConstraint("done + skipped <= total", name="counts_fit"),
        {"schema": _SCHEMA, "comment": "What staff do to many records at once"},
    )

    view: Mapped[str] = mapped_column(OpenText(), comment="The table, as in its address")
    action: Mapped[str] = mapped_column(OpenText(), comment="What is done to each record")
    params: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="What the action was told: field and text"
    )
    total: Mapped[int] = mapped_column(comment="Records that were chosen")
    done: Mapped[int] = mapped_column(default=0, comment="Records it was done to")
    skipped: Mapped[int] = mapped_column(default=0, comment="Records that were left as they are")
    status: Mapped[RunStatus] = mapped_column(
        ClosedText(RunStatus), default=RunStatus.RUNNING, comment="How it stands"
    )


class BulkItem(Owned, Record, kw_only=True, eq=False, repr=False):
    """One record of a run."""

    __tablename__ = "bulk_items"
    __table_args__ = (
        UniqueConstraint("user_id", "run_id", "position"),
        Index("ix_bulk_items_open", "run_id", "position", postgresql_where=text("outcome IS NULL")),
        ForeignKeyConstraint(
            ["user_id", "run_id"],
            ["identity.bulk_runs.user_id", "identity.bulk_runs.id"],
            ondelete="CASCADE",
        ),
        {"schema": _SCHEMA, "comment": "Records of runs, with what became of each"},
    )

    run_id: Mapped[UUID] = mapped_column(comment="The run")
    position: Mapped[int] = mapped_column(comment="Its turn, from 1")
    record_key: Mapped[str] = mapped_column(comment="The record, as in its address")
    outcome: Mapped[ItemOutcome | None] = mapped_column(
        ClosedText(ItemOutcome), default=None, comment="What became of it; NULL: its turn comes"
    )
    reason: Mapped[str | None] = mapped_column(default=None, comment="Why it was skipped")


__all__ = [
    "SECRET",
    "ApiKey",
    "BulkItem",
    "BulkRun",
    "Effect",
    "ImportStatus",
    "ItemOutcome",
    "NotificationAddress",
    "OAuthToken",
    "RecoveryCode",
    "Role",
    "RolePermission",
    "RowOutcome",
    "RunStatus",
    "SavedView",
    "SecondFactor",
    "TableImport",
    "TableImportRow",
    "TenantScope",
    "Ticket",
    "TicketPurpose",
    "User",
    "UserPreferences",
    "UserSession",
]
