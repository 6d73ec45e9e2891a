"""Takes in articles: normalises addresses, leaves known ones alone, links instruments."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from domain.clock import as_utc
from domain.db.bulk import insert_new
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.money import checked
from domain.news.addresses import normalised
from domain.news.models import Article
from domain.news.repositories import ArticleInstrumentRepository, ArticleRepository
from domain.news.symbols import instruments_named

_LONGEST_TITLE: Final = 500
_ONE: Final = Decimal(1)
_SPACES: Final = re.compile(r"\s+")
_COPIED: Final = ("source", "author", "description", "content", "sentiment")
_REFRESHED: Final = ("title", "published_at", "content_hash", *_COPIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArticle:
    """An article on its way in.

    Args:
        title: Headline, 1 to 500 characters.
        url: Address in any form; what it is known by.
        published_at: When it was published, aware.
        source: Publisher or feed.
        author: Who wrote it.
        description: Summary.
        content: Text.
        sentiment: -1 bad to 1 good.
        symbols: Tickers of instruments that it is about.
        instrument_ids: Instruments that it is about, where a ticker would not be enough.
    """

    title: str
    url: str
    published_at: datetime
    source: str | None = None
    author: str | None = None
    description: str | None = None
    content: str | None = None
    sentiment: Decimal | None = None
    symbols: tuple[str, ...] = ()
    instrument_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingested:
    """What came of a batch of articles.

    Args:
        new: Articles that were not known, in the order of their addresses.
        known: How many were.
        links: How many instruments were linked anew.
        unresolved: Tickers that name no instrument, or several.
    """

    new: Sequence[Article]
    known: int
    links: int
    unresolved: frozenset[str]


async def ingest_articles(
    unit: UnitOfWork, articles: Sequence[NewArticle], *, refresh: bool = False
) -> Ingested:
    """Store the articles whose addresses are not known and link all of them to instruments.

    Args:
        unit: A staff or system transaction.
        articles: Of several with one address the last counts.
        refresh: Overwrite what is stored about known addresses.

    Raises:
        InvalidData: An address is none, a headline is empty or too long, a time is naive, a
            sentiment lies outside -1 to 1, or a text holds a NUL. Nothing is written then.
    """
    # In one order everywhere, so that two feeds with the same articles cannot wait for each other.
    by_url = dict(sorted((normalised(item.url), item) for item in articles))
    rows = [_row(url, item) for url, item in by_url.items()]
    if not rows:
        return Ingested([], 0, 0, frozenset())
    new = await insert_new(unit.session, Article, rows, key=("url",))
    if refresh:
        fresh = {article.url for article in new}
        await unit.repository(ArticleRepository).upsert_many(
            [row for row in rows if row["url"] not in fresh], key=["url"], update=_REFRESHED
        )
    links, unresolved = await _link(unit, by_url)
    return Ingested(sorted(new, key=lambda item: item.url), len(rows) - len(new), links, unresolved)


def content_hash(title: str, text: str = "") -> bytes:
    """Return the SHA-256 of headline and text in lower case with single spaces.

    Equal for a text that another publisher prints again.

    Example:
        >>> content_hash("Fed  Holds", "Rates stay.") == content_hash("fed holds", "rates stay.")
        True
    """
    plain = _SPACES.sub(" ", f"{title}\n{text}".casefold()).strip()
    return hashlib.sha256(plain.encode()).digest()


def _row(url: str, item: NewArticle) -> dict[str, Any]:
    title = _SPACES.sub(" ", item.title).strip()
    if not 1 <= len(title) <= _LONGEST_TITLE:
        raise InvalidData("title", item.title, f"be 1 to {_LONGEST_TITLE} characters")
    for field in ("title", "source", "author", "description", "content"):
        if "\x00" in (getattr(item, field) or ""):
            raise InvalidData(field, getattr(item, field), "hold no NUL character")
    if item.sentiment is not None and abs(checked(item.sentiment, "sentiment")) > _ONE:
        raise InvalidData("sentiment", item.sentiment, "lie between -1 and 1")
    return {
        "url": url,
        "title": title,
        "published_at": as_utc(item.published_at, "published_at"),
        "content_hash": content_hash(title, item.content or item.description or ""),
        **{name: getattr(item, name) for name in _COPIED},
    }


async def _link(unit: UnitOfWork, by_url: dict[str, NewArticle]) -> tuple[int, frozenset[str]]:
    symbols = {symbol for item in by_url.values() for symbol in item.symbols}
    named = await instruments_named(unit, symbols)
    about = {
        url: {*item.instrument_ids, *(named[name] for name in item.symbols if name in named)}
        for url, item in by_url.items()
    }
    wanted = [url for url, ids in about.items() if ids]
    stored = await unit.repository(ArticleRepository).times_of(wanted)
    rows = [
        {"article_id": ident, "instrument_id": instrument_id, "published_at": published_at}
        for url, (ident, published_at) in stored.items()
        for instrument_id in sorted(about[url])
    ]
    written = await unit.repository(ArticleInstrumentRepository).upsert_many(
        rows, key=["article_id", "instrument_id"], update=[]
    )
    return written.inserted, frozenset(symbols - named.keys())
