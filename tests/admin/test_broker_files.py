"""Brokers' files in the browser: looked at, booked once, taken back, refused in words."""

from httpx2 import AsyncClient

from domain import Database
from domain.demo import files
from domain.identity.models import Role
from tests.admin.browsing import Page, visit
from tests.admin.conftest import Enter
from tests.admin.records import content
from tests.factories.trading import open_account

SAME = {"sec-fetch-site": "same-origin"}


async def test_a_file_is_looked_at_booked_once_and_taken_back(
    db: Database, boss: AsyncClient, enter: Enter
) -> None:
    account = await open_account(db)
    file = files.content(files.TASTYTRADE)
    fields = {"portfolio_id": str(account.portfolio.id), "broker": "tastytrade"}
    before = await content(db)
    sent = {"file": (r"C:\me\history.csv", file)}
    answer = await boss.post("/admin/imports/new", data=fields, files=sent, headers=SAME)
    page = Page(answer.text)
    assert answer.status_code == 200 and "Nothing has been written yet" in page.text
    assert "history.csv" in page.text and r"C:\me" not in page.text
    assert await content(db) == before
    form = page.form("/imports/book").submitted()
    other = await enter(Role.MANAGER)
    stolen = await other.post("/admin/imports/book", data=form, headers=SAME)
    assert stolen.status_code == 400 and "be sent again" in stolen.text
    booked = await boss.post("/admin/imports/book", data=form, headers=SAME)
    batch = await visit(boss, booked.headers["location"].removeprefix("/admin"))
    assert "history.csv" in batch.text and "Revert import" in batch.text
    async with db.read(system="test") as unit:
        assert await unit.trades.count() > 50
    again = await boss.post("/admin/imports/new", data=fields, files=sent, headers=SAME)
    assert "Nothing new to book" in again.text
    assert (await boss.post("/admin/imports/book", data=form, headers=SAME)).status_code == 400


async def test_a_file_that_is_none_is_refused_beside_the_form(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    fields = {"portfolio_id": str(account.portfolio.id), "broker": "tastytrade"}
    for file in (b"\x00\xff\x00", b"", b"a,b\r\n1,2\r\n"):
        sent = {"file": ("x.csv", file)}
        answer = await boss.post("/admin/imports/new", data=fields, files=sent, headers=SAME)
        assert answer.status_code == 422 and " must " in Page(answer.text).text
    missing = await boss.post("/admin/imports/new", data=fields, headers=SAME)
    assert "File must be chosen" in missing.text
    wrong = {"portfolio_id": "00000000-0000-7000-8000-000000000000", "broker": "tastytrade"}
    sent = {"file": ("x.csv", files.content(files.TASTYTRADE))}
    answer = await boss.post("/admin/imports/new", data=wrong, files=sent, headers=SAME)
    assert answer.status_code == 422 and "was not found" in answer.text


async def test_only_where_files_are_sent_to_may_a_body_be_large(boss: AsyncClient) -> None:
    large = {"file": ("x.csv", b"x" * 1_200_000)}
    refused = await boss.post("/admin/portfolios/create", files=large, headers=SAME)
    assert refused.status_code == 413
    read = await boss.post("/admin/imports/new", files=large, headers=SAME)
    assert read.status_code == 422
    announced = {"content-length": "65000000", **SAME}
    assert (await boss.post("/admin/imports/new", headers=announced)).status_code == 413
