"""Files of entries: bytes and row, both or neither."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from domain import Database
from domain.clock import new_id
from domain.errors import InvalidData, NotFound, Unavailable
from domain.identity.models import User
from domain.journal.attaching import (
    NewFile,
    attach,
    detach,
    read_attachment,
    remove_entry,
    sweep_attachments,
)
from domain.journal.models import JournalEntry
from domain.storage import Storage
from tests.factories.identity import make_user
from tests.factories.journal import make_entry, new_entry

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


@pytest.fixture
async def entry(db: Database) -> JournalEntry:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        return await make_entry(unit, user.id)


async def keys(storage: Storage) -> list[str]:
    return [item.key for item in await storage.list()]


async def test_a_screenshot_is_kept_with_its_entry(
    db: Database, storage: Storage, entry: JournalEntry
) -> None:
    marks = [{"kind": "arrow", "from": [10, 20], "to": [30, 5], "text": "entry"}]
    async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
        await attach(unit, staged, entry, NewFile("Überblick #1.PNG", PNG, "The breakout", marks))
        await attach(unit, staged, entry, NewFile("C:\\plans\\plan", b"text"))
    async with db.read(user=entry.user_id) as unit:
        chart, plan = await unit.attachments.of(entry)
    assert (chart.filename, chart.content_type) == ("Überblick #1.PNG", "image/png")
    assert (chart.size, chart.sha256) == (len(PNG), hashlib.sha256(PNG).digest())
    assert (chart.caption, chart.annotations) == ("The breakout", marks)
    assert chart.object_key.startswith(f"users/{entry.user_id}/uploads/journal/{entry.id}/")
    assert chart.object_key.endswith(".png")
    assert (plan.filename, plan.sort_order) == ("plan", 1)
    assert await read_attachment(storage, chart) == PNG


async def test_a_transaction_that_fails_leaves_neither_row_nor_object(
    db: Database, storage: Storage, entry: JournalEntry
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
            await attach(unit, staged, entry, NewFile("a.png", PNG))
            raise ZeroDivisionError
    assert await keys(storage) == []
    async with db.read(user=entry.user_id) as unit:
        assert await unit.attachments.count() == 0


async def test_a_commit_that_fails_takes_the_object_back(
    db: Database, storage: Storage, entry: JournalEntry
) -> None:
    class LostConnection(Exception):
        pass

    async def lose(*_: Any) -> None:
        raise LostConnection

    with pytest.raises(LostConnection):
        async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
            await attach(unit, staged, entry, NewFile("a.png", PNG))
            assert len(await keys(storage)) == 1
            unit.session.commit = lose  # type: ignore[method-assign]  # the server goes away
            await unit.session.rollback()
            await unit.session.commit()
    assert await keys(storage) == []


async def test_an_unreachable_store_leaves_no_row(db: Database, entry: JournalEntry) -> None:
    storage = Storage("s3://desk?endpoint=http://127.0.0.1:9&region=us-east-1")
    with pytest.raises(Unavailable):
        async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
            await attach(unit, staged, entry, NewFile("a.png", PNG))
    async with db.read(user=entry.user_id) as unit:
        assert await unit.attachments.count() == 0


async def test_a_removed_file_is_gone_after_the_commit_and_not_before(
    db: Database, storage: Storage, entry: JournalEntry
) -> None:
    async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
        attachment = await attach(unit, staged, entry, NewFile("a.png", PNG))
    with pytest.raises(ZeroDivisionError):
        async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
            await detach(unit, staged, await unit.attachments.get(attachment.id))
            raise ZeroDivisionError
    assert await read_attachment(storage, attachment) == PNG
    async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
        await detach(unit, staged, await unit.attachments.get(attachment.id))
    assert await keys(storage) == []
    with pytest.raises(NotFound):
        await read_attachment(storage, attachment)


async def test_an_entry_takes_its_files_with_it(
    db: Database, storage: Storage, entry: JournalEntry
) -> None:
    async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
        for number in range(3):
            await attach(unit, staged, entry, NewFile(f"{number}.png", PNG))
    async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
        await remove_entry(unit, staged, await unit.journal_entries.get(entry.id))
    assert await keys(storage) == []
    async with db.read(user=entry.user_id) as unit:
        assert await unit.attachments.count() == await unit.journal_entries.count() == 0


async def test_a_file_that_was_changed_behind_our_back_is_not_shown(
    db: Database, storage: Storage, entry: JournalEntry
) -> None:
    async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
        attachment = await attach(unit, staged, entry, NewFile("a.png", PNG))
    await storage.put(attachment.object_key, b"another picture")
    with pytest.raises(NotFound, match="not what was attached"):
        await read_attachment(storage, attachment)


@pytest.mark.parametrize("name", ["", "/", "a\x00.png", "x" * 256])
async def test_a_file_has_a_name(
    db: Database, storage: Storage, entry: JournalEntry, name: str
) -> None:
    async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
        with pytest.raises(InvalidData, match="filename must"):
            await attach(unit, staged, entry, NewFile(name, PNG))
    assert await keys(storage) == []


async def test_a_file_belongs_to_a_recorded_entry_and_is_not_too_large(
    db: Database, storage: Storage, entry: JournalEntry
) -> None:
    async with storage.staged() as staged, db.transaction(user=entry.user_id) as unit:
        with pytest.raises(InvalidData, match="be recorded"):
            await attach(unit, staged, new_entry(entry.user_id), NewFile("a.png", PNG))
        with pytest.raises(InvalidData, match="at most 25000000 bytes"):
            await attach(unit, staged, entry, NewFile("a.png", b"x" * 25_000_001))
    assert await keys(storage) == []


async def test_objects_without_a_row_are_swept_and_others_stay(
    db: Database, storage: Storage, entry: JournalEntry
) -> None:
    other = User(username="bob")
    async with storage.staged() as staged, db.transaction(system="test") as unit:
        unit.users.add(other)
        await unit.flush()
        kept = await attach(unit, staged, entry, NewFile("a.png", PNG))
    folder = f"users/{entry.user_id}/uploads"
    theirs = f"users/{other.id}/uploads/journal/{new_id()}/a.png"
    for key in (f"{folder}/journal/{entry.id}/lost.png", f"{folder}/history.csv", theirs):
        await storage.put(key, PNG)
    async with db.transaction(user=entry.user_id) as unit:
        assert await sweep_attachments(unit, storage, entry.user_id) == 0  # too young
        none = timedelta(0)
        assert await sweep_attachments(unit, storage, entry.user_id, older_than=none) == 1
    assert await keys(storage) == sorted([kept.object_key, f"{folder}/history.csv", theirs])
