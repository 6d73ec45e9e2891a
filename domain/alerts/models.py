"""What is stored about alerts: rules with the state of their watching, and firings.

A rule's people change it, and its watching does: only people's changes count its version, so that
an edit is not refused because a price moved meanwhile.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Computed,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from domain.alerts.terms import AlertStatus, Channel, Condition, Severity, TriggerMode
from domain.alerts.wording import FIELDS, LONGEST, check_template
from domain.db.orm import Amount, Owned, Record, Timestamped, Versioned, tenant_key
from domain.db.types import ClosedText, OpenText
from domain.identity.models import User
from domain.market.models import Instrument
from domain.trading.models import Portfolio, Position

_SCHEMA = "alerts"
_CHANNELS = ", ".join(f"'{channel}'" for channel in Channel)
_FIELDS = "|".join(FIELDS)
_TEN_YEARS = 315_360_000


class MessageTemplate(TypeDecorator[str]):
    """Text with named fields; a template that cannot be filled in is refused on its way in."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Refuse a template with unknown fields."""
        del dialect
        return None if value is None else check_template(value)


class Alert(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A rule: what is watched, when it fires, how often, and where it stands."""

    __tablename__ = "alerts"
    __table_args__ = (
        tenant_key(),
        ForeignKeyConstraint(
            ["user_id", "portfolio_id"],
            ["trading.portfolios.user_id", "trading.portfolios.id"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["user_id", "position_id"],
            ["trading.positions.user_id", "trading.positions.id"],
            ondelete="CASCADE",
        ),
        Index(
            "ix_alerts_watched",
            "alert_type",
            "subject_id",
            postgresql_where=text("status = 'active'"),
        ),
        Index("ix_alerts_user", "user_id", "status"),
        Index(
            "ix_alerts_expiring",
            "expires_at",
            postgresql_where=text("status = 'active' AND expires_at IS NOT NULL"),
        ),
        Index(
            "ix_alerts_instrument",
            "instrument_id",
            postgresql_where=text("instrument_id IS NOT NULL"),
        ),
        Index(
            "ix_alerts_portfolio",
            "user_id",
            "portfolio_id",
            postgresql_where=text("portfolio_id IS NOT NULL"),
        ),
        Index(
            "ix_alerts_position",
            "user_id",
            "position_id",
            postgresql_where=text("position_id IS NOT NULL"),
        ),
        Index("ix_alerts_name_prefix", text("lower(name) text_pattern_ops")),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_length"),
        CheckConstraint("condition = 'custom' OR threshold IS NOT NULL", name="threshold_given"),
        CheckConstraint(
            "condition NOT IN ('between', 'outside')"
            " OR (threshold_high IS NOT NULL AND threshold_high > threshold)",
            name="threshold_high_above_threshold",
        ),
        CheckConstraint(
            "condition <> 'pct_change' OR threshold > 0", name="threshold_percent_positive"
        ),
        CheckConstraint("hysteresis >= 0", name="hysteresis_not_negative"),
        CheckConstraint(
            "condition NOT IN ('outside', 'pct_change') OR CASE condition"
            " WHEN 'outside' THEN hysteresis * 2 <= threshold_high - threshold"
            " ELSE hysteresis <= threshold END",
            name="hysteresis_leaves_room",
        ),
        CheckConstraint(
            f"cooldown_seconds BETWEEN 0 AND {_TEN_YEARS}", name="cooldown_seconds_span"
        ),
        CheckConstraint(f"sustain_seconds BETWEEN 0 AND {_TEN_YEARS}", name="sustain_seconds_span"),
        CheckConstraint(f"channels <@ ARRAY[{_CHANNELS}]", name="channels_known"),
        CheckConstraint("jsonb_typeof(conditions) = 'object'", name="conditions_object"),
        CheckConstraint(
            f"length(message_template) <= {LONGEST}"
            f" AND regexp_replace(message_template, '\\{{({_FIELDS})\\}}', '', 'g') !~ '[{{}}]'",
            name="message_template_fields",
        ),
        CheckConstraint("trigger_count >= 0", name="trigger_count_not_negative"),
        {
            "schema": _SCHEMA,
            "comment": "Rules that watch values",
            # Watching rewrites rows without touching an index: room on the page keeps it there.
            "postgresql_with": {"fillfactor": 70},
        },
    )

    name: Mapped[str] = mapped_column(comment="What the user calls it")
    alert_type: Mapped[str] = mapped_column(
        OpenText(), comment="Kind of value watched: price, delta, dte, news or any other word"
    )
    condition: Mapped[Condition] = mapped_column(
        ClosedText(Condition), comment="When the value makes the rule true"
    )
    instrument_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="CASCADE"),
        default=None,
        comment="The instrument watched",
    )
    portfolio_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="The portfolio watched, or the one that the instrument is held in"
    )
    position_id: Mapped[UUID | None] = mapped_column(default=None, comment="The position watched")
    threshold: Mapped[Amount | None] = mapped_column(
        default=None, comment="Limit in the unit of the value; percent for pct_change"
    )
    threshold_high: Mapped[Amount | None] = mapped_column(
        default=None, comment="Upper limit of between and outside"
    )
    hysteresis: Mapped[Amount] = mapped_column(
        default=Decimal(0), comment="How far back beyond the limit a value must be to arm it again"
    )
    conditions: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="More to be met, such as keywords of an article"
    )
    message_template: Mapped[str | None] = mapped_column(
        MessageTemplate(), default=None, comment="What it says, with fields such as {symbol}"
    )
    severity: Mapped[Severity] = mapped_column(
        ClosedText(Severity), default=Severity.INFO, comment="How much it matters"
    )
    channels: Mapped[list[str]] = mapped_column(
        ARRAY(Text), default_factory=list, comment="Where it is told: discord, email, slack, …"
    )
    trigger_mode: Mapped[TriggerMode] = mapped_column(
        ClosedText(TriggerMode), default=TriggerMode.ONCE, comment="How often it may fire"
    )
    cooldown_seconds: Mapped[int] = mapped_column(
        default=0, comment="Seconds after a firing without another"
    )
    sustain_seconds: Mapped[int] = mapped_column(
        default=0, comment="Seconds for which it must stay true before it fires"
    )
    expires_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="First instant at which it is not watched any more, UTC"
    )
    snoozed_until: Mapped[datetime | None] = mapped_column(
        default=None, comment="Silent before this instant, UTC"
    )
    status: Mapped[AlertStatus] = mapped_column(
        ClosedText(AlertStatus), default=AlertStatus.ACTIVE, comment="Whether it is watched"
    )
    is_armed: Mapped[bool] = mapped_column(
        default=True, comment="False after a firing, until the value was back beyond the limit"
    )
    last_value: Mapped[Amount | None] = mapped_column(
        default=None, comment="Last value seen, unit of the kind"
    )
    last_evaluated_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Instant of that value, UTC; older ones are ignored"
    )
    condition_since: Mapped[datetime | None] = mapped_column(
        default=None, comment="Since when it has been true, UTC; NULL: it is not"
    )
    last_triggered_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Instant of the last value that fired, UTC"
    )
    last_period_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="Start of the bar or day that fired last, UTC"
    )
    trigger_count: Mapped[int] = mapped_column(default=0, comment="Firings so far")
    subject_id: Mapped[UUID | None] = mapped_column(
        Computed("coalesce(position_id, instrument_id, portfolio_id)", persisted=True),
        init=False,
        comment="What is watched: the position, else the instrument, else the portfolio",
    )

    user: Mapped[User] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    instrument: Mapped[Instrument | None] = relationship(init=False, lazy="raise_on_sql")
    portfolio: Mapped[Portfolio | None] = relationship(
        init=False, lazy="raise_on_sql", viewonly=True
    )
    position: Mapped[Position | None] = relationship(init=False, lazy="raise_on_sql", viewonly=True)

    def __str__(self) -> str:
        return self.name


class AlertEvent(Owned, Record, kw_only=True, eq=False, repr=False):
    """A firing of a rule, or what a program reported. Only how it was answered may change."""

    __tablename__ = "alert_events"
    __table_args__ = (
        tenant_key(),
        ForeignKeyConstraint(
            ["user_id", "alert_id"],
            ["alerts.alerts.user_id", "alerts.alerts.id"],
            ondelete="SET NULL (alert_id)",
        ),
        UniqueConstraint("user_id", "dedupe_key", postgresql_nulls_not_distinct=True),
        Index(
            "ix_alert_events_open",
            "user_id",
            text("triggered_at DESC"),
            text("id DESC"),
            postgresql_where=text("NOT acknowledged"),
        ),
        Index(
            "ix_alert_events_open_to_staff",
            text("triggered_at DESC"),
            text("id DESC"),
            postgresql_where=text("NOT acknowledged"),
        ),
        Index("ix_alert_events_user", "user_id", text("triggered_at DESC"), text("id DESC")),
        Index("ix_alert_events_alert", "user_id", "alert_id", text("triggered_at DESC")),
        Index("ix_alert_events_triggered", text("triggered_at DESC"), text("id DESC")),
        Index(
            "ix_alert_events_instrument",
            "instrument_id",
            text("triggered_at DESC"),
            postgresql_where=text("instrument_id IS NOT NULL"),
        ),
        Index(
            "ix_alert_events_acknowledged_by",
            "acknowledged_by",
            postgresql_where=text("acknowledged_by IS NOT NULL"),
        ),
        Index("ix_alert_events_tags", "tags", postgresql_using="gin"),
        CheckConstraint("length(title) BETWEEN 1 AND 200", name="title_length"),
        CheckConstraint("length(source) BETWEEN 1 AND 100", name="source_length"),
        CheckConstraint("length(dedupe_key) BETWEEN 1 AND 200", name="dedupe_key_length"),
        CheckConstraint("jsonb_typeof(details) = 'object'", name="details_object"),
        CheckConstraint(
            "acknowledged_by IS NULL OR acknowledged_at IS NOT NULL", name="acknowledged_at_given"
        ),
        # A composite key with a NULL in it is not checked: nobody's event may name no rule.
        CheckConstraint("alert_id IS NULL OR user_id IS NOT NULL", name="alert_of_user"),
        CheckConstraint(f"channels_notified <@ ARRAY[{_CHANNELS}]", name="channels_notified_known"),
        {"schema": _SCHEMA, "comment": "Firings of rules, and what programs reported"},
    )

    user_id: Mapped[UUID | None] = mapped_column(  # type: ignore[assignment]  # wider: NULL is staff's
        ForeignKey("identity.users.id", ondelete="CASCADE"),
        default=None,
        sort_order=-90,
        comment="The tenant that owns the row; NULL: about the system, for staff only",
    )
    alert_type: Mapped[str] = mapped_column(OpenText(), comment="Kind of value, or system")
    title: Mapped[str] = mapped_column(comment="One line")
    message: Mapped[str] = mapped_column(comment="What happened, in full")
    source: Mapped[str] = mapped_column(comment="Who says so: rule, or the name of a program")
    dedupe_key: Mapped[str] = mapped_column(
        comment="The same thing said twice is stored once: rule and occurrence, or any text"
    )
    triggered_at: Mapped[datetime] = mapped_column(comment="Instant of the value or report, UTC")
    severity: Mapped[Severity] = mapped_column(
        ClosedText(Severity), default=Severity.INFO, comment="How much it matters"
    )
    alert_id: Mapped[UUID | None] = mapped_column(default=None, comment="The rule, while it exists")
    instrument_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="SET NULL"),
        default=None,
        comment="The instrument it is about",
    )
    observed_value: Mapped[Amount | None] = mapped_column(
        default=None, comment="The value that fired, unit of the kind"
    )
    threshold: Mapped[Amount | None] = mapped_column(
        default=None, comment="The rule's limit at that time"
    )
    occurrence: Mapped[int] = mapped_column(default=1, comment="Counts the firings of the rule")
    details: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="Everything else; amounts are strings"
    )
    tags: Mapped[list[str]] = mapped_column(
        ARRAY(Text), default_factory=list, comment="Words to find it by"
    )
    channels_notified: Mapped[list[str]] = mapped_column(
        ARRAY(Text), default_factory=list, comment="Where it was told"
    )
    acknowledged_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When somebody saw it, UTC"
    )
    acknowledged_by: Mapped[UUID | None] = mapped_column(
        ForeignKey("identity.users.id", ondelete="SET NULL"), default=None, comment="Who saw it"
    )
    resolved_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When its cause was gone, UTC"
    )
    acknowledged: Mapped[bool] = mapped_column(
        Computed("acknowledged_at IS NOT NULL", persisted=True),
        init=False,
        comment="Whether somebody saw it",
    )

    user: Mapped[User | None] = relationship(
        init=False, lazy="raise_on_sql", viewonly=True, foreign_keys=[user_id]
    )
    alert: Mapped[Alert | None] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    instrument: Mapped[Instrument | None] = relationship(init=False, lazy="raise_on_sql")

    def __str__(self) -> str:
        return self.title


__all__ = ["Alert", "AlertEvent", "MessageTemplate"]
