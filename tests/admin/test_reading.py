"""Pages that are read: texts, structures, lists on the page of what they belong to, pickers."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from httpx2 import AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.datastructures import QueryParams

from admin.fields import label_of
from admin.listing import Listing
from admin.paging import PAGE_SIZE
from admin.structures import Grid, Items, Leaf, Node, Pairs, structure
from domain import Database
from domain.agents import MessageRole, NewMessage, add_messages
from domain.db.page import beyond, decode_cursor, order_keys
from domain.market.ingesting import ingest_bars
from domain.market.models import Bar
from domain.market.terms import Timeframe
from tests.admin.browsing import Page, links, visit
from tests.admin.records import make_everything
from tests.admin.test_lists import plan_of, view_of
from tests.admin.test_walk import views
from tests.factories.agents import make_agent, make_conversation
from tests.factories.trading import Account, open_account

START = datetime(2024, 3, 1, tzinfo=UTC)


async def first(client: AsyncClient, identity: str, query: str = "") -> Page:
    """Return the page of the first record of a list."""
    listing = await visit(client, f"/{identity}/list{query}")
    return await visit(client, links(listing, f"/{identity}/details/")[0])


# ── what views say ───────────────────────────────────────────────────────────────────────────────


async def test_what_views_name_exists(app: Starlette) -> None:
    by_identity = {view.identity: view for view in views(app)}
    for view in by_identity.values():
        own = {attribute.key for attribute in view.mapper.column_attrs}
        assert {*view.pickers} <= {*view.keys} <= own, view.identity
        assert {*view.prose} <= {*view.columns}, view.identity
        assert all(view.targets()[name].search for name in view.pickers), view.identity
        for item in view.related:
            target = by_identity[item.identity]
            narrowed = {item.key, *item.same} - {""}
            assert narrowed and narrowed <= {*target.keys}, (view.identity, item.label)
            assert {*item.same} <= own, (view.identity, item.label)


async def test_every_link_to_a_related_list_opens_it(
    db: Database, app: Starlette, boss: AsyncClient
) -> None:
    await make_everything(db)
    for view in views(app):
        page = await first(boss, view.identity)
        for item in view.related:
            (link,) = {
                address.replace("&amp;", "&")
                for address in re.findall(
                    rf'class="button" href="/admin(/{item.identity}/list\?[^"]+)"', page.html
                )
                if (f"{item.key}=" if item.key else item.same[0]) in address
            }
            assert "Remove:" in (await visit(boss, link)).html, (view.identity, item.label)


# ── details ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_conversation_is_read_on_its_page(db: Database, boss: AsyncClient) -> None:
    account = await open_account(db)
    said = "Close above the average.\n" + "Buy 600 IBM. " * 20
    async with db.transaction(system="test") as unit:
        agent = await make_agent(unit, account, "trend")
        conversation = await make_conversation(unit, agent, title="Orders")
        message = NewMessage(role=MessageRole.ASSISTANT, content=said, time=START)
        await add_messages(unit, conversation, [message])
    page = await first(boss, "conversations")
    assert said.strip() in page.html
    heads = re.findall(r"<th[^>]*>([^<]+)</th>", page.html)
    assert "Content" in heads and "Conversation" not in heads, "each line would repeat the title"
    assert "Assistant, message 1 of Orders" in (await first(boss, "messages")).text


async def test_texts_and_structures_have_the_width_of_the_page(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    article = await first(boss, "articles")
    assert re.search(
        r'<h2[^>]*>Description</h2>\s*<p class="prose">\s*first\s+second', article.html
    )
    analysis = await first(boss, "analyses")
    assert "<dt>Trend</dt><dd><span" in analysis.html and "&lt;b&gt;up" in analysis.html
    assert "<summary>JSON</summary>" in analysis.html


async def test_what_is_empty_is_named_once_and_not_shown_as_dashes(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    page = await first(boss, "instruments", "?q=AAPL")
    (empty,) = re.findall(r'<p class="blank">(.*?)</p>', page.html, re.DOTALL)
    assert "ISIN" in empty and "Symbol" not in empty
    (fields,) = re.findall(
        r'<dl class="lines columns">(.*?)<p class="blank">', page.html, re.DOTALL
    )
    assert "AAPL" in fields and "—" not in fields


async def test_pages_are_named_for_what_they_show(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    names = {
        "bars": "AAPL, 1d of 2024-03-15 14:30 UTC",
        "daily-bars": "AAPL on 2024-03-15",
        "ticks": "AAPL at 2024-03-15 14:30:15 UTC",
        "latest-prices": "AAPL at 195.00",
        "fx-rates": "EUR/USD on 2024-03-15",
        "corporate-actions": "AAPL: cash dividend of 2024-05-10",
        "economic-releases": "GDPC1 for 2023-10-01",
        "analyses": "AAPL: chart, select",
        "leaderboard": "Standing of ",
        "screener-runs": "Weekly, run of ",
        "processed-messages": "journal: a/b c",
    }
    for identity, name in names.items():
        (heading,) = re.findall(r"<h1>(.*?)</h1>", (await first(boss, identity)).html)
        assert heading.startswith(name), identity


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


async def test_days_narrow_lists_of_days(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    for identity, day in (("journal-entries", "2024-03-15"), ("daily-bars", "2024-03-15")):
        for query, count in ((f"from={day}&to={day}", 1), ("to=2024-03-14", 0)):
            page = await visit(boss, f"/{identity}/list?{query}")
            assert len(links(page, f"/{identity}/details/")) == count, (identity, query)


async def test_an_instrument_is_picked_by_typing(db: Database, boss: AsyncClient) -> None:
    account = await make_everything(db)
    page = await visit(boss, f"/ticks/list?instrument_id={account.instrument.id}")
    assert 'data-lookup="/admin/instruments/lookup" data-label="AAPL"' in page.html
    quick = next(form for form in page.forms if "instrument_id" in form.values)
    assert quick.values["instrument_id"] == str(account.instrument.id)
    assert len(links(page, "/ticks/details/")) == 1


async def test_a_name_in_a_line_leads_to_what_it_names(db: Database, boss: AsyncClient) -> None:
    account = await make_everything(db)
    bars = await visit(boss, "/bars/list")
    assert links(bars, "/instruments/details/") == [f"/instruments/details/{account.instrument.id}"]
    assert len(links(bars, "/bars/details/")) == 1
    assert links(bars, "/currencies/details/") == []
    tags = await visit(boss, "/entry-tags/list")
    assert len(links(tags, "/tags/details/")) == len(links(tags, "/entry-tags/details/")) == 1


async def test_a_missing_number_stands_where_numbers_stand(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    assert (
        '<td class="number"><span class="number none">—' in (await visit(boss, "/ticks/list")).html
    )


async def test_the_menu_opens_the_area_of_the_page(boss: AsyncClient) -> None:
    def opened(page: Page) -> list[str]:
        return re.findall(r'data-area="(\w+)" open', page.html)

    assert opened(await visit(boss, "/")) == ["Trading"]
    assert opened(await visit(boss, "/leaderboard/list")) == ["Agents"]
    menu = {path.partition("?")[0] for path in (await visit(boss, "/")).addresses}
    assert "/admin/journal-entries/list" in menu and "/admin/entry-tags/list" not in menu
    own = (await visit(boss, "/entry-tags/list")).addresses
    assert "/admin/entry-tags/list" in own, "who is there sees where"


# ── cost ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def minutes(db: Database) -> Account:
    """Two instruments with forty days of minutes each, in partitions."""
    account = await open_account(db)
    other = await open_account(db, "grace", symbol="MSFT")
    prices = {name: Decimal(190) for name in ("open", "high", "low", "close", "volume")}
    fixed: dict[str, Any] = {"timeframe": Timeframe.M1, "source": "load", **prices}
    for instrument in (account.instrument, other.instrument):
        rows = [
            {"instrument_id": instrument.id, "time": START + timedelta(minutes=4 * n), **fixed}
            for n in range(14_400)
        ]
        async with db.transaction(system="test") as unit:
            await ingest_bars(unit, rows, mode="append")
    engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("ANALYZE market.bars"))
    return account


async def test_a_page_of_bars_is_read_from_the_index_of_each_partition(
    db: Database, app: Starlette, boss: AsyncClient, minutes: Account
) -> None:
    instrument = f"instrument_id={minutes.instrument.id}"
    queries = ["", instrument, f"{instrument}&timeframe=1m", f"{instrument}&from=2024-03-20"]
    view = view_of(app, "bars")
    async with db.snapshot(staff="test") as unit:
        for query in queries:
            statement = Listing(view, QueryParams(query)).statement(unit)
            keys = order_keys(statement, Bar)
            page = await unit.bars.page(statement, limit=1_000)
            assert page.after is not None
            deep = beyond(keys, decode_cursor(keys, page.after), forward=True)
            for asked in (statement, statement.where(deep)):
                nodes = await plan_of(unit, asked.limit(PAGE_SIZE + 1))
                names = [(node.get("Relation Name", ""), node) for node in nodes]
                over = [node for name, node in names if name.startswith("market_bars_")]
                kinds = {node["Node Type"] for node in over}
                assert over and kinds == {"Index Scan"}, (query, kinds)
                assert [n for n in nodes if n["Node Type"] == "Sort" and n["Plan Rows"] > 100] == []
    for query in queries:
        page_read = await visit(boss, f"/bars/list?{query}")
        assert len(links(page_read, "/bars/details/")) == PAGE_SIZE, query


# ── structures ───────────────────────────────────────────────────────────────────────────────────


def test_objects_of_a_kind_are_a_table_with_names_before_numbers() -> None:
    found = structure([{"close": "133.26", "symbol": "IBM"}, {"close": "40.53", "symbol": "USO"}])
    assert isinstance(found, Grid)
    assert found.heads == ["Symbol", "Close"]
    assert [[cell.text for cell in row] for row in found.rows] == [
        ["IBM", "133.26"],
        ["USO", "40.53"],
    ]


def test_words_are_a_line_and_objects_are_pairs() -> None:
    found = structure({"above_average_of_days": 50, "symbols": ["AAPL", "IBM"], "none": None})
    assert isinstance(found, Pairs)
    shown = {name: part.cell.text for name, part in found.parts}
    assert shown == {label_of("above_average_of_days"): "50", "Symbols": "AAPL, IBM", "None": "—"}
    questions = structure(["Is the loss known?", "Is there an event before expiration?"])
    assert isinstance(questions, Items) and len(questions.parts) == 2


def test_what_is_too_deep_or_too_long_is_left_to_its_json() -> None:
    deep: Any = 1
    for _ in range(10):
        deep = [deep]
    assert structure(deep) is None
    assert structure(list(range(201))) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=30,
)


def _texts(node: Node) -> int:
    """Return how many values a node shows."""
    if isinstance(node, Leaf):
        return 1
    if isinstance(node, Grid):
        assert all(len(row) == len(node.heads) for row in node.rows)
        return sum(len(row) for row in node.rows)
    if isinstance(node, Items):
        return sum(_texts(part) for part in node.parts)
    return sum(_texts(part) for _, part in node.parts)


@given(json_values)
def test_any_json_can_be_read(value: Any) -> None:
    found = structure(value)
    assert found is None or _texts(found) >= 1
