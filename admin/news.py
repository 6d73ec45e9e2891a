"""Views of articles, calendar events and economic series."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func

from admin.records import RecordView, Related
from admin.translating import gettext
from domain.news.models import (
    Article,
    ArticleInstrument,
    CalendarEvent,
    EconomicRelease,
    EconomicSeries,
)

_CATEGORY = "News"


class ArticleView(RecordView, model=Article):
    """Articles."""

    name, name_plural, path = "Article", "Articles", "articles"
    category = _CATEGORY
    about = "Articles, known by their addresses. They are taken in by the library."
    columns = ("published_at", "title", "source", "author", "sentiment")
    hint = "ingest_articles(unit, articles)"
    related = (Related("Instruments", "article-instruments", "article_id", is_shown=True),)
    order = (Article.published_at, Article.id)
    is_found_by_name = True
    search = (Article.title,)
    search_hint = 'Words, "a phrase", -without'
    time_column = "published_at"
    editable = ("title", "description", "source", "author", "sentiment")
    is_deletable = True

    def visible(self) -> Sequence[str]:
        """Return all attributes but the words that the database searches."""
        return [name for name in super().visible() if name != "search"]

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for articles with these words anywhere in them."""
        return Article.search.op("@@")(func.websearch_to_tsquery("english", text))


class ArticleInstrumentView(RecordView, model=ArticleInstrument):
    """Instruments that articles are about."""

    name, name_plural, path = "Mention", "Mentions", "article-instruments"
    category = _CATEGORY
    about = "Which instruments articles are about, newest first."
    columns = ("published_at", "article", "instrument", "relevance", "sentiment")
    order = (
        ArticleInstrument.instrument_id,
        ArticleInstrument.published_at,
        ArticleInstrument.article_id,
    )
    keys = ("article_id", "instrument_id")
    pickers = ("instrument_id",)
    is_part = True

    def heading(self, record: Any) -> str:
        """Return ``AAPL in the article``."""
        return gettext(
            "%(instrument)s in %(article)s", instrument=record.instrument, article=record.article
        )


class CalendarEventView(RecordView, model=CalendarEvent):
    """Calendar."""

    name, name_plural, path = "Calendar event", "Calendar", "calendar-events"
    category = _CATEGORY
    about = "Rate decisions, releases, earnings: dates that markets look at."
    columns = (
        "occurs_at",
        "name",
        "event_type",
        "impact",
        "currency",
        "instrument",
        "actual",
        "forecast",
        "previous",
    )
    order = (CalendarEvent.occurs_at, CalendarEvent.id)
    search = (CalendarEvent.name,)
    search_hint = "Name begins with…"
    keys = ("instrument_id",)
    pickers = ("instrument_id",)
    time_column = "occurs_at"
    hint = "ingest_events(unit, events)"
    editable = (
        "name",
        "event_type",
        "occurs_at",
        "impact",
        "instrument_id",
        "currency",
        "country",
        "unit",
        "actual",
        "forecast",
        "previous",
        "description",
    )
    creatable = (*editable, "source", "external_id")
    is_deletable = True

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for names in any case."""
        return func.lower(CalendarEvent.name).startswith(text.strip().lower(), autoescape=True)


class EconomicSeriesView(RecordView, model=EconomicSeries):
    """Series."""

    name, name_plural, path = "Economic series", "Economic series", "economic-series"
    category = _CATEGORY
    about = "Indicators that are observed again and again."
    columns = ("symbol", "title", "frequency", "units", "source", "last_updated_at")
    order = (EconomicSeries.symbol,)
    is_newest_first = False
    is_found_by_name = True
    search = (EconomicSeries.symbol,)
    search_hint = "Symbol begins with…"
    filters = ("frequency",)
    editable = ("title", "frequency", "units", "seasonal_adjustment", "details")
    creatable = ("symbol", "source", "title", "frequency", "units", "seasonal_adjustment")
    related = (Related("Releases", "economic-releases", "symbol", is_shown=True),)

    def search_condition(self, text: str) -> ColumnElement[bool]:
        """Return the condition for symbols, which are upper case."""
        return super().search_condition(text.upper())


class EconomicReleaseView(RecordView, model=EconomicRelease):
    """Releases."""

    name, name_plural, path = "Economic release", "Economic releases", "economic-releases"
    category = _CATEGORY
    about = "What was published on which day: a revision is a row of its own."
    columns = ("symbol", "observed_on", "vintage_on", "value", "is_preliminary", "source")
    order = (EconomicRelease.symbol, EconomicRelease.observed_on, EconomicRelease.vintage_on)
    keys = ("symbol",)
    pickers = ("symbol",)
    time_column = "observed_on"
    hint = "ingest_releases(unit, releases)"

    def heading(self, record: Any) -> str:
        """Return ``UNRATE for 2024-01-01``."""
        return gettext("%(what)s for %(day)s", what=record.symbol, day=record.observed_on)


VIEWS = (
    ArticleView,
    ArticleInstrumentView,
    CalendarEventView,
    EconomicSeriesView,
    EconomicReleaseView,
)
