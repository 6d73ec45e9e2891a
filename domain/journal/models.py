"""What is stored in the journal: entries, setups, tags, links to trades, attachments.

Every row carries its tenant, and composite foreign keys keep a tree inside one tenant. Profit of
an entry with linked trades is the ledger's: see `domain.journal.profit`.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from domain.db.orm import Amount, Base, Owned, Price, Record, Timestamped, Versioned, tenant_key
from domain.db.types import ClosedText
from domain.errors import InvalidData
from domain.journal.terms import Direction, EntryKind, PnlSource, TagCategory, TradeRole
from domain.market.models import Instrument
from domain.trading.models import Trade

_SCHEMA = "journal"

FROM_THE_LEDGER = ("pnl", "pnl_percent", "fees", "currency")
"""Columns that the ledger fills when trades are linked; a typed value is refused then."""

_SEARCH = " || ".join(
    f"setweight(to_tsvector('english'::regconfig, coalesce({column}, '')), '{weight}')"
    for column, weight in (
        ("title", "A"),
        ("strategy", "A"),
        ("thesis", "B"),
        ("lessons", "B"),
        ("notes", "C"),
        ("emotion", "D"),
    )
)


def _of_entry() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["user_id", "entry_id"],
        ["journal.journal_entries.user_id", "journal.journal_entries.id"],
        ondelete="CASCADE",
    )


def _optional(column: str, target: str) -> ForeignKeyConstraint:
    # Plain SET NULL would null the tenant too.
    return ForeignKeyConstraint(
        ["user_id", column],
        [f"{target}.user_id", f"{target}.id"],
        ondelete=f"SET NULL ({column})",
    )


def _given(*columns: str) -> Index:
    condition = text(f"{columns[-1]} IS NOT NULL")
    return Index(
        f"ix_journal_entries_{columns[-1]}", "user_id", *columns, postgresql_where=condition
    )


class Setup(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A way to trade that is repeated on purpose, with its rules."""

    __tablename__ = "setups"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("user_id", "name"),
        CheckConstraint("length(name) BETWEEN 1 AND 100", name="name_length"),
        CheckConstraint("jsonb_typeof(checklist) = 'array'", name="checklist_is_list"),
        {"schema": _SCHEMA, "comment": "Setups with their rules"},
    )

    name: Mapped[str] = mapped_column(comment="Name, unique for the user")
    rules: Mapped[str | None] = mapped_column(default=None, comment="When to enter, when not")
    checklist: Mapped[list[str]] = mapped_column(
        JSONB, default_factory=list, comment="Questions to answer before entering, in order"
    )
    archived_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When it was put away, UTC"
    )

    def __str__(self) -> str:
        return self.name


class Tag(Owned, Record, kw_only=True, eq=False, repr=False):
    """A word that entries share; its case does not matter."""

    __tablename__ = "tags"
    __table_args__ = (
        tenant_key(),
        Index("uq_tags_name", "user_id", "category", text("lower(name)"), unique=True),
        CheckConstraint("length(name) BETWEEN 1 AND 50", name="name_length"),
        CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name="color_format"),
        {"schema": _SCHEMA, "comment": "Tags of journal entries"},
    )

    name: Mapped[str] = mapped_column(comment="The word as it was first written")
    category: Mapped[TagCategory] = mapped_column(
        ClosedText(TagCategory), default=TagCategory.GENERAL, comment="What it is about"
    )
    color: Mapped[str | None] = mapped_column(default=None, comment="Colour to show, #rrggbb")

    def __str__(self) -> str:
        return self.name


class JournalEntry(Owned, Versioned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """What was planned, done, felt and learned: about a trade, a day, a week or an idea."""

    __tablename__ = "journal_entries"
    __table_args__ = (
        tenant_key(),
        _optional("portfolio_id", "trading.portfolios"),
        _optional("position_id", "trading.positions"),
        _optional("setup_id", "journal.setups"),
        _optional("analysis_id", "research.analyses"),
        Index("ix_journal_entries_day", "user_id", text("entry_on DESC"), text("id DESC")),
        Index("ix_journal_entries_all_days", text("entry_on DESC"), text("id DESC")),
        Index("ix_journal_entries_instrument", "instrument_id", "user_id", text("entry_on DESC")),
        Index(
            "ix_journal_entries_open",
            "user_id",
            postgresql_where=text("exit_on IS NULL AND kind = 'trade'"),
        ),
        _given("portfolio_id"),
        _given("position_id"),
        _given("setup_id"),
        _given("analysis_id"),
        Index("ix_journal_entries_search", "search", postgresql_using="gin"),
        CheckConstraint("exit_on >= entry_on", name="exit_after_entry"),
        CheckConstraint("exit_at >= entry_at", name="exit_instant_after_entry"),
        CheckConstraint("exit_price IS NULL OR exit_on IS NOT NULL", name="exit_price_has_day"),
        CheckConstraint("initial_risk > 0", name="initial_risk_positive"),
        CheckConstraint("jsonb_typeof(legs) = 'array'", name="legs_are_list"),
        CheckConstraint("rating BETWEEN 1 AND 5", name="rating_range_stars"),
        CheckConstraint("length(title) BETWEEN 1 AND 200", name="title_length"),
        {"schema": _SCHEMA, "comment": "Journal entries"},
    )

    entry_on: Mapped[date] = mapped_column(
        comment="The trader's day of the entry, or the day that is written about"
    )
    kind: Mapped[EntryKind] = mapped_column(
        ClosedText(EntryKind), default=EntryKind.TRADE, comment="What it is about"
    )
    title: Mapped[str | None] = mapped_column(default=None, comment="Headline")
    portfolio_id: Mapped[UUID | None] = mapped_column(default=None, comment="Where it was traded")
    instrument_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="RESTRICT"),
        default=None,
        comment="What was traded; the underlying of an option structure",
    )
    position_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="The position cycle it describes: all of its profit is the entry's"
    )
    setup_id: Mapped[UUID | None] = mapped_column(default=None, comment="The setup that was traded")
    analysis_id: Mapped[UUID | None] = mapped_column(
        default=None, comment="The analysis that led to it"
    )
    strategy: Mapped[str | None] = mapped_column(default=None, comment="csp, iron condor, swing, …")
    direction: Mapped[Direction | None] = mapped_column(
        ClosedText(Direction), default=None, comment="What was expected of the price"
    )
    legs: Mapped[list[Any]] = mapped_column(
        JSONB, default_factory=list, comment="Legs of a structure as they were written down"
    )
    entry_at: Mapped[datetime | None] = mapped_column(default=None, comment="When entered, UTC")
    entry_price: Mapped[Price | None] = mapped_column(
        default=None, comment="Quote currency a unit; net credit of a structure is negative"
    )
    exit_on: Mapped[date | None] = mapped_column(default=None, comment="Day of the exit")
    exit_at: Mapped[datetime | None] = mapped_column(default=None, comment="When left, UTC")
    exit_price: Mapped[Price | None] = mapped_column(default=None, comment="Quote currency a unit")
    planned_entry: Mapped[Price | None] = mapped_column(
        default=None, comment="Planned entry price, quote currency a unit"
    )
    planned_stop: Mapped[Price | None] = mapped_column(
        default=None, comment="Price at which the idea is wrong, quote currency a unit"
    )
    planned_target: Mapped[Price | None] = mapped_column(
        default=None, comment="Planned exit price, quote currency a unit"
    )
    initial_risk: Mapped[Amount | None] = mapped_column(
        default=None, comment="What was at risk at the entry, `currency`; 1 R"
    )
    pnl: Mapped[Amount | None] = mapped_column(
        default=None, comment="Profit after fees, `currency`; NULL while nothing was realized"
    )
    pnl_percent: Mapped[Amount | None] = mapped_column(
        default=None, comment="Profit in percent of the cost of what was closed: 12.5 is 12.5 %"
    )
    fees: Mapped[Amount | None] = mapped_column(
        default=None, comment="Opening and closing fees in the profit, `currency`"
    )
    currency: Mapped[str | None] = mapped_column(
        ForeignKey("market.currencies.code"), default=None, comment="Currency of the amounts"
    )
    pnl_source: Mapped[PnlSource] = mapped_column(
        ClosedText(PnlSource),
        default=PnlSource.TYPED,
        comment="ledger: trades or a position are linked, and profit is theirs",
    )
    mae: Mapped[Amount | None] = mapped_column(
        default=None, comment="Maximum adverse excursion, `currency`, at most 0"
    )
    mfe: Mapped[Amount | None] = mapped_column(
        default=None, comment="Maximum favourable excursion, `currency`, at least 0"
    )
    rating: Mapped[int | None] = mapped_column(
        SmallInteger, default=None, comment="How well it was traded, 1 to 5"
    )
    satisfied: Mapped[bool | None] = mapped_column(
        default=None, comment="Whether the trader is content with the doing"
    )
    followed_plan: Mapped[bool | None] = mapped_column(
        default=None, comment="Whether the plan was followed"
    )
    emotion: Mapped[str | None] = mapped_column(default=None, comment="How it felt, in a word")
    thesis: Mapped[str | None] = mapped_column(default=None, comment="Why it should work")
    notes: Mapped[str | None] = mapped_column(default=None, comment="What happened")
    lessons: Mapped[str | None] = mapped_column(default=None, comment="What is done better next")
    r_multiple: Mapped[Decimal | None] = mapped_column(
        Computed("round(pnl / initial_risk, 4)", persisted=True),
        init=False,
        comment="Profit in units of the initial risk",
    )
    planned_rr: Mapped[Decimal | None] = mapped_column(
        Computed(
            "round((planned_target - planned_entry) / nullif(planned_entry - planned_stop, 0), 4)",
            persisted=True,
        ),
        init=False,
        comment="Planned reward for one unit of risk",
    )
    search: Mapped[str | None] = mapped_column(
        TSVECTOR,
        Computed(_SEARCH, persisted=True),
        init=False,
        deferred=True,
        comment="Words of the texts, weighted: title and strategy, thesis and lessons, notes",
    )

    setup: Mapped[Setup | None] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    instrument: Mapped[Instrument | None] = relationship(init=False, lazy="raise_on_sql")
    tags: Mapped[list[Tag]] = relationship(
        secondary="journal.entry_tags",
        order_by="Tag.name",
        init=False,
        lazy="raise_on_sql",
        viewonly=True,
    )
    links: Mapped[list["EntryTrade"]] = relationship(
        order_by="EntryTrade.trade_id", init=False, lazy="raise_on_sql", viewonly=True
    )
    attachments: Mapped[list["Attachment"]] = relationship(
        order_by="Attachment.sort_order, Attachment.id",
        init=False,
        lazy="raise_on_sql",
        viewonly=True,
    )

    @validates(*FROM_THE_LEDGER)
    def _left_to_the_ledger(self, name: str, value: Any) -> Any:
        if self.__dict__.get("pnl_source") == PnlSource.LEDGER:
            raise InvalidData(name, value, TYPED_RULE)
        return value

    def __str__(self) -> str:
        return self.title or f"{self.strategy or self.kind} of {self.entry_on}"


TYPED_RULE = "be left to the ledger: trades are linked to the entry"


class EntryTag(Owned, Base, kw_only=True, eq=False, repr=False):
    """A tag on an entry."""

    __tablename__ = "entry_tags"
    __table_args__ = (
        _of_entry(),
        ForeignKeyConstraint(
            ["user_id", "tag_id"],
            ["journal.tags.user_id", "journal.tags.id"],
            ondelete="CASCADE",
        ),
        Index(None, "tag_id"),
        {"schema": _SCHEMA, "comment": "Which entries have which tags"},
    )

    entry_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The entry")
    tag_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The tag")

    entry: Mapped[JournalEntry] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    tag: Mapped[Tag] = relationship(init=False, lazy="raise_on_sql", viewonly=True)


class EntryTrade(Owned, Base, kw_only=True, eq=False, repr=False):
    """A trade that an entry describes."""

    __tablename__ = "entry_trades"
    __table_args__ = (
        _of_entry(),
        ForeignKeyConstraint(
            ["user_id", "trade_id"],
            ["trading.trades.user_id", "trading.trades.id"],
            ondelete="CASCADE",
        ),
        Index(None, "trade_id"),
        {"schema": _SCHEMA, "comment": "Which trades an entry describes"},
    )

    entry_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The entry")
    trade_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The trade")
    role: Mapped[TradeRole] = mapped_column(
        ClosedText(TradeRole), default=TradeRole.ENTRY, comment="What it did for the idea"
    )
    leg: Mapped[int | None] = mapped_column(
        SmallInteger, default=None, comment="Number of the structure's leg, from 1"
    )

    entry: Mapped[JournalEntry] = relationship(init=False, lazy="raise_on_sql", viewonly=True)
    trade: Mapped[Trade] = relationship(init=False, lazy="raise_on_sql", viewonly=True)


class Attachment(Owned, Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A file of an entry; its bytes are an object of `domain.storage`."""

    __tablename__ = "attachments"
    __table_args__ = (
        _of_entry(),
        UniqueConstraint("user_id", "object_key"),
        Index(None, "entry_id", "sort_order"),
        CheckConstraint("size >= 0", name="size_not_negative"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256_length"),
        CheckConstraint("length(filename) BETWEEN 1 AND 255", name="filename_length"),
        CheckConstraint(
            "object_key LIKE 'users/' || user_id::text || '/%'", name="object_key_of_tenant"
        ),
        {"schema": _SCHEMA, "comment": "Screenshots and files of entries"},
    )

    entry_id: Mapped[UUID] = mapped_column(comment="The entry")
    object_key: Mapped[str] = mapped_column(comment="Where its bytes are in the object store")
    filename: Mapped[str] = mapped_column(comment="Name without folders, as it was given")
    content_type: Mapped[str] = mapped_column(comment="Media type, from the name")
    size: Mapped[int] = mapped_column(BigInteger, comment="Bytes")
    sha256: Mapped[bytes] = mapped_column(LargeBinary, comment="SHA-256 of the bytes")
    caption: Mapped[str | None] = mapped_column(default=None, comment="What it shows")
    annotations: Mapped[list[Any]] = mapped_column(
        JSONB, default_factory=list, comment="Marks drawn on it, as the client keeps them"
    )
    sort_order: Mapped[int] = mapped_column(default=0, comment="Place among the entry's files")

    entry: Mapped[JournalEntry] = relationship(init=False, lazy="raise_on_sql", viewonly=True)

    def __str__(self) -> str:
        return self.filename
