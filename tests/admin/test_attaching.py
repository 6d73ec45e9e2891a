"""Files of journal entries: sent in, shown, taken away, and never run by a browser."""

from pathlib import Path
from uuid import UUID

import pytest
from httpx2 import AsyncClient, Response

from domain import Database
from domain.identity.models import Role
from domain.journal.models import JournalEntry
from tests.admin.browsing import Page, links, send, visit
from tests.admin.conftest import Enter
from tests.factories.journal import make_entry
from tests.factories.trading import open_account

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
async def entry(db: Database) -> JournalEntry:
    account = await open_account(db)
    async with db.transaction(system="test") as unit:
        return await make_entry(unit, account.user.id, title="Breakout")


async def attach(
    client: AsyncClient, entry_id: object, content: bytes = PNG, name: str = "chart.png"
) -> Response:
    return await client.post(
        "/admin/attachments/upload",
        data={"entry": str(entry_id), "caption": "the breakout"},
        files={"file": (name, content)},
        headers={"sec-fetch-site": "same-origin"},
    )


async def files_of(db: Database, entry: JournalEntry) -> list[tuple[str, str | None, UUID]]:
    async with db.read(system="test") as unit:
        return [
            (file.filename, file.caption, file.user_id) for file in await unit.attachments.of(entry)
        ]


async def test_a_picture_is_attached_shown_and_taken_away_again(
    db: Database, boss: AsyncClient, entry: JournalEntry
) -> None:
    answer = await attach(boss, entry.id)
    assert answer.headers["location"] == f"/admin/journal-entries/details/{entry.id}?done=attached"
    assert await files_of(db, entry) == [("chart.png", "the breakout", entry.user_id)]
    page = await visit(boss, f"/journal-entries/details/{entry.id}")
    (address,) = [link for link in links(page, "/attachments/") if link.endswith("/file")]
    file = await boss.get(f"/admin{address}")
    assert file.content == PNG and file.headers["content-type"] == "image/png"
    await send(boss, address.replace("/file", "/remove"))
    assert await files_of(db, entry) == []
    assert (await boss.get(f"/admin{address}")).status_code == 404


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "notes.txt", "../../etc.html"])
async def test_what_a_browser_could_run_comes_as_bytes_in_a_sandbox(
    db: Database, boss: AsyncClient, entry: JournalEntry, name: str
) -> None:
    answer = await attach(boss, entry.id, b"<script>alert(1)</script>", name)
    if answer.status_code == 303:
        page = await visit(boss, f"/journal-entries/details/{entry.id}")
        (address,) = [link for link in links(page, "/attachments/") if link.endswith("/file")]
        file = await boss.get(f"/admin{address}")
        assert file.headers["content-type"] == "application/octet-stream"
        assert file.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in file.headers["content-security-policy"]
        assert file.headers["x-content-type-options"] == "nosniff"
        assert "<img" not in page.html.partition('class="card pictures"')[2]
    else:
        assert answer.status_code == 400 and await files_of(db, entry) == []


async def test_a_file_without_an_entry_or_an_entry_without_a_file_is_refused_in_words(
    db: Database, boss: AsyncClient, entry: JournalEntry
) -> None:
    assert "journal entry's id" in Page((await attach(boss, "nobody")).text).text
    missing = await attach(boss, UUID(int=7))
    assert missing.status_code == 404
    empty = await boss.post(
        "/admin/attachments/upload",
        data={"entry": str(entry.id)},
        headers={"sec-fetch-site": "same-origin"},
    )
    assert empty.status_code == 400 and "File must be chosen" in Page(empty.text).text
    assert await files_of(db, entry) == []


async def test_who_only_reads_sees_files_and_changes_none(
    db: Database, boss: AsyncClient, enter: Enter, entry: JournalEntry
) -> None:
    await attach(boss, entry.id)
    reader = await enter(Role.VIEWER)
    page = await visit(reader, f"/journal-entries/details/{entry.id}")
    assert "chart.png" in page.text and "/remove" not in page.html and "/upload" not in page.html
    assert (await attach(reader, entry.id)).status_code == 403
    (address,) = [link for link in links(page, "/attachments/") if link.endswith("/file")]
    assert (await send(reader, address.replace("/file", "/remove"))).status_code == 403
    assert len(await files_of(db, entry)) == 1


async def test_objects_live_where_the_settings_say(
    boss: AsyncClient, entry: JournalEntry, tmp_path: Path
) -> None:
    await attach(boss, entry.id)
    found = [file.read_bytes() for file in (tmp_path / "objects").rglob("*") if file.is_file()]
    assert PNG in found
