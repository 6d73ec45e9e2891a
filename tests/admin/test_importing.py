"""Files into tables: tried first, exact, whole or with what is right, and taken back."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from httpx2 import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from starlette.applications import Starlette

from admin.reading_in import Plan, guessed_mapping, read_in
from admin.spreadsheets import XlsxWriter
from admin.tabular import read_file
from admin.writing_out import CsvWriter, JsonWriter
from domain import Database
from domain.errors import InvalidData
from domain.identity.models import Role, RowOutcome
from domain.market.models import Instrument
from tests.admin.browsing import Page, send, visit
from tests.admin.conftest import Enter
from tests.admin.records import content
from tests.admin.test_lists import view_of
from tests.factories.market import make_currencies, make_instrument
from tests.factories.trading import open_account

SAME = {"sec-fetch-site": "same-origin"}
INSTRUMENTS = (
    "Symbol,kind,Quote currency,Name,Underlying,multiplier\r\n"
    'NVDA,stock,USD,"NVIDIA, ""the"" Corp.\r\nInc",,1\r\n'
    "ESH5,future,USD,'=1+1,SPY,50.000000000000000001\r\n"
    "AAPL,stock,USD,Apple Inc.,,\r\n"
)


async def upload(client: AsyncClient, table: str, name: str, file: bytes | str) -> Page:
    data = file.encode() if isinstance(file, str) else file
    answer = await client.post(f"/admin/{table}/upload", files={"file": (name, data)}, headers=SAME)
    return Page(answer.text)


async def step(client: AsyncClient, table: str, page: Page, **changes: str) -> Any:
    form = page.form("/upload/step").submitted(**changes)
    return await client.post(f"/admin/{table}/upload/step", data=form, headers=SAME)


async def test_a_file_is_tried_taken_in_and_taken_back(db: Database, boss: AsyncClient) -> None:
    async with db.transaction(system="test") as unit:
        await make_instrument(unit, "AAPL", name="Apple")
        spy = await make_instrument(unit, "SPY")
    before = await content(db)
    page = await upload(boss, "instruments", "new.csv", INSTRUMENTS)
    form = page.form("/upload/step")
    assert form.values["map-quote_currency"] == "Quote currency"
    assert form.values["map-underlying_id"] == "Underlying"
    assert form.values["key"] == "" and 'NVIDIA, "the" Corp.' in page.text
    choice = {"key": "", "mode": "insert", "do": "check"}
    tried = Page((await step(boss, "instruments", page, **choice)).text)
    assert "another record with this value already" in tried.text  # AAPL is there
    assert await content(db) == before
    strict = await step(boss, "instruments", tried, do="apply")
    assert strict.status_code == 422 and await content(db) == before
    done = await step(boss, "instruments", tried, do="apply", refused="skip")
    target = done.headers["location"].removeprefix("/admin")
    async with db.read(system="test") as unit:
        future = await unit.instruments.one(unit.instruments.query(Instrument.symbol == "ESH5"))
        nvidia = await unit.instruments.one(unit.instruments.query(Instrument.symbol == "NVDA"))
        (imported,) = await unit.table_imports.all()
    assert (future.name, future.underlying_id) == ("=1+1", spy.id)
    assert future.multiplier == Decimal("50.000000000000000001")
    assert nvidia.name == 'NVIDIA, "the" Corp.\r\nInc' and nvidia.multiplier == 1
    assert (imported.rows_total, imported.rows_inserted, imported.rows_rejected) == (3, 2, 1)
    assert "Take back" in (await visit(boss, target)).text
    again = await upload(boss, "instruments", "new.csv", INSTRUMENTS)
    assert "was imported into instruments before" in again.text
    refused = await step(boss, "instruments", again, do="apply", refused="skip")
    assert refused.status_code == 422 and "Tick" in refused.text
    assert (await send(boss, f"/table-imports/{imported.id}/revert")).status_code == 303
    twice = await send(boss, f"/table-imports/{imported.id}/revert")
    assert twice.status_code == 400 and "taken back already" in twice.text
    after = await content(db)
    for table in ("market.instruments", "market.currencies"):
        assert after[table] == before[table]


async def test_rows_find_their_record_by_its_key_and_change_what_differs(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db, name="Main", description="old")
    owner = account.user.username
    rows = [
        {"user": owner, "name": "Main", "base_currency": "USD", "description": "new"},
        {"user": owner, "name": "Second", "base_currency": "USD", "description": None},
        {"user": "nobody", "name": "Third", "base_currency": "USD", "description": None},
    ]
    page = await upload(boss, "portfolios", "p.json", json.dumps(rows))
    assert page.form("/upload/step").values["key"] == "user_id,name"
    tried = Page((await step(boss, "portfolios", page, do="check")).text)
    assert "be the id of a record: no record of this name" in tried.text
    report = await step(boss, "portfolios", tried, do="report")
    (fault,) = csv.DictReader(io.StringIO(report.text))
    assert (fault["line"], fault["column"], fault["value"]) == ("3", "user_id", "nobody")
    done = await step(boss, "portfolios", tried, do="apply", refused="skip")
    assert done.status_code == 303
    async with db.read(system="test") as unit:
        found = {item.name: item.description for item in await unit.portfolios.all()}
        (imported,) = await unit.table_imports.all()
    assert found == {"Main": "new", "Second": None}
    assert (imported.rows_updated, imported.rows_inserted) == (1, 1)
    # A record that was changed since, or that others refer to by now, stays as it is.
    async with db.transaction(system="test") as unit:
        await unit.portfolios.patch(account.portfolio.id, description="newer")
    refused = await send(boss, f"/table-imports/{imported.id}/revert")
    assert refused.status_code == 409 and "Line 1: Description changed since." in refused.text
    async with db.transaction(system="test") as unit:
        assert await unit.portfolios.count() == 2
        await unit.portfolios.patch(account.portfolio.id, description="new")
    assert (await send(boss, f"/table-imports/{imported.id}/revert")).status_code == 303
    async with db.read(system="test") as unit:
        (main,) = await unit.portfolios.all()
    assert main.description == "old"


async def test_what_is_set_once_and_what_is_not_made_here_is_refused(
    db: Database, boss: AsyncClient, enter: Enter
) -> None:
    account = await open_account(db, name="Main")
    rows = f"user_id,name,base_currency\n{account.user.id},Main,EUR\n"
    page = await upload(boss, "portfolios", "p.csv", rows)
    tried = await step(boss, "portfolios", page, do="check")
    assert "it is set when a record is made" in tried.text
    assert (await boss.get("/admin/trades/upload")).status_code == 405
    manager = await enter(Role.MANAGER)
    form = page.form("/upload/step").submitted(do="check")
    stolen = await manager.post("/admin/portfolios/upload/step", data=form, headers=SAME)
    assert stolen.status_code == 400 and "be sent again" in stolen.text
    wrong = await step(boss, "portfolios", page, **{"map-name": "nothing", "do": "check"})
    assert wrong.status_code == 422 and "be a column of the file" in wrong.text


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.csv", b""),
        ("a.csv", b"\xff\xfe1"),
        ("a.csv", b"a,a\n1,2\n"),
        ("a.csv", b'a,b\n"1,2\n'),
        ("a.csv", b'a\n"1"2\n'),
        ("a.csv", b"a\n" + b"x" * 200_000),
        ("a.csv", b"a\n" + b"1\n" * 20_001),
        ("a.csv", b",".join(b"c%d" % n for n in range(201))),
        ("a.json", b"{}"),
        ("a.json", b"[NaN]"),
        ("a.json", b"[" * 100_000),
        ("a.jsonl", b"{}\n{"),
        ("a.xlsx", b"PK"),
        ("a.exe", b"MZ"),
        ("csv", b"a\n1\n"),
    ],
)
async def test_a_file_that_is_none_is_refused_in_a_sentence(name: str, file: bytes) -> None:
    with pytest.raises(InvalidData):
        read_file(name, file)


# Texts that have meaning to readers of files; an empty cell has no value, and NUL is no text.
words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20
).filter(str.strip) | st.sampled_from(
    ["=1", "'=1", "a\r\nb", "a\u2028b", "a\x85b", '"', "NULL", "-5"]
)
amounts = st.decimals(
    allow_nan=False,
    allow_infinity=False,
    places=18,
    min_value="0.000000000000000001",
    max_value=10**15,
)
good = st.tuples(words, amounts, words)
bad = st.sampled_from([("x", "many", "y"), ("x", "0", "y"), ("x", "NaN", "y"), ("x", "1e400", "y")])


@given(
    st.lists(good | bad, min_size=1, max_size=12), st.sampled_from(["csv", "json", "jsonl", "xlsx"])
)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
async def test_right_rows_are_stored_exactly_and_every_other_one_is_told(
    db: Database, app: Starlette, rows: list[tuple[str, Any, str]], ending: str
) -> None:
    names = ("symbol", "kind", "quote_currency", "name", "multiplier", "exchange")
    cells = [
        (f"S{n}", "stock", "USD", name, multiplier, f"{exchange}{n}")
        for n, (name, multiplier, exchange) in enumerate(rows)
    ]
    writer = {
        "csv": lambda: CsvWriter(names),
        "json": lambda: JsonWriter(names, is_lines=False),
        "jsonl": lambda: JsonWriter(names, is_lines=True),
        "xlsx": lambda: XlsxWriter(names, "Instruments"),
    }[ending]()
    file = writer.start() + writer.rows(cells) + writer.end()  # type: ignore[attr-defined]
    table = read_file(f"file.{ending}", file)
    view = view_of(app, "instruments")
    plan = Plan(view, guessed_mapping(view, table.headings), ())
    async with db.transaction(system="test") as unit:
        await make_currencies(unit)
        report = await read_in(unit, plan, table)
        stored = (
            await unit.session.execute(
                select(
                    Instrument.symbol, Instrument.name, Instrument.multiplier, Instrument.exchange
                )
            )
        ).all()
        await unit.session.rollback()
    expected = {
        (f"S{n}", name, multiplier, f"{exchange}{n}")
        for n, (name, multiplier, exchange) in enumerate(rows)
        if isinstance(multiplier, Decimal)
    }
    assert {tuple(row) for row in stored} == expected
    assert len(report.done) == len(rows)
    assert report.count(RowOutcome.INSERTED) == len(expected)
    refused = [item for item in report.done if item.outcome is RowOutcome.REJECTED]
    assert len(refused) == len(rows) - len(expected)
    assert all(item.faults and item.faults[0].column == "multiplier" for item in refused)
