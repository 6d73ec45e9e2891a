"""Probes P1 to P5 on the browser's import: rows come in exactly, once, and where they may."""

import csv
import io
import random
import zipfile
from typing import Any

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import select

from admin.shielding import UPLOAD_BYTES
from domain.demo import files
from domain.identity.models import RowOutcome, TableImport
from domain.journal.models import Tag
from tests.admin.browsing import Page, key_of, visit
from tests.admin.records import content
from tests.security.conftest import House
from tests.security.test_fields import SAME, import_into

ODD = (
    "\u2028",
    "\u2029",
    "\x85",
    "\x0b",
    "\x0c",
    "\x1c",
    "\r\n",
    "\n",
    '"',
    ",",
    ";",
    "\t",
    "=1+1",
)
"""What readers of files take for the end of a line or a cell."""


def rfc_4180(rows: list[tuple[str, ...]]) -> str:
    """Write rows as RFC 4180 wants them."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()


async def last_import(house: House, view: str) -> TableImport:
    async with house.db.read(system="probe") as unit:
        found = await unit.table_imports.all(unit.table_imports.query(TableImport.view == view))
        return max(found, key=lambda item: item.id)


async def test_p1_a_file_that_came_before_makes_nothing_twice(house: House) -> None:
    rows = "user,name\nbob,patience\nbob,greed\n"
    first = await import_into(house.boss, "tags", rows)
    assert first.status_code == 303
    before = await content(house.db)
    again = await import_into(house.boss, "tags", rows)
    assert again.status_code == 422 and "imported into tags before" in Page(again.text).text
    assert await content(house.db) == before
    knowingly = await import_into(house.boss, "tags", rows, again="1", mode="both")
    assert knowingly.status_code in {303, 422}
    assert (await content(house.db))["journal.tags"] == before["journal.tags"]


async def test_p1_a_brokers_file_that_came_before_books_nothing_twice(house: House) -> None:
    booked: list[int] = []
    for _ in range(2):
        page = Page((await send_brokers_file(house.boss, house)).text)
        if "Nothing new to book" in page.text:
            break
        form = page.form("/imports/book").submitted()
        await house.boss.post("/admin/imports/book", data=form, headers=SAME)
        booked.append(len((await content(house.db))["trading.trades"]))
    assert len(booked) == 1, "the second time there is nothing to book"


async def send_brokers_file(client: AsyncClient, house: House) -> Response:
    data = {"portfolio_id": key_of(house.bob.portfolio), "broker": "tastytrade"}
    file = {"file": (files.TASTYTRADE, files.content(files.TASTYTRADE))}
    return await client.post("/admin/imports/new", data=data, files=file, headers=SAME)


async def test_p3_p4_a_thousand_odd_cells_come_in_as_they_are(house: House) -> None:
    dice = random.Random(20_240_315)
    names = [
        f"{number}{''.join(dice.choice((*ODD, 'a', 'ü')) for _ in range(6))}z"
        for number in range(1_000)
    ]
    rows = [("user", "name"), *(("bob", name) for name in names)]
    done = await import_into(house.boss, "tags", rfc_4180(rows))
    assert done.status_code == 303, Page(done.text).text[:500]
    imported = await last_import(house, "tags")
    assert (imported.rows_total, imported.rows_inserted, imported.rows_rejected) == (
        1_000,
        1_000,
        0,
    )
    async with house.db.read(system="probe") as unit:
        stored = set((await unit.session.execute(select(Tag.name))).scalars())
    assert set(names) <= stored, "not one is cut, split or changed"


async def test_p3_rows_that_are_wrong_are_counted_exactly_and_kept_out(house: House) -> None:
    good = [("bob", f"good {number}") for number in range(20)]
    bad = [("nobody", "x"), ("bob", ""), ("bob", "cell", "too many"), ("bob", "good 3"), ("bob",)]
    file = rfc_4180([("user", "name"), *good, *bad])
    strict = await import_into(house.boss, "tags", file, refused="stop")
    assert strict.status_code == 422
    assert not any("good 3" in row for row in (await content(house.db))["journal.tags"])
    done = await import_into(house.boss, "tags", file, mode="insert", key="")
    assert done.status_code == 303, Page(done.text).text[:500]
    imported = await last_import(house, "tags")
    assert (imported.rows_total, imported.rows_inserted, imported.rows_rejected) == (25, 20, 5)
    async with house.db.read(system="probe") as unit:
        rows = [r for r in await unit.table_import_rows.all() if r.import_id == imported.id]
    refused = sorted(row.line for row in rows if row.outcome is RowOutcome.REJECTED)
    assert refused == [22, 23, 24, 25, 26]


def bomb() -> bytes:
    """Return a workbook of some hundred kilobytes that unpacks to three hundred megabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            for _ in range(300):
                sheet.write(b" " * 1_000_000)
    return buffer.getvalue()


def workbook(sheet: str) -> bytes:
    """Return a workbook with this sheet."""
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts = {
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{relations}"><Relationship Id="rId1"'
        f' Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": sheet.replace("MAIN", main),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


ENTITY = (
    '<!DOCTYPE worksheet [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    '<worksheet xmlns="MAIN"><sheetData><row><c t="inlineStr"><is><t>&x;</t></is></c></row>'
    "</sheetData></worksheet>"
)
LAUGHS = (
    '<!DOCTYPE worksheet [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><worksheet xmlns="MAIN"><sheetData><row>'
    '<c t="inlineStr"><is><t>&c;</t></is></c></row></sheetData></worksheet>'
)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("open-quote.csv", b'user,name\nbob,"never closed\n'),
        ("letter-after-quote.csv", b'user,name\nbob,"a"b\n'),
        ("latin-1.csv", "user,name\nbob,für\n".encode("latin-1")),
        ("utf-16.csv", "user,name\nbob,a\n".encode("utf-16")),
        ("same-heading.csv", b"name,name\na,b\n"),
        ("nothing.csv", b""),
        ("deep.json", b"[" * 200_000),
        ("infinity.json", b'[{"user": "bob", "name": Infinity}]'),
        ("bomb.xlsx", bomb()),
        ("entity.xlsx", workbook(ENTITY)),
        ("laughs.xlsx", workbook(LAUGHS)),
        ("cut.xlsx", workbook("<worksheet/>")[:200]),
        ("wide.csv", b",".join(b"c%d" % number for number in range(500)) + b"\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_p4_a_file_that_is_broken_or_a_bomb_is_refused_in_a_sentence(
    house: House, name: str, file: bytes
) -> None:
    before = await content(house.db)
    sent = await house.boss.post("/admin/tags/upload", files={"file": (name, file)}, headers=SAME)
    assert sent.status_code == 422, sent.text[:300]
    page = Page(sent.text)
    assert "Traceback" not in page.text and "root:" not in page.text
    assert await content(house.db) == before


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("odd.csv", b"user,name\nbob,=HYPERLINK(1)\nbob,nul\x00nul\n"),
        ("odd.json", rb'[{"user":"bob","name":"=HYPERLINK(2)"},{"user":"bob","name":"nul\ud800"}]'),
    ],
    ids=["nul", "half a character"],
)
async def test_p3_a_formula_is_text_and_what_is_no_text_is_refused_alone(
    house: House, name: str, file: bytes
) -> None:
    done = await import_into(house.boss, "tags", file, name=name)
    assert done.status_code == 303, Page(done.text).text[:500]
    imported = await last_import(house, "tags")
    assert (imported.rows_inserted, imported.rows_rejected) == (1, 1)
    page = await visit(house.boss, f"/table-import-rows/list?import_id={imported.id}")
    assert "nul\N{REPLACEMENT CHARACTER}" in page.text or "half of one" in page.text
    export = (await house.boss.get("/admin/tags/export.csv")).text
    assert "'=HYPERLINK(" in export


async def test_p5_a_row_does_not_reach_into_another_tenants_portfolio(house: House) -> None:
    before = await content(house.db)
    rows = (
        "user_id,entry_on,kind,portfolio_id\n"
        f"{house.bob.user.id},2024-03-15,trade,{key_of(house.ada.portfolio)}\n"
    )
    refused = await import_into(house.boss, "journal-entries", rows, refused="stop")
    assert refused.status_code == 422, "the database keeps tenants apart, whoever imports"
    assert (await content(house.db))["journal.journal_entries"] == before["journal.journal_entries"]
    theirs = f"id,name,user\n{key_of(house.ada.portfolio)},Taken,bob\n"
    await import_into(house.boss, "portfolios", theirs, mode="update")
    async with house.db.read(system="probe") as unit:
        ada = await unit.portfolios.get(house.ada.portfolio.id)
    assert (ada.user_id, ada.name) == (house.ada.user.id, "Main")


async def test_b1_a_file_that_is_too_large_is_refused_before_it_is_read(house: House) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        for _ in range(10):
            read += 1_000_000
            yield b"x" * 1_000_000

    size = str(UPLOAD_BYTES + 1_000_000)
    headers = SAME | {"content-type": "multipart/form-data; boundary=x", "content-length": size}
    answer = await house.boss.post("/admin/tags/upload", content=endless(), headers=headers)
    assert answer.status_code == 413
    lean = {"file": ("large.csv", b"name\n" + b"x" * 60_000_000)}
    answer = await house.boss.post("/admin/tags/upload", files=lean, headers=SAME)
    assert answer.status_code == 422, "sixty megabytes are read, and are no table"
