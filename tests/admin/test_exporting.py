"""Files out of lists: exact in every format, quick to begin, gone when nobody reads."""

import asyncio
import csv
import io
import json
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest
from httpx2 import AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from starlette.applications import Starlette
from starlette.datastructures import QueryParams

from admin.exporting import FORMATS, Download, Export, parts_of
from admin.listing import Listing
from admin.spreadsheets import XlsxWriter
from admin.writing_out import CsvWriter, JsonWriter, as_text, guarded, unguarded
from domain import Database
from tests.admin.browsing import visit
from tests.admin.records import make_everything
from tests.admin.test_lists import insert_trades, view_of
from tests.factories.trading import open_account

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
nasty = st.sampled_from(
    ["=1+1", "'=1", "''-x", "-5", "+", "@a", "\t=x", "\r\n", "_x0041_", "a,b", '"', "\u2028", " x "]
)
numbers = st.decimals(
    allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19
)
values = st.one_of(
    texts,
    nasty,
    numbers,
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.dictionaries(texts, st.lists(texts, max_size=2), max_size=2),
    st.none(),
)
tables = st.lists(st.tuples(values, values, values), max_size=12)
NAMES = ("one", "two", "three")


def written(writer: Any, rows: list[tuple[Any, ...]]) -> bytes:
    start = writer.start()
    middle = [writer.rows(rows[at : at + 5]) for at in range(0, len(rows), 5)]
    return b"".join([start, *middle, writer.end()])


@given(tables)
def test_a_csv_file_has_every_text_again_and_no_formula(rows: list[tuple[Any, ...]]) -> None:
    text = written(CsvWriter(NAMES), rows).decode()
    found = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert found[0] == list(NAMES)
    assert [[unguarded(cell) for cell in row] for row in found[1:]] == [
        [as_text(value) for value in row] for row in rows
    ]
    for row, cells in zip(rows, found[1:], strict=True):
        for value, cell in zip(row, cells, strict=True):
            assert not isinstance(value, str) or not cell.startswith(
                ("=", "+", "-", "@", "\t", "\r")
            )


@given(texts | nasty)
def test_a_guard_is_taken_off_again(text: str) -> None:
    assert unguarded(guarded(text)) == text


@given(tables, st.booleans())
def test_json_holds_every_digit(rows: list[tuple[Any, ...]], is_lines: bool) -> None:
    text = written(JsonWriter(NAMES, is_lines=is_lines), rows).decode()
    lines = text.split("\n")[:-1] if is_lines else []
    found = [json.loads(line) for line in lines] if is_lines else json.loads(text)
    assert [list(item.values()) for item in found] == [
        [
            value if value is None or isinstance(value, bool | int | dict) else as_text(value)
            for value in row
        ]
        for row in rows
    ]


def shown(value: Any) -> Any:
    """Return what a spreadsheet gives for a value."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | Decimal) and len(Decimal(value).as_tuple().digits) <= 15:
        return float(value)
    return as_text(value)


@given(tables)
def test_a_workbook_has_every_cell_again(rows: list[tuple[Any, ...]]) -> None:
    file = written(XlsxWriter(NAMES, "Trades & more"), rows)
    book = CalamineWorkbook.from_filelike(io.BytesIO(file))
    assert book.sheet_names == ["Trades   more"]
    found = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    padded = [[*row, *[""] * (3 - len(row))] for row in found[1:]]
    expected = [[shown(value) for value in row] for row in rows]
    while expected and set(map(str, expected[-1])) == {""}:
        expected.pop()
    assert padded[: len(expected)] == expected


async def test_a_selection_of_columns_and_records_leaves_in_every_format(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    dialog = await visit(boss, "/trades/export?side=buy&sort=price")
    assert "The records that the list is narrowed to" in dialog.text
    query = "side=buy&field=quantity&field=description&field=executed_at"
    stamp, quantity = "2024-03-15T14:30:15.123456+00:00", "10.000000000000000001"
    formula = '=HYPERLINK("https://evil.example")'
    (row,) = (await boss.get(f"/admin/trades/export.json?{query}")).json()
    assert row == {"quantity": quantity, "description": formula, "executed_at": stamp}
    lines = (await boss.get(f"/admin/trades/export.jsonl?{query}")).text
    assert json.loads(lines) == row
    book = (await boss.get(f"/admin/trades/export.xlsx?{query}")).content
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(book)).get_sheet_by_index(0)
    assert sheet.to_python() == [list(row), [quantity, formula, stamp]]
    everything = (await boss.get("/admin/trades/export.json?field=id&field=side")).json()
    one = everything[1]
    chosen = (await boss.get(f"/admin/trades/export.json?field=side&key={one['id']}")).json()
    assert chosen == [{"side": one["side"]}]
    for wrong in ("field=nothing", "key=nothing", "where=1:x.is.1"):
        assert (await boss.get(f"/admin/trades/export.json?{wrong}")).status_code == 400
    secret = await boss.get("/admin/users/export.json?field=password_hash")
    assert secret.status_code == 400
    assert (await boss.get("/admin/trades/export.exe")).status_code == 404


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
async def test_a_download_that_nobody_reads_on_lets_its_connection_go(
    db: Database, app: Starlette, boss: AsyncClient, ending: str
) -> None:
    account = await open_account(db)
    await insert_trades(db, account, 30_000)
    site = app.state.site
    pool = site.db.engine.sync_engine.pool
    export = Export.of(Listing(view_of(app, "trades"), QueryParams("")))
    parts = parts_of(site.db, export, FORMATS[ending], actor="boss")
    sent: list[bytes] = []
    busy: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])
            busy.append(pool.checkedout())
        if len(sent) == 3:
            await gone.wait()  # the reader is slow

    async def receive() -> Any:
        while len(sent) < 3:
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    gone = asyncio.Event()
    before = pool.checkedout()
    await Download(parts)({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    assert max(busy) > before
    async with asyncio.timeout(5):
        while pool.checkedout() > before:
            await asyncio.sleep(0.01)
    assert len(sent) == 3 and len(sent[0]) > 0
