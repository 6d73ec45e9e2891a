"""Articles: one an address, found by words, instrument and time."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from domain import Database
from domain.errors import AccessDenied, InvalidData
from domain.news.addresses import normalised
from domain.news.articles import Ingested, NewArticle, ingest_articles
from tests.factories.market import make_instrument
from tests.factories.trading import open_account

NOON = datetime(2024, 3, 20, 12, tzinfo=UTC)


def article(number: int = 1, **values: Any) -> NewArticle:
    values.setdefault("title", f"Fed holds rates {number}")
    values.setdefault("url", f"https://news.example/{number}")
    values.setdefault("published_at", NOON + timedelta(minutes=number))
    return NewArticle(**values)


async def ingest(db: Database, *articles: NewArticle, **options: Any) -> Ingested:
    async with db.transaction(system="feed") as unit:
        return await ingest_articles(unit, articles, **options)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://News.Example/A/", "https://news.example/A"),
        ("https://news.example", "https://news.example"),
        ("https://news.example:443/a?b=2&a=1#c", "https://news.example/a?b=2&a=1"),
        ("http://news.example:8080/a", "http://news.example:8080/a"),
        ("https://news.example/a?utm_source=x&id=7&fbclid=y", "https://news.example/a?id=7"),
        ("https://news.example/ä b?q=ö", "https://news.example/%C3%A4%20b?q=%C3%B6"),
        ("https://bücher.example/", "https://xn--bcher-kva.example"),
    ],
)
def test_two_links_to_one_article_become_one_text(url: str, expected: str) -> None:
    assert normalised(url) == expected
    assert normalised(expected) == expected


@pytest.mark.parametrize(
    "url",
    ["", "news.example/a", "ftp://x/a", "javascript:alert(1)", "https://", "https://[::1",
     "https://a:b@x.example/", "https://x.example:99999/", "https://x.example/" + "a" * 2000],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidData, match="url"):
        normalised(url)


@given(st.text(max_size=40), st.text(max_size=20))
def test_any_address_is_normalised_once_and_for_all(path: str, query: str) -> None:
    try:
        once = normalised(f"https://news.example/{path}?q={query}")
    except InvalidData:
        return
    assert normalised(once) == once
    assert once.isascii() and " " not in once


async def test_an_article_is_stored_once_whatever_its_link_carries(db: Database) -> None:
    first = await ingest(db, article(1), article(2))
    assert (len(first.new), first.known) == (2, 0)
    again = await ingest(
        db, article(1, url="https://NEWS.example/1?utm_medium=mail", title="Other"), article(3)
    )
    assert ([item.title for item in again.new], again.known) == (["Fed holds rates 3"], 1)
    async with db.read(system="test") as unit:
        stored = await unit.articles.by_url("https://news.example/1#top")
        assert stored is not None and stored.title == "Fed holds rates 1"
    refreshed = await ingest(db, article(1, title="Corrected"), refresh=True)
    assert refreshed.known == 1
    async with db.read(system="test") as unit:
        stored = await unit.articles.by_url("https://news.example/1")
        assert stored is not None and stored.title == "Corrected"


async def test_instruments_are_linked_by_ticker_where_it_is_clear(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        apple = await make_instrument(unit, "AAPL")
        await make_instrument(unit, "ABC", exchange="XNYS")
        await make_instrument(unit, "ABC", exchange="XLON")
    done = await ingest(
        db,
        article(1, symbols=("AAPL", "ABC", "ZZZ")),
        article(2, instrument_ids=(apple.id,), symbols=("AAPL",)),
        article(3),
    )
    assert (done.links, done.unresolved) == (2, {"ABC", "ZZZ"})
    assert (await ingest(db, article(1, symbols=("AAPL",)))).links == 0
    async with db.read(system="test") as unit:
        about = await unit.articles.about(apple.id)
        assert [item.title[-1] for item in about] == ["2", "1"]
        older = await unit.articles.about(apple.id, before=about[0].published_at)
        assert [item.title[-1] for item in older] == ["1"]


async def test_a_link_follows_the_corrected_time_of_its_article(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        apple = await make_instrument(unit, "AAPL")
    await ingest(db, article(1, symbols=("AAPL",)), article(2, symbols=("AAPL",)))
    await ingest(db, article(1, published_at=NOON + timedelta(days=1)), refresh=True)
    async with db.read(system="test") as unit:
        assert [item.title[-1] for item in await unit.articles.about(apple.id)] == ["1", "2"]


async def test_words_are_searched_in_headlines_first(db: Database) -> None:
    await ingest(
        db,
        article(1, title="Oil slips", content="Traders await the rate decision of the Fed."),
        article(2, title="Rate decision today", description="The Fed meets."),
        article(3, title="Earnings season", content="Banks report."),
    )
    async with db.read(system="test") as unit:
        found = await unit.articles.search("rate decision")
        assert [item.title for item in found] == ["Rate decision today", "Oil slips"]
        assert [a.title for a in await unit.articles.search("decisions -oil")] == [found[0].title]
        either = await unit.articles.search('"banks report" or oil')
        assert {item.title for item in either} == {"Oil slips", "Earnings season"}
        assert await unit.articles.search("'; DROP TABLE x; --") == []
        assert [item.title for item in await unit.articles.newest(limit=1)] == ["Earnings season"]


async def test_a_long_text_is_stored_whole(db: Database) -> None:
    words = " ".join(f"word{number}" for number in range(300_000))
    await ingest(db, article(1, content=words))
    async with db.read(system="test") as unit:
        (stored,) = await unit.articles.search("word7")
        assert stored.content == words


async def test_two_feeds_with_the_same_articles_do_not_wait_for_each_other(db: Database) -> None:
    batch = [article(number) for number in range(200)]
    done = await asyncio.gather(
        *(ingest(db, *(batch if n % 2 else reversed(batch))) for n in range(6))
    )
    assert sum(len(item.new) for item in done) == 200


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"content": "a\x00b"}, "content"),
        ({"sentiment": Decimal("1.01")}, "sentiment"),
        ({"sentiment": 0.5}, "sentiment"),
        ({"published_at": datetime(2024, 1, 1)}, "published_at"),  # noqa: DTZ001 - that is the point
        ({"url": "mailto:x"}, "url"),
    ],
)
async def test_one_bad_article_leaves_nothing_of_the_batch(
    db: Database, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidData) as refused:
        await ingest(db, article(1), article(2, **values))
    assert refused.value.field == field
    async with db.read(system="test") as unit:
        assert await unit.articles.count() == 0


async def test_tenants_read_articles_and_do_not_write_them(db: Database) -> None:
    account = await open_account(db)
    await ingest(db, article(1))
    async with db.read(user=account.user.id) as unit:
        assert await unit.articles.count() == 1
    async with db.transaction(user=account.user.id) as unit:
        with pytest.raises(AccessDenied):
            await unit.session.execute(text("DELETE FROM news.articles"))
