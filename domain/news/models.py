"""What is stored about news: articles, calendar events, economic series and their vintages.

Global rows: no tenant owns them, tenants read them.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
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
from sqlalchemy.orm import Mapped, mapped_column, relationship

from domain.db.orm import Amount, Base, Ratio, Record, Timestamped
from domain.db.types import ClosedText, OpenText
from domain.market.models import Instrument
from domain.news.terms import Frequency

_SCHEMA = "news"

# A tsvector holds one megabyte at most: what stands further down in a text is not searched.
_SEARCH = (
    "setweight(to_tsvector('english', title), 'A')"
    " || setweight(to_tsvector('english', coalesce(description, '')), 'B')"
    " || setweight(to_tsvector('english', left(coalesce(content, ''), 100000)), 'C')"
)


class Article(Timestamped, Record, kw_only=True, eq=False, repr=False):
    """One article, known by its normalised address."""

    __tablename__ = "articles"
    __table_args__ = (
        UniqueConstraint("url"),
        # What links to an article copies its time, for an index that serves newest first.
        UniqueConstraint("id", "published_at"),
        Index("ix_articles_published", text("published_at DESC"), text("id DESC")),
        Index("ix_articles_source", "source", text("published_at DESC")),
        Index("ix_articles_content_hash", "content_hash"),
        Index("ix_articles_search", "search", postgresql_using="gin"),
        CheckConstraint("url ~ '^https?://[!-~]+$' AND length(url) <= 2000", name="url_format"),
        CheckConstraint("length(title) BETWEEN 1 AND 500", name="title_length"),
        CheckConstraint("sentiment BETWEEN -1 AND 1", name="sentiment_range_unit"),
        CheckConstraint("octet_length(content_hash) = 32", name="content_hash_length"),
        {"schema": _SCHEMA, "comment": "Articles, unique by normalised address"},
    )

    title: Mapped[str] = mapped_column(comment="Headline")
    url: Mapped[str] = mapped_column(comment="Address, normalised: without fragment and tracking")
    published_at: Mapped[datetime] = mapped_column(comment="When it was published, UTC")
    content_hash: Mapped[bytes] = mapped_column(
        LargeBinary, comment="SHA-256 of headline and text in lower case, single spaces"
    )
    source: Mapped[str | None] = mapped_column(default=None, comment="Publisher or feed")
    author: Mapped[str | None] = mapped_column(default=None, comment="Who wrote it")
    description: Mapped[str | None] = mapped_column(default=None, comment="Summary")
    content: Mapped[str | None] = mapped_column(default=None, comment="Text")
    sentiment: Mapped[Ratio | None] = mapped_column(
        default=None, comment="-1 bad to 1 good, as its source or a model says"
    )
    search: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed(_SEARCH, persisted=True),
        init=False,
        deferred=True,
        deferred_raiseload=True,
        comment="Words of headline, summary and text, in that order of weight",
    )

    def __str__(self) -> str:
        return self.title


class ArticleInstrument(Base, kw_only=True, eq=False, repr=False):
    """An instrument that an article is about."""

    __tablename__ = "article_instruments"
    __table_args__ = (
        ForeignKeyConstraint(
            ["article_id", "published_at"],
            ["news.articles.id", "news.articles.published_at"],
            ondelete="CASCADE",
            onupdate="CASCADE",
        ),
        Index(
            "ix_article_instruments_newest",
            "instrument_id",
            text("published_at DESC"),
            text("article_id DESC"),
        ),
        CheckConstraint("relevance BETWEEN 0 AND 1", name="relevance_range_unit"),
        CheckConstraint("sentiment BETWEEN -1 AND 1", name="sentiment_range_unit"),
        {"schema": _SCHEMA, "comment": "Which instruments articles are about"},
    )

    article_id: Mapped[UUID] = mapped_column(primary_key=True, comment="The article")
    instrument_id: Mapped[UUID] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="CASCADE"),
        primary_key=True,
        comment="The instrument",
    )
    published_at: Mapped[datetime] = mapped_column(
        comment="The article's time, UTC; follows it by foreign key"
    )
    relevance: Mapped[Ratio | None] = mapped_column(
        default=None, comment="How much it is about it, 0 to 1"
    )
    sentiment: Mapped[Ratio | None] = mapped_column(
        default=None, comment="-1 bad to 1 good for the instrument"
    )

    article: Mapped[Article] = relationship(init=False, lazy="raise_on_sql")
    instrument: Mapped[Instrument] = relationship(init=False, lazy="raise_on_sql")


class CalendarEvent(Timestamped, Record, kw_only=True, eq=False, repr=False):
    """A date that markets look at: a rate decision, a release, an earnings report."""

    __tablename__ = "calendar_events"
    __table_args__ = (
        UniqueConstraint(
            "source",
            "event_type",
            "name",
            "occurs_at",
            "instrument_id",
            "country",
            name="uq_calendar_events_natural",
            postgresql_nulls_not_distinct=True,
        ),
        UniqueConstraint("source", "external_id", name="uq_calendar_events_external"),
        Index("ix_calendar_events_time", "occurs_at", "id"),
        Index(
            "ix_calendar_events_instrument",
            "instrument_id",
            "occurs_at",
            postgresql_where=text("instrument_id IS NOT NULL"),
        ),
        Index("ix_calendar_events_type", "event_type", "occurs_at"),
        Index(
            "ix_calendar_events_currency",
            "currency",
            "occurs_at",
            postgresql_where=text("currency IS NOT NULL"),
        ),
        Index("ix_calendar_events_name_prefix", text("lower(name) text_pattern_ops")),
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name_length"),
        CheckConstraint("impact BETWEEN 1 AND 4", name="impact_range"),
        CheckConstraint("currency ~ '^[A-Z0-9]{2,12}$'", name="currency_format"),
        CheckConstraint("country ~ '^[A-Z]{2,3}$'", name="country_format"),
        {"schema": _SCHEMA, "comment": "Economic and corporate calendar"},
    )

    event_type: Mapped[str] = mapped_column(
        OpenText(), comment="Kind: rate_decision, release, earnings, dividend, or any word"
    )
    name: Mapped[str] = mapped_column(comment="What happens")
    occurs_at: Mapped[datetime] = mapped_column(
        comment="When, UTC; midnight where only the day is known"
    )
    source: Mapped[str] = mapped_column(OpenText(), comment="Where it came from")
    external_id: Mapped[str | None] = mapped_column(
        default=None, comment="The source's id: lets an event move to another time"
    )
    description: Mapped[str | None] = mapped_column(default=None, comment="More about it")
    impact: Mapped[int | None] = mapped_column(
        SmallInteger, default=None, comment="1 low, 2 medium, 3 high, 4 critical"
    )
    instrument_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("market.instruments.id", ondelete="CASCADE"),
        default=None,
        comment="The instrument, for an issuer's event",
    )
    currency: Mapped[str | None] = mapped_column(
        default=None, comment="Currency it is about, ISO 4217 or crypto code"
    )
    country: Mapped[str | None] = mapped_column(default=None, comment="Country, ISO 3166")
    unit: Mapped[str | None] = mapped_column(default=None, comment="Unit of the three values")
    actual: Mapped[Amount | None] = mapped_column(default=None, comment="What it was")
    forecast: Mapped[Amount | None] = mapped_column(default=None, comment="What was expected")
    previous: Mapped[Amount | None] = mapped_column(default=None, comment="What it was before")

    instrument: Mapped[Instrument | None] = relationship(init=False, lazy="raise_on_sql")

    def __str__(self) -> str:
        return self.name


class EconomicSeries(Timestamped, Base, kw_only=True, eq=False, repr=False):
    """An indicator that is observed again and again."""

    __tablename__ = "economic_series"
    __table_args__ = (
        CheckConstraint("symbol ~ '^[A-Z0-9][A-Z0-9_.:^=-]{0,49}$'", name="symbol_format"),
        {"schema": _SCHEMA, "comment": "Economic indicators"},
    )

    symbol: Mapped[str] = mapped_column(
        primary_key=True, comment="The source's code, upper case: CPILFESL, GDPC1"
    )
    source: Mapped[str] = mapped_column(OpenText(), default="fred", comment="Who publishes it")
    title: Mapped[str | None] = mapped_column(default=None, comment="What is measured")
    frequency: Mapped[Frequency | None] = mapped_column(
        ClosedText(Frequency), default=None, comment="How often it is observed"
    )
    units: Mapped[str | None] = mapped_column(default=None, comment="Unit of the values")
    seasonal_adjustment: Mapped[str | None] = mapped_column(
        default=None, comment="How seasons were taken out, if at all"
    )
    last_updated_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="When the source changed it last, UTC"
    )
    details: Mapped[dict[str, Any]] = mapped_column(
        JSONB, default_factory=dict, comment="What a source says beyond these columns"
    )

    def __str__(self) -> str:
        return self.symbol


class EconomicRelease(Base, kw_only=True, eq=False, repr=False):
    """What was published on one day about one day: a revision is another row."""

    __tablename__ = "economic_releases"
    __table_args__ = (
        Index("ix_economic_releases_vintage", "symbol", "vintage_on"),
        {"schema": _SCHEMA, "comment": "Values of economic series with their vintages"},
    )

    symbol: Mapped[str] = mapped_column(
        ForeignKey("news.economic_series.symbol", ondelete="RESTRICT", onupdate="CASCADE"),
        primary_key=True,
        comment="The series",
    )
    observed_on: Mapped[date] = mapped_column(
        primary_key=True, comment="The day measured, or the first of the period"
    )
    vintage_on: Mapped[date] = mapped_column(
        primary_key=True, comment="First day on which this value was known"
    )
    value: Mapped[Amount | None] = mapped_column(
        default=None, comment="The value, unit of the series; NULL: the source says there is none"
    )
    is_preliminary: Mapped[bool] = mapped_column(
        default=False, comment="True: the source will revise it"
    )
    revised_at: Mapped[datetime | None] = mapped_column(
        default=None, comment="The source's instant of the revision, UTC"
    )
    source: Mapped[str] = mapped_column(OpenText(), default="fred", comment="Where it came from")
    ingested_at: Mapped[datetime] = mapped_column(
        init=False, server_default=text("now()"), comment="When the row was made, UTC"
    )

    series: Mapped[EconomicSeries] = relationship(init=False, lazy="raise_on_sql")


__all__ = [
    "Article",
    "ArticleInstrument",
    "CalendarEvent",
    "EconomicRelease",
    "EconomicSeries",
]
