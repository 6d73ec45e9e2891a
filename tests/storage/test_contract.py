"""What every store promises; each test runs on a folder, in memory and on S3."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from domain.clock import new_id, now
from domain.errors import InvalidData, NotFound
from domain.storage import Storage

REPORT = b"symbol,net\nAAPL,5.25\n"


async def pieces(count: int, piece: bytes) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield piece


async def test_what_is_put_is_what_is_got(storage: Storage) -> None:
    put = await storage.put("knowledge/options/greeks.md", REPORT)
    assert await storage.get("knowledge/options/greeks.md") == REPORT
    assert put.size == len(REPORT)
    assert put.sha256 == hashlib.sha256(REPORT).digest()
    assert put.content_type == "text/markdown"
    assert abs(put.modified_at - now()) < timedelta(minutes=1)


async def test_an_object_may_be_empty_and_its_name_of_any_script(storage: Storage) -> None:
    name = "knowledge/日本 語/Überblick (final)+=@!&',.csv"
    await storage.put(name, b"")
    assert await storage.get(name) == b""
    assert [item.key for item in await storage.list("knowledge")] == [name]


async def test_head_says_what_put_said_without_reading(storage: Storage) -> None:
    put = await storage.put("backups/desk.sql", REPORT)
    head = await storage.head("backups/desk.sql")
    assert (head.key, head.size, head.content_type) == (put.key, put.size, put.content_type)
    assert head.modified_at == put.modified_at
    assert head.sha256 is None
    assert await storage.digest("backups/desk.sql") == put.sha256


async def test_put_replaces(storage: Storage) -> None:
    await storage.put("embeddings/chunks.json", b"[1]")
    await storage.put("embeddings/chunks.json", b"[]")
    assert await storage.get("embeddings/chunks.json") == b"[]"


async def test_a_missing_object_is_not_found(storage: Storage) -> None:
    for ask in (storage.get, storage.head, storage.digest):
        with pytest.raises(NotFound, match="knowledge/nothing.md"):
            await ask("knowledge/nothing.md")
    with pytest.raises(NotFound):
        async for _ in storage.stream("knowledge/nothing.md"):
            raise AssertionError("a missing object has pieces")
    assert not await storage.exists("knowledge/nothing.md")


async def test_deleting_twice_is_no_error(storage: Storage) -> None:
    await storage.put("knowledge/a.md", b"a")
    await storage.delete("knowledge/a.md")
    await storage.delete("knowledge/a.md")
    assert await storage.list() == []


async def test_lists_are_by_key_and_only_below_the_folder(storage: Storage) -> None:
    for name in ("b.md", "a/z.md", "a/b.md", "ab.md"):
        await storage.put(f"knowledge/{name}", name.encode())
    await storage.put("backups/a/b.md", b"")
    names = [item.name for item in await storage.knowledge.list()]
    assert names == ["a/b.md", "a/z.md", "ab.md", "b.md"]
    assert [item.key for item in await storage.list("knowledge/a")] == [
        "knowledge/a/b.md",
        "knowledge/a/z.md",
    ]
    assert [item.size for item in await storage.knowledge.list("a")] == [6, 6]


async def test_a_large_object_is_streamed_in_and_out(storage: Storage) -> None:
    piece = bytes(range(256)) * 4_096
    put = await storage.backups.put("desk.dump", pieces(12, piece), limit=20_000_000)
    assert put.size == 12 * len(piece)
    hashed, sizes = hashlib.sha256(), []
    async for part in storage.backups.stream("desk.dump"):
        hashed.update(part)
        sizes.append(len(part))
    assert hashed.digest() == put.sha256
    assert sum(sizes) == put.size
    assert max(sizes) <= 4_000_000


async def test_streaming_holds_no_object_in_memory(tmp_path: Path, s3_url: str) -> None:
    for url in (str(tmp_path), s3_url):
        assert await peak_of_copying(Storage(url)) < 15_000_000


async def peak_of_copying(storage: Storage) -> int:
    await storage.backups.put("desk.dump", pieces(30, b"x" * 1_000_000))
    tracemalloc.start()
    await storage.backups.put("copy.dump", storage.backups.stream("desk.dump"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (await storage.backups.head("copy.dump")).size == 30_000_000
    return peak


async def test_what_is_too_large_is_refused_and_nothing_is_written(storage: Storage) -> None:
    for content in (b"123456", pieces(3, b"12")):
        with pytest.raises(InvalidData, match="at most 5 bytes"):
            await storage.put("knowledge/a.md", content, limit=5)
    assert await storage.list() == []
    await storage.put("knowledge/a.md", b"123456")
    with pytest.raises(InvalidData, match="at most 5 bytes"):
        await storage.get("knowledge/a.md", limit=5)


async def test_a_put_that_breaks_off_leaves_what_was_there(storage: Storage) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 6_000_000
        raise ConnectionResetError("the sender went away")

    await storage.put("knowledge/a.md", b"old")
    for name in ("a.md", "new.md"):
        with pytest.raises(ConnectionResetError):
            await storage.put(f"knowledge/{name}", broken())
    assert await storage.get("knowledge/a.md") == b"old"
    assert [item.name for item in await storage.knowledge.list()] == ["a.md"]


async def test_readers_see_one_version_or_the_other(storage: Storage) -> None:
    versions = [bytes([letter]) * 300_000 for letter in b"ab"]
    await storage.put("knowledge/a.md", versions[0])

    async def read() -> bytes:
        return await storage.get("knowledge/a.md")

    writes = [storage.put("knowledge/a.md", version) for version in versions * 5]
    results = await asyncio.gather(*writes, *(read() for _ in range(20)))
    assert {result for result in results if isinstance(result, bytes)} <= set(versions)


async def test_a_user_has_exports_and_uploads(storage: Storage) -> None:
    ada, bob = storage.of_user(new_id()), storage.of_user(new_id())
    key = await ada.save_export("analysis-2024-01-15.pdf", b"%PDF-1.7")
    await ada.save_upload("history.csv", pieces(2, REPORT))
    assert await storage.get(key) == b"%PDF-1.7"
    assert await ada.get_export("analysis-2024-01-15.pdf") == b"%PDF-1.7"
    assert await ada.get_upload("history.csv") == REPORT * 2
    (listed,) = await ada.list_exports()
    assert (listed.name, listed.size) == ("analysis-2024-01-15.pdf", 8)
    assert [item.name for item in await ada.list_uploads()] == ["history.csv"]
    assert await bob.list_exports() == []
    assert await bob.get_export("analysis-2024-01-15.pdf") is None
    assert await bob.get_upload("history.csv") is None


async def test_everything_of_a_user_can_be_deleted_and_nothing_else(storage: Storage) -> None:
    ada, bob = storage.of_user(new_id()), storage.of_user(new_id())
    for user in (ada, bob):
        for number in range(3):
            await user.save_export(f"{number}.csv", REPORT)
        await user.save_upload("deep/er/picture.png", b"png")
    assert await ada.delete_all() == 4
    assert await ada.list_exports() == await ada.list_uploads() == []
    assert len(await bob.list_exports()) == 3
    assert await ada.delete_all() == 0
    with pytest.raises(InvalidData, match="whole store"):
        await storage.delete_all()


async def test_knowledge_documents_are_text_by_path(storage: Storage) -> None:
    await storage.knowledge.put("options/strategies.md", "# Straße\n".encode())
    await storage.knowledge.put("trading/risk-management.md", b"# Risk\n")
    assert await storage.get_knowledge_doc("options/strategies.md") == "# Straße\n"
    assert await storage.get_knowledge_doc("options/nothing.md") is None
    assert await storage.list_knowledge_docs() == [
        "options/strategies.md",
        "trading/risk-management.md",
    ]
    assert await storage.list_knowledge_docs("options/") == ["options/strategies.md"]


async def test_staged_objects_stay_when_the_block_ends_well(storage: Storage) -> None:
    await storage.put("knowledge/old.md", b"1")
    await storage.put("knowledge/gone.md", b"1")
    async with storage.staged() as staged:
        await staged.put("knowledge/new.md", b"2")
        await staged.put("knowledge/old.md", b"2")
        staged.delete("knowledge/gone.md")
        assert await storage.exists("knowledge/gone.md")
    found = {item.key: await storage.get(item.key) for item in await storage.list()}
    assert found == {"knowledge/new.md": b"2", "knowledge/old.md": b"2"}


async def test_staged_objects_are_taken_back_when_the_block_fails(storage: Storage) -> None:
    await storage.put("knowledge/old.md", b"1")
    await storage.put("knowledge/gone.md", b"1")
    with pytest.raises(ZeroDivisionError):
        async with storage.staged() as staged:
            await staged.put("knowledge/new.md", b"2")
            await staged.put("knowledge/old.md", b"2")
            await staged.put("knowledge/old.md", b"3")
            staged.delete("knowledge/gone.md")
            raise ZeroDivisionError
    found = {item.key: await storage.get(item.key) for item in await storage.list()}
    assert found == {"knowledge/gone.md": b"1", "knowledge/old.md": b"1"}
