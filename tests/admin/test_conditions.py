"""Conditions on any column: their text, their meaning, and the form that builds them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import cycle
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pytest
from httpx2 import AsyncClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.datastructures import QueryParams

from admin.building import built, from_form
from admin.conditions import OPERATORS, Condition, Group, read, written
from admin.listing import Listing
from domain import Database
from domain.errors import InvalidData
from domain.market.models import Instrument
from tests.admin.browsing import links, visit
from tests.admin.records import make_everything
from tests.admin.test_lists import insert_trades, view_of
from tests.factories.market import make_currencies
from tests.factories.trading import open_account

ZONE = "America/New_York"
_WORDS = ("AAPL", "aapl", "Apple, Inc.", 'say "hi" | (now)', "50%_off", "back\\slash", "")
_NUMBERS = ("-1.5", "0", "0.000000000000000001", "2", "12345678901234567.25")
_DAYS = ("2024-03-09", "2024-03-10", "2024-03-11")
_KINDS = ("stock", "etf", "index")
_MOMENT = datetime(2024, 3, 10, 4, 30, tzinfo=UTC)  # half an hour before the day begins there


def rows() -> list[dict[str, Any]]:
    """Return instruments that differ in every column, with and without values."""
    words, numbers = cycle([*_WORDS, None]), cycle([*map(Decimal, _NUMBERS), None])
    days, kinds = cycle([*map(date.fromisoformat, _DAYS), None]), cycle(_KINDS)
    return [
        {
            "symbol": f"S{n}",
            "kind": next(kinds),
            "quote_currency": "USD",
            "settlement_currency": "EUR" if n % 4 else None,
            "is_inverse": n % 4 == 1,
            "name": next(words),
            "tick_size": next(numbers),
            "listed_on": next(days),
            "details": {} if n % 3 else {"n": n},
            "created_at": _MOMENT + timedelta(minutes=17 * n, microseconds=n),
        }
        for n in range(53)
    ]


# ── what conditions mean, without a database ─────────────────────────────────────────────────────


def _bounds(name: str, text: str) -> tuple[Any, Any]:
    """Return the first and the last value that a text stands for."""
    if name == "tick_size":
        return Decimal(text), Decimal(text)
    if name == "listed_on":
        return date.fromisoformat(text), date.fromisoformat(text)
    if len(text) > 10:
        return datetime.fromisoformat(text), datetime.fromisoformat(text)
    start = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE))
    end = start + timedelta(days=1)  # on the wall clock: 23 hours when summer time begins
    return start.astimezone(UTC), end.astimezone(UTC) - timedelta(microseconds=1)


_TOLD: dict[str, Callable[..., bool]] = {
    "is": lambda value, at: at[0] <= value <= at[1],
    "lt": lambda value, at: value < at[0],
    "gt": lambda value, at: value > at[1],
    "from": lambda value, at: value >= at[0],
    "to": lambda value, at: value <= at[1],
    "between": lambda value, low, high: low[0] <= value <= high[1],
    "any": lambda value, *given: any(at[0] <= value <= at[1] for at in given),
}
_SAID: dict[str, Callable[..., bool]] = {
    "is": lambda value, given: value == given,
    "any": lambda value, *given: value in given,
    "begins": lambda value, given: value.startswith(given),
    "contains": lambda value, given: given.lower() in value.lower(),
}


def holds(row: dict[str, Any], part: Condition | Group) -> bool:
    if isinstance(part, Group):
        return (any if part.word == "or" else all)(holds(row, inner) for inner in part.parts)
    value, word = row[part.name], part.operator
    if word in {"empty", "filled"}:
        is_empty = value is None or value in ("", {})
        return is_empty == (word == "empty")
    if word == "not":
        return not holds(row, Condition(part.name, "is", part.values))
    if value is None:
        return False
    if part.name in {"tick_size", "listed_on", "created_at"}:
        return _TOLD[word](value, *(_bounds(part.name, text) for text in part.values))
    given = [text == "yes" for text in part.values] if part.name == "is_inverse" else part.values
    return _SAID[word](value, *given)


_MOMENTS = (*_DAYS, *((_MOMENT + timedelta(minutes=17 * n)).isoformat() for n in (0, 5)))
_COLUMNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "name": ("text", (*filter(None, _WORDS), "a", "%", "\\")),
    "kind": ("choice", _KINDS),
    "settlement_currency": ("reference", ("EUR", "USD")),
    "tick_size": ("number", (*_NUMBERS, "1e2", "1,000")),
    "listed_on": ("day", _DAYS),
    "created_at": ("instant", _MOMENTS),
    "is_inverse": ("boolean", ("yes", "no")),
    "details": ("structure", ()),
}


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    name = draw(st.sampled_from(sorted(_COLUMNS)))
    kind, values = _COLUMNS[name]
    values = tuple(value for value in values if value not in {"1e2", "1,000"})
    words = [word for word, item in OPERATORS.items() if kind in item.kinds]
    operator = OPERATORS[draw(st.sampled_from(words))]
    count = st.integers(operator.least, min(operator.most, 3))
    given_values = [draw(st.sampled_from(values)) for _ in range(draw(count))]
    return Condition(name, operator.word, tuple(given_values))


groups: st.SearchStrategy[Group] = st.recursive(
    st.builds(
        Group,
        st.sampled_from(["and", "or"]),
        st.lists(conditions(), min_size=1, max_size=3).map(tuple),
    ),
    lambda inner: st.builds(
        Group,
        st.sampled_from(["and", "or"]),
        st.lists(conditions() | inner, min_size=1, max_size=3).map(tuple),
    ),
    max_leaves=4,
)


@given(st.lists(groups, min_size=25, max_size=25))
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
async def test_the_database_finds_what_a_plain_filter_finds(
    db: Database, app: Starlette, asked: list[Group]
) -> None:
    everything = rows()
    async with db.transaction(system="test") as unit:
        if not await unit.instruments.count():
            await make_currencies(unit)
            await unit.instruments.insert_many(everything)
    view = view_of(app, "instruments")
    async with db.read(system="test") as unit:
        for group in asked:
            listing = Listing(view, QueryParams({"where": written(group)}), ZONE)
            statement = unit.instruments.query(*listing.conditions())
            found = {item.symbol for item in await unit.instruments.all(statement)}
            assert found == {row["symbol"] for row in everything if holds(row, group)}, group


# ── text and form ────────────────────────────────────────────────────────────────────────────────


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
free = st.builds(
    Condition,
    st.sampled_from(["name", "price"]),
    st.sampled_from(sorted(OPERATORS)),
    st.lists(texts, max_size=3).map(tuple),
)
trees: st.SearchStrategy[Group] = st.builds(
    Group,
    st.sampled_from(["and", "or"]),
    st.lists(
        free
        | st.builds(
            Group, st.sampled_from(["and", "or"]), st.lists(free, min_size=1, max_size=3).map(tuple)
        ),
        min_size=2,
        max_size=4,
    ).map(tuple),
)


@given(trees)
def test_conditions_survive_their_way_through_an_address(group: Group) -> None:
    assert read(written(group)) == group


@given(st.text(max_size=60))
@example('1:name.is."')
@example("1:and(or(name.is.x)")
def test_any_text_is_read_or_refused_with_a_rule(text: str) -> None:
    try:
        group = read(text)
    except InvalidData as refused:
        rule = refused.rule
    else:
        rule = ""
        assert read(written(group)) == group
    assert rule or text == "" or text.startswith("1:")


@given(groups)
def test_the_form_brings_back_what_it_shows(group: Group) -> None:
    given_values: list[tuple[str, str]] = []

    def fill(frame: Any) -> None:
        given_values.append((f"g-{frame.place}", frame.word))
        for row in frame.rows:
            given_values.append((f"f-{row.place}", row.condition.name))
            given_values.append((f"o-{row.place}", row.condition.operator))
            given_values.append((f"v-{row.place}", row.texts))
        for inner in frame.groups:
            fill(inner)

    fill(built(group))
    assert from_form(QueryParams(given_values)) == group


async def test_a_form_without_script_leads_to_an_address_that_people_read(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    form = "build=1&f-0=side&o-0=is&v-0=buy&f-1=price&o-1=between&v-1=100+|+200&f-2=&o-2=is&v-2="
    answer = await boss.get(f"/admin/trades/list?kind=fill&{form}")
    assert answer.status_code == 303
    target = unquote(answer.headers["location"])
    assert target == "/admin/trades/list?kind=fill&where=1:side.is.buy,price.between.100|200"
    page = await visit(boss, target.removeprefix("/admin"))
    assert len(links(page, "/trades/details/")) == 1
    assert "Side buy" in page.text and "Price between 100 and 200" in page.text
    removed = await visit(boss, "/trades/list?kind=fill&where=1:or(side.is.sell,price.lt.0)")
    assert len(links(removed, "/trades/details/")) == 1


async def test_a_reference_in_a_condition_is_called_by_its_name(
    db: Database, boss: AsyncClient
) -> None:
    account = await make_everything(db)
    page = await visit(boss, f"/trades/list?where=1:instrument_id.is.{account.instrument.id}")
    assert "Instrument AAPL" in page.text
    assert len(links(page, "/trades/details/")) == 2


# ── facets, dates, columns, counts ───────────────────────────────────────────────────────────────


async def test_choices_say_how_often_they_occur_when_asked(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    page = await visit(boss, "/trades/list?side=sell&facets=1")
    # The other filters count, a filter's own choice does not hide what else there is.
    assert "buy (1)" in page.text and "sell (1)" in page.text
    assert "fill (1)" in page.text and "bust (0)" in page.text
    assert "buy (" not in (await visit(boss, "/trades/list")).text


async def test_years_lead_to_months_and_months_to_days(db: Database, boss: AsyncClient) -> None:
    account = await open_account(db)
    await insert_trades(db, account, 60_000)  # from January 2020 to February 2021
    page = await visit(boss, "/trades/list")
    assert "2020 2021" in page.text
    page = await visit(boss, "/trades/list?from=2021-01-01&to=2021-12-31")
    assert "All dates 2021 Jan Feb" in page.text and "Feb Mar" not in page.text
    page = await visit(boss, "/trades/list?from=2021-02-01&to=2021-02-28")
    assert "2021 Feb 1 2 3" in page.text


async def test_a_jump_to_a_day_can_be_left_both_ways(db: Database, boss: AsyncClient) -> None:
    account = await open_account(db)
    await insert_trades(db, account, 2_000)
    page = await visit(boss, "/trades/list?at=2020-01-05")
    assert "2020-01-05 23:50:00" in page.text and "2020-01-06 00:00:00" not in page.text
    assert 'rel="prev"' in page.html and 'rel="next"' in page.html
    start = page.html.index('rel="prev" href="') + 17
    back = page.html[start : page.html.index('"', start)].replace("&amp;", "&")
    assert "2020-01-06 00:00:00" in (await visit(boss, f"/trades/list{back}")).text


async def test_columns_are_chosen_in_order_and_secrets_never(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    answer = await boss.get("/admin/users/list?column=role&column=username")
    assert answer.headers["location"] == "/admin/users/list?columns=role%2Cusername".replace(
        "%2C", ","
    )
    page = await visit(boss, "/users/list?columns=role,username")
    heads = page.html[page.html.index("<thead>") : page.html.index("</thead>")]
    assert heads.index("Role") < heads.index("Username") and "E-mail" not in heads
    assert "password_hash" not in page.html
    assert (await boss.get("/admin/users/list?columns=password_hash")).status_code == 400
    assert (await boss.get("/admin/users/list?where=1:password_hash.filled")).status_code == 400
    assert (await boss.get("/admin/users/list?sort=password_hash")).status_code == 400


async def test_counts_are_exact_when_cheap_and_when_asked(db: Database, boss: AsyncClient) -> None:
    account = await open_account(db)
    await insert_trades(db, account, 61_000)
    engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql("ANALYZE trading.trades")
    assert "about 61,000" in (await visit(boss, "/trades/list")).text
    assert "Trades 61,000" in (await visit(boss, "/trades/list?count=exact")).text
    page = await visit(boss, "/trades/list?from=2020-01-01&to=2020-01-10")
    assert "Trades 1,439" in page.text  # counted: the planner expects few
    assert (await boss.get("/admin/trades/count?side=buy")).text.strip() == "30,500"
    # Sixty thousand are not sorted without an index, a tenth of them are.
    long = await boss.get("/admin/trades/list?sort=price")
    assert long.status_code == 400 and "narrow the list first" in long.text
    assert "No index serves this order" in (await visit(boss, "/trades/list")).html
    await visit(boss, "/trades/list?sort=price,-quantity&from=2020-01-01&to=2020-01-31")


@pytest.mark.parametrize("sort", ["name,-kind", "-name", "kind,-listed_on,name", "-tick_size"])
async def test_a_walk_in_any_order_meets_every_row_once_while_others_come(
    db: Database, app: Starlette, sort: str
) -> None:
    async with db.transaction(system="test") as unit:
        await make_currencies(unit)
        await unit.instruments.insert_many(rows())
    listing = Listing(view_of(app, "instruments"), QueryParams({"sort": sort}))
    seen: list[Instrument] = []
    after: str | None = ""
    before: str | None = None
    while after is not None:
        async with db.transaction(system="test") as unit:
            page = await unit.instruments.page(
                listing.statement(unit), limit=7, after=after or None
            )
            seen += page.items
            after, before, last = page.after, page.before, len(page.items)
            latecomer = {**rows()[len(seen) % 53], "symbol": f"LATE{len(seen)}"}
            await unit.instruments.insert_many([latecomer])
    symbols = [item.symbol for item in seen]
    old = [symbol for symbol in symbols if not symbol.startswith("LATE")]
    assert len(set(symbols)) == len(symbols) and set(old) == {f"S{n}" for n in range(53)}
    first = sort.split(",", maxsplit=1)[0].removeprefix("-")
    values = [getattr(item, first) for item in seen]
    assert None not in values[: len(values) - values.count(None)]  # empty ones stand at the end
    back: list[str] = []
    while before is not None:
        async with db.read(system="test") as unit:
            page = await unit.instruments.page(listing.statement(unit), limit=7, before=before)
            back = [item.symbol for item in page.items] + back
            before = page.before
    earlier = symbols[:-last]
    assert [symbol for symbol in back if not symbol.startswith("LATE")] == [
        symbol for symbol in earlier if not symbol.startswith("LATE")
    ]
