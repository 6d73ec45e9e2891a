"""Lists: filtered, walked and exported at a cost that does not grow with the table."""

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import Select, event, text
from sqlalchemy.dialects import postgresql
from starlette.applications import Starlette
from starlette.datastructures import QueryParams

from admin.listing import Listing
from admin.paging import PAGE_SIZE
from admin.records import RecordView
from domain import Database
from domain.database import Reader
from domain.db.page import beyond, decode_cursor, order_keys
from domain.trading.models import Trade
from domain.trading.terms import Side
from tests.admin.browsing import Page, key_of, links, visit
from tests.admin.conftest import user_named
from tests.admin.records import MOMENT, make_everything
from tests.factories.trading import Account, open_account

_MANY = 60_000
_INSERT = """
INSERT INTO trading.trades (user_id, portfolio_id, instrument_id, side, quantity, price,
    gross_amount, currency, fee_currency, executed_at, source, dedupe_key)
SELECT :user, :portfolio, :instrument, CASE n % 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 1, 190.25,
    190.25, 'USD', 'USD', timestamptz '2020-01-01' + n * interval '10 minutes', 'load', n::text
FROM generate_series(1, :count) AS n
"""


async def insert_trades(db: Database, account: Account, count: int) -> None:
    async with db.transaction(system="test") as unit:
        values = {
            "user": account.user.id,
            "portfolio": account.portfolio.id,
            "instrument": account.instrument.id,
            "count": count,
        }
        await unit.session.execute(text(_INSERT), values)


def view_of(app: Starlette, identity: str) -> RecordView:
    (found,) = [view for view in app.state.site.records() if view.identity == identity]
    return found


# ── pages ────────────────────────────────────────────────────────────────────────────────────────


async def test_pages_walk_forth_and_back_over_every_record_once(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    await insert_trades(db, account, 2 * PAGE_SIZE + 3)
    seen: list[str] = []
    pages: list[list[str]] = []
    path = "/trades/list"
    while path:
        page = await visit(boss, path)
        pages.append(links(page, "/trades/details/"))
        seen += pages[-1]
        forth = re.search(r'rel="next" href="([^"]+)"', page.html)
        path = f"/trades/list{forth[1]}".replace("&amp;", "&") if forth else ""
    assert [len(page) for page in pages] == [PAGE_SIZE, PAGE_SIZE, 3]
    assert len(set(seen)) == len(seen) == 2 * PAGE_SIZE + 3
    back = re.search(r'rel="prev" href="([^"]+)"', page.html)
    assert back is not None
    page = await visit(boss, f"/trades/list{back[1]}")
    assert links(page, "/trades/details/") == pages[1]


async def test_filters_search_and_days_narrow_the_list(db: Database, boss: AsyncClient) -> None:
    account = await make_everything(db)
    other = await open_account(db, "grace", symbol="MSFT")
    await other.trade(Side.BUY, "7", "400", executed_at=MOMENT + timedelta(days=1))
    counts = {
        "": 3,
        "?side=buy": 2,
        "?side=sell&status=booked": 1,
        "?q=aapl": 2,
        "?q=MSFT": 1,
        "?q=nothing": 0,
        f"?portfolio_id={account.portfolio.id}": 2,
        f"?instrument_id={other.instrument.id}&side=buy": 1,
        f"?user_id={other.user.id}": 1,
        "?from=2024-03-16": 1,
        "?to=2024-03-15": 2,
        "?from=2024-03-15&to=2024-03-15&side=buy": 1,
        "?kind=bust": 0,
        "?unknown=parameter": 3,
    }
    for query, count in counts.items():
        page = await visit(boss, f"/trades/list{query}")
        assert len(links(page, "/trades/details/")) == count, query
    page = await visit(boss, f"/trades/list?portfolio_id={account.portfolio.id}&side=buy")
    assert "Portfolio Main \N{MULTIPLICATION SIGN}" in page.text
    quick = next(form for form in page.forms if "side" in form.values)
    assert quick.values["portfolio_id"] == key_of(account.portfolio)
    assert "Nothing matches." in (await visit(boss, "/trades/list?kind=bust")).text


async def test_a_day_begins_where_the_reader_is(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)  # trades at 14:30 and 15:30 UTC
    async with db.transaction(system="test") as unit:
        user = await unit.users.get((await user_named(db, "boss")).id)
        user.timezone = "Pacific/Auckland"  # 03:30 and 04:30 of the next day
    page = await visit(boss, "/trades/list?from=2024-03-16&to=2024-03-16")
    assert len(links(page, "/trades/details/")) == 2
    assert "2024-03-16 03:30:15" in page.text and "2024-03-15 14:30:15.123456+00:00" in page.html


async def test_a_list_turns_around_at_its_heading(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    page = await visit(boss, "/trades/list")
    assert 'aria-sort="descending"' in page.html
    newest = links(page, "/trades/details/")
    page = await visit(boss, "/trades/list?sort=executed_at")
    assert 'aria-sort="ascending"' in page.html
    assert links(page, "/trades/details/") == newest[::-1]
    dearest = links(await visit(boss, "/trades/list?sort=-price"), "/trades/details/")
    assert dearest == newest  # 195.5 was sold after 190.25 was bought
    both = links(await visit(boss, "/trades/list?sort=currency,price"), "/trades/details/")
    assert both == newest[::-1]


async def test_a_list_is_sorted_by_the_names_behind_its_references(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    await account.trade(Side.BUY, "1", "190")
    other = await open_account(db, "grace", symbol="MSFT")
    await other.trade(Side.BUY, "2", "400")
    await account.trade(Side.SELL, "1", "195", minute=1)
    page = await visit(boss, "/trades/list")
    assert "sort=instrument" in page.html and "sort=portfolio" in page.html
    rising = await visit(boss, "/trades/list?sort=instrument,-price")
    assert in_order(rising.html, "195.00", "190.00", "400.00")
    falling = await visit(boss, "/trades/list?sort=-instrument,-price")
    assert in_order(falling.html, "400.00", "195.00", "190.00")
    owners = await visit(boss, "/portfolios/list?sort=-user")
    assert in_order(owners.html, ">grace<", ">ada<")
    exported = (await boss.get("/admin/trades/export.csv?sort=-instrument,price")).text
    assert in_order(exported, ",400,", ",190,", ",195,")


def in_order(text: str, *parts: str) -> bool:
    places = [text.index(part) for part in parts]
    return places == sorted(places)


WRONG = (
    "after=nonsense",
    "after=WyJ4Il0",
    "before=%00",
    "after=" + "A" * 5_000,
    "side=hold",
    "side=%00",
    "status=",
    "portfolio_id=main",
    "portfolio_id=%00",
    "from=yesterday",
    "from=0001-01-01",
    "to=9999-12-31",
    "to=2024-02-30",
    "where=side.is.buy",
    "where=1:side.is.hold",
    "where=1:side.about.buy",
    "where=1:nothing.is.1",
    "where=1:price.between.1",
    "where=1:price.is.one",
    "where=1:price.is.1)",
    "where=1:or(price.is.1",
    "where=1:executed_at.is.2024-02-30",
    "where=1:executed_at.is.9999-12-31",
    "where=1:instrument_id.any.AAPL",
    "where=1:sequence.is.99999999999999999999",
    "where=1:description.contains.%00",
    "where=1:" + "or(" * 9,
    "where=1:" + "price.is.1," * 60 + "price.is.1",
    "sort=nothing",
    "sort=lot_selection",
    "sort=price,price",
    "columns=nothing",
    "at=yesterday",
    "sort=price&at=2024-01-01",
    "q=%00",
    "q=" + "x" * 201,
)
"""Questions that no list answers, and two that look like it."""


async def test_a_wrong_question_is_answered_with_a_sentence(
    boss: AsyncClient, subtests: pytest.Subtests
) -> None:
    for query in WRONG:
        with subtests.test(query=query):
            answer = await boss.get(f"/admin/trades/list?{query}")
            assert answer.status_code == (200 if query in {"status=", "from=0001-01-01"} else 400)
            page = Page(answer.text)
            assert answer.status_code == 200 or " must " in page.text
            assert "Traceback" not in answer.text and "asyncpg" not in answer.text
            if not query.startswith(("after", "before", "at", "sort=price&at")):
                export = await boss.get(f"/admin/trades/export.csv?{query}")
                assert export.status_code == answer.status_code


async def test_names_come_with_the_page_and_not_with_each_row(
    db: Database, boss: AsyncClient, app: Starlette
) -> None:
    account = await open_account(db)
    await insert_trades(db, account, PAGE_SIZE)
    statements: list[str] = []
    site = app.state.site

    def count(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    event.listen(site.db.engine.sync_engine, "before_cursor_execute", count)
    try:
        await visit(boss, "/trades/list")
    finally:
        event.remove(site.db.engine.sync_engine, "before_cursor_execute", count)
    assert len(statements) <= 12, statements


# ── export ───────────────────────────────────────────────────────────────────────────────────────


async def test_an_export_is_exact_filtered_and_runs_no_formula(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    answer = await boss.get("/admin/trades/export.csv?side=buy")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="trades-[0-9-]+\.csv"', answer.headers["content-disposition"]
    )
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["quantity"] == "10.000000000000000001"
    assert (row["price"], row["commission"]) == ("190.25", "1.05")
    assert row["description"] == '\'=HYPERLINK("https://evil.example")'
    assert row["executed_at"] == "2024-03-15T14:30:15.123456+00:00"
    assert (row["strategy"], row["lot_selection"]) == ("", "[]")
    instruments = csv.DictReader(
        io.StringIO((await boss.get("/admin/instruments/export.csv")).text)
    )
    assert json.loads(next(instruments)["details"]) == {"sector": "Technology", "empty": []}


async def test_an_export_streams_all_rows_in_order(db: Database, boss: AsyncClient) -> None:
    account = await open_account(db)
    await insert_trades(db, account, 7_001)
    async with boss.stream("GET", "/admin/trades/export.csv") as answer:
        assert "content-length" not in answer.headers
        lines = [line async for line in answer.aiter_lines()]
    times = [row["executed_at"] for row in csv.DictReader(lines)]
    assert len(times) == 7_001
    assert times == sorted(times, reverse=True)


# ── cost ─────────────────────────────────────────────────────────────────────────────────────────


async def plan_of(unit: Reader, statement: Select[Any]) -> list[dict[str, Any]]:
    """Return the nodes of the plan, as PostgreSQL would run the statement now."""
    compiled = statement.compile(
        dialect=postgresql.dialect(),
        compile_kwargs={"literal_binds": True, "render_postcompile": True},
    )
    rows = await unit.session.execute(
        text("EXPLAIN (FORMAT JSON) " + str(compiled).replace(":", r"\:"))
    )
    nodes, waiting = [], [rows.scalar_one()[0]["Plan"]]
    while waiting:
        nodes.append(waiting.pop())
        waiting += nodes[-1].get("Plans", [])
    return nodes


def page_statement(unit: Reader, listing: Listing, after: str | None) -> Select[Any]:
    statement = listing.statement(unit)
    if after is not None:
        keys = order_keys(statement, Trade)
        statement = statement.where(beyond(keys, decode_cursor(keys, after), forward=True))
    return statement.limit(PAGE_SIZE + 1)


@pytest.fixture
async def many(db: Database, boss: AsyncClient) -> Account:
    """More trades of one account than a page may sort, among a few of another."""
    account = await open_account(db)
    await insert_trades(db, account, _MANY)
    small = await open_account(db, "grace", symbol="MSFT")
    await small.trade(Side.BUY, "7", "400")
    engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("ANALYZE trading.trades"))
    return account


async def test_a_page_of_sixty_thousand_trades_is_read_from_an_index(
    db: Database, app: Starlette, boss: AsyncClient, many: Account
) -> None:
    async with db.read(system="test") as unit:
        small = next(item for item in await unit.portfolios.all() if item.id != many.portfolio.id)
    page = await visit(boss, "/trades/list")
    assert "about 60,00" in page.text
    filters = {
        "": "",
        "portfolio": f"portfolio_id={many.portfolio.id}",
        "instrument": f"instrument_id={many.instrument.id}",
        "user": f"user_id={many.user.id}",
        "days": "from=2021-01-01&to=2021-01-31",
        "side": "side=buy",
        "small portfolio": f"portfolio_id={small.id}",
    }
    view = view_of(app, "trades")
    async with db.snapshot(staff="test") as unit:
        for name, query in filters.items():
            listing = Listing(view, QueryParams(query))
            middle = "executed_at <= '2021-01-20'"
            deep = await unit.trades.page(listing.statement(unit).where(text(middle)), limit=1)
            for after in (None, deep.after):
                nodes = await plan_of(unit, page_statement(unit, listing, after))
                over_trades = [node for node in nodes if node.get("Relation Name") == "trades"]
                assert [node["Node Type"] for node in over_trades] == ["Index Scan"], (name, nodes)
                # A portfolio of a handful of trades may be sorted; a page of many must not.
                sorts = [
                    node
                    for node in nodes
                    if node["Node Type"] == "Sort" and node["Plan Rows"] > 100
                ]
                assert sorts == [], (name, after)
                assert nodes[0]["Node Type"] == "Limit" and nodes[0]["Total Cost"] < 500, name
                presorted = [node for node in nodes if node["Node Type"] == "Incremental Sort"]
                assert all(node["Presorted Key"] for node in presorted)
    for name, query in filters.items():
        found = links(await visit(boss, f"/trades/list?{query}"), "/trades/details/")
        assert len(found) == (1 if name == "small portfolio" else PAGE_SIZE), name
