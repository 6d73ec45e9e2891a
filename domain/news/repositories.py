"""What is asked about news."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, any_, func, literal, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased

from domain.db.repository import Repository
from domain.errors import InvalidData
from domain.news.addresses import normalised
from domain.news.models import (
    Article,
    ArticleInstrument,
    CalendarEvent,
    EconomicRelease,
    EconomicSeries,
)

_MOST = 1_000


class ArticleRepository(Repository[Article]):
    """Articles."""

    async def by_url(self, url: str) -> Article | None:
        """Return the article with this address, whatever its tracking parameters.

        Raises:
            InvalidData: It is no address.
        """
        return await self.first(self.query(Article.url == normalised(url)))

    async def times_of(self, urls: Sequence[str]) -> dict[str, tuple[UUID, datetime]]:
        """Return (id, time of publication) of these normalised addresses, by address."""
        statement = select(Article.url, Article.id, Article.published_at).where(
            Article.url == any_(literal(list(urls), ARRAY(Text())))
        )
        found = await self.session.execute(statement.order_by(Article.url))
        return {url: (ident, published_at) for url, ident, published_at in found}

    async def search(self, words: str, *, limit: int = 50) -> Sequence[Article]:
        """Return the articles that match, the best first.

        Args:
            words: As people write them: ``rate cut -crypto "basis points" or hike``.
            limit: At most this many, 1 to 1,000.
        """
        query = func.websearch_to_tsquery("english", _without_nul(words))
        rank = func.ts_rank(Article.search, query)
        matching = self.query(Article.search.op("@@")(query))
        best = matching.order_by(rank.desc(), Article.published_at.desc(), Article.id.desc())
        return await self.all(best.limit(_limited(limit)))

    async def newest(self, *, limit: int = 50, source: str | None = None) -> Sequence[Article]:
        """Return the newest articles, of one source if it is given."""
        statement = self.query() if source is None else self.query(Article.source == source)
        newest = statement.order_by(Article.published_at.desc(), Article.id.desc())
        return await self.all(newest.limit(_limited(limit)))

    async def about(
        self, instrument_id: UUID, *, limit: int = 50, before: datetime | None = None
    ) -> Sequence[Article]:
        """Return the newest articles about an instrument.

        Args:
            instrument_id: The instrument.
            limit: At most this many, 1 to 1,000.
            before: Only those published before this instant.
        """
        link = ArticleInstrument
        statement = (
            self.query()
            .join(link, link.article_id == Article.id)
            .where(link.instrument_id == instrument_id)
            .order_by(link.published_at.desc(), link.article_id.desc())
        )
        if before is not None:
            statement = statement.where(link.published_at < before)
        return await self.all(statement.limit(_limited(limit)))


class ArticleInstrumentRepository(Repository[ArticleInstrument]):
    """Which instruments articles are about."""


class CalendarEventRepository(Repository[CalendarEvent]):
    """Calendar events."""

    async def between(
        self, start: datetime, end: datetime, *, impact: int = 1, **equal: Any
    ) -> Sequence[CalendarEvent]:
        """Return events with ``start <= occurs_at < end``, the first first.

        Args:
            start: First instant, UTC.
            end: End, exclusive, UTC.
            impact: Only events of at least this impact; above 1 leaves out those without one.
            **equal: ``currency``, ``country``, ``instrument_id`` or ``event_type`` to be equal to.
        """
        inside = self._selected(impact, equal).where(
            CalendarEvent.occurs_at >= start, CalendarEvent.occurs_at < end
        )
        return await self.all(inside)

    async def upcoming(
        self, at: datetime, *, limit: int = 20, impact: int = 1, **equal: Any
    ) -> Sequence[CalendarEvent]:
        """Return the next events from the instant `at` on; narrowed like `between`."""
        following = self._selected(impact, equal).where(CalendarEvent.occurs_at >= at)
        return await self.all(following.limit(_limited(limit)))

    def _selected(self, impact: int, equal: dict[str, Any]) -> Select[CalendarEvent]:
        for name in equal:
            if name not in {"currency", "country", "instrument_id", "event_type"}:
                raise InvalidData("filter", name, "be currency, country, instrument_id, event_type")
        statement = self.query(
            *(getattr(CalendarEvent, name) == value for name, value in equal.items())
        )
        if impact > 1:
            statement = statement.where(CalendarEvent.impact >= impact)
        return statement.order_by(CalendarEvent.occurs_at, CalendarEvent.id)


class EconomicSeriesRepository(Repository[EconomicSeries]):
    """Economic indicators."""


class EconomicReleaseRepository(Repository[EconomicRelease]):
    """Values of economic series with their vintages."""

    async def as_known_on(self, symbol: str, on: date) -> Sequence[EconomicRelease]:
        """Return what was known of a series at the end of the day `on`, by day measured.

        For every day measured the newest vintage that is not younger than `on`. A back-test that
        reads this sees no number before it was published.
        """
        known = self.query(EconomicRelease.symbol == symbol, EconomicRelease.vintage_on <= on)
        return await self.all(_newest_vintages(known))

    async def latest(self, symbol: str) -> Sequence[EconomicRelease]:
        """Return the newest vintage of every day measured, by day."""
        return await self.all(_newest_vintages(self.query(EconomicRelease.symbol == symbol)))

    async def vintages(self, symbol: str, observed_on: date) -> Sequence[EconomicRelease]:
        """Return all that was ever published about one day, the first publication first."""
        statement = self.query(
            EconomicRelease.symbol == symbol, EconomicRelease.observed_on == observed_on
        )
        return await self.all(statement.order_by(EconomicRelease.vintage_on))

    async def newest_value_on(self, symbol: str, on: date) -> EconomicRelease | None:
        """Return the last day measured, with a value, as it was known on the day `on`."""
        known = _newest_vintages(
            self.query(EconomicRelease.symbol == symbol, EconomicRelease.vintage_on <= on)
        ).subquery()
        newest = aliased(EconomicRelease, known)
        statement = select(newest).where(newest.value.is_not(None))
        return await self.first(statement.order_by(newest.observed_on.desc()))


def _newest_vintages(statement: Select[EconomicRelease]) -> Select[EconomicRelease]:
    return statement.ext(distinct_on(EconomicRelease.observed_on)).order_by(
        EconomicRelease.observed_on, EconomicRelease.vintage_on.desc()
    )


def _limited(limit: int) -> int:
    if not 1 <= limit <= _MOST:
        raise InvalidData("limit", limit, f"lie between 1 and {_MOST}")
    return limit


def _without_nul(words: str) -> str:
    if "\x00" in words:
        raise InvalidData("words", words, "hold no NUL character")
    return words
