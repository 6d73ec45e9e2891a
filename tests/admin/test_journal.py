"""The journal and research in the admin: written by people, except what the ledger knows."""

from datetime import timedelta
from decimal import Decimal

import pytest
from httpx2 import AsyncClient

from domain import Database, JournalEntry
from domain.research.measuring import NewMetric, insert_metrics
from tests.admin.browsing import Page, key_of, links, send, visit
from tests.admin.records import MOMENT, make_everything
from tests.factories.identity import make_user
from tests.factories.journal import make_entry


@pytest.fixture
async def entry(db: Database) -> JournalEntry:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        return await make_entry(
            unit, user.id, title="Gap in oil", notes="Bought the opening range", pnl=Decimal("-4")
        )


async def test_an_entry_is_edited_in_sections(
    db: Database, boss: AsyncClient, entry: JournalEntry
) -> None:
    path = f"/journal-entries/edit/{key_of(entry)}"
    page = await visit(boss, path)
    assert page.html.count("<fieldset>") == 4
    for legend in ("Plan", "Trade", "Result", "Review"):
        assert f"<legend>{legend}</legend>" in page.html
    for field in ("notes", "title", "legs", "thesis", "pnl"):
        assert page.html.count(f'name="{field}"') == 1, field
    answer = await send(boss, path, page.form().submitted(rating="5", pnl="12.50", lessons="Wait"))
    assert answer.status_code == 303
    async with db.read(system="test") as unit:
        stored = await unit.journal_entries.get(entry.id)
    assert (stored.rating, stored.pnl, stored.lessons) == (5, Decimal("12.5"), "Wait")


async def test_profit_that_the_ledger_knows_cannot_be_typed(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    async with db.read(system="test") as unit:
        (entry,) = await unit.journal_entries.all()
    path = f"/journal-entries/edit/{key_of(entry)}"
    form = (await visit(boss, path)).form()
    answer = await send(boss, path, form.submitted(pnl="1000000", rating="1"))
    assert answer.status_code == 422
    assert "left to the ledger" in Page(answer.text).text
    async with db.read(system="test") as unit:
        stored = await unit.journal_entries.get(entry.id)
    assert (stored.pnl, stored.rating) == (entry.pnl, 4)


async def test_a_rule_that_an_entry_breaks_is_said_at_its_field(
    db: Database, boss: AsyncClient, entry: JournalEntry
) -> None:
    path = f"/journal-entries/edit/{key_of(entry)}"
    form = (await visit(boss, path)).form()
    for changes in ({"rating": "9"}, {"exit_on": "2020-01-01"}, {"initial_risk": "-1"}):
        answer = await send(boss, path, form.submitted(**changes))
        assert answer.status_code == 422, changes


async def test_entries_are_searched_by_their_words(
    db: Database, boss: AsyncClient, entry: JournalEntry
) -> None:
    for words, expected in (("opened range", 1), ("oil -gap", 0), ("' & | !", 0)):
        page = await visit(boss, f"/journal-entries/list?q={words.replace('&', '%26')}")
        assert len(set(links(page, "/journal-entries/details/"))) == expected, words


async def test_metrics_are_walked_page_by_page_and_opened(db: Database, boss: AsyncClient) -> None:
    rows = [
        NewMetric("vix", n, {"venue": str(n % 3)}, MOMENT + timedelta(days=n)) for n in range(120)
    ]
    async with db.transaction(system="test") as unit:
        await insert_metrics(unit, rows)
    seen: list[str] = []
    path = "/metrics/list"
    while path:
        page = await visit(boss, path)
        seen += dict.fromkeys(links(page, "/metrics/details/"))
        following = [item for item in page.addresses if item and "after=" in item]
        path = f"/metrics/list{following[0]}" if following else ""
    assert len(seen) == len(set(seen)) == 120
    details = await visit(boss, seen[0])
    assert "vix" in details.text
    for broken in ("vix;zz;2024-01-01T00:00:00+00:00", "vix;00;2024-01-01T00:00:00+00:00"):
        await visit(boss, f"/metrics/details/{broken}", status=404)


async def test_a_vector_and_the_words_of_a_search_are_on_no_page(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    for name in ("chunks", "journal-entries"):
        (path, *_) = links(await visit(boss, f"/{name}/list"), f"/{name}/details/")
        page = await visit(boss, path)
        export = await boss.get(f"/admin/{name}/export.csv")
        for text in (page.text, export.text.splitlines()[0]):
            assert "Search" not in text.split() and "embedding," not in text
