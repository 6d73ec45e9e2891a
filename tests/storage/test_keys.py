"""No name leads out of its folder, on any store."""

import os
import string
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clock import new_id
from domain.errors import InvalidData
from domain.storage import Storage
from domain.storage.keys import checked_key, checked_name

USER = UUID("01930000-0000-7000-8000-000000000001")
ESCAPES = [
    "",
    ".",
    "..",
    "../secret",
    "a/../../b",
    "a/..",
    "a/./b",
    "/etc/passwd",
    "//etc/passwd",
    "a//b",
    "a/",
    "a\x00b",
    "a\\b",
    "..\\b",
    "C:\\b",
    "a%2fb",
    "%2e%2e/b",
    "..%2fb",
    "a\u2215b",  # division slash
    "a\u2044b",  # fraction slash
    "a\uff0fb",  # full-width slash
    "\uff0e\uff0e/b",  # full-width dots
    "\u2025/b",  # two dot leader
    "\u2024\u2024/b",  # one dot leaders
    "a\u202eb",  # right-to-left override
    "a\u200bb",  # zero width space
    "a\ufeffb",
    "a\nb",
    "a\ud800b",  # half of a surrogate pair
    "e\u0301",  # not composed
    "a#1",
    "a?b",
    "a*b",
    "a:b",
    " a",
    "a ",
    "a.",
    "...",
    "x" * 241,
    "é" * 121,
    "a/" * 600 + "a",
]


@pytest.mark.parametrize("name", ESCAPES)
async def test_a_name_that_could_lead_out_is_refused(name: str, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "objects"))
    user = storage.of_user(USER)
    (tmp_path / "secret").write_text("secret")
    for ask in (user.get_export, user.get_upload, user.exports.head, user.exports.delete):
        with pytest.raises(InvalidData):
            await ask(name)
    with pytest.raises(InvalidData):
        await user.save_export(name, b"x")
    with pytest.raises(InvalidData):
        user.exports.folder(name)
    assert (tmp_path / "secret").read_text() == "secret"


@pytest.mark.parametrize("key", ["a.md", "knowledge", "users/a/exports/b", "other/a", f"users/{USER}", f"users/{USER}/exports", f"users/{USER}/other/a", f"users/{str(USER)[:-1]}A/exports/a", f"users/{USER}\n/exports/a"])  # fmt: skip
def test_a_key_outside_the_known_folders_is_refused(key: str) -> None:
    with pytest.raises(InvalidData):
        checked_key(key)


async def test_a_user_is_a_uuid() -> None:
    with pytest.raises(InvalidData, match="user must be a UUID"):
        Storage("memory:").of_user("../01930000")  # type: ignore[arg-type]  # what a caller may do


TRICKY = st.text(st.sampled_from("./\\%#:~ \x00\u2215\u2024\uff0e\uff0f\u202e" + "ab2eF") | st.characters(), max_size=20)  # fmt: skip


@given(TRICKY)
def test_whatever_is_accepted_stays_inside_its_folder(name: str) -> None:
    try:
        checked_name(name)
    except InvalidData:
        return
    inside = f"/data/users/{USER}/exports/"
    assert os.path.normpath(inside + name) == inside + name
    assert not {"..", ".", ""} & set(name.split("/"))
    assert not set(name) & set('\\%#:?*"<>|\x00')
    name.encode()


FILENAMES = st.text(string.ascii_letters + string.digits + "-_() +é日", min_size=1, max_size=30).map(lambda text: f"a{text}.csv")  # fmt: skip


@given(FILENAMES)
def test_ordinary_filenames_are_accepted(name: str) -> None:
    assert checked_name(name) == name


async def test_a_symbolic_link_is_neither_followed_nor_listed_nor_replaced(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "objects"
    outside.mkdir()
    (outside / "secret.md").write_text("secret")
    storage = Storage(str(root))
    await storage.put("knowledge/a.md", b"a")
    (root / "knowledge" / "link").symlink_to(outside)
    (root / "knowledge" / "b.md").symlink_to(outside / "secret.md")
    (root / "backups").symlink_to(outside)
    for key in ("knowledge/link/secret.md", "knowledge/b.md", "backups/secret.md"):
        for ask in (storage.get, storage.head, storage.delete, storage.digest):
            with pytest.raises(InvalidData, match="symbolic link"):
                await ask(key)
        with pytest.raises(InvalidData, match="symbolic link"):
            await storage.put(key, b"overwritten")
        with pytest.raises(InvalidData, match="symbolic link"):
            await storage.copy("knowledge/a.md", key)
    assert [item.key for item in await storage.list()] == ["knowledge/a.md"]
    assert await storage.list("backups") == await storage.list("knowledge/link") == []
    assert await storage.folder("knowledge").delete_all() == 1
    assert (outside / "secret.md").read_text() == "secret"


async def test_an_object_is_no_folder_and_a_folder_no_object(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    await storage.put("knowledge/a/b.md", b"b")
    for key in ("knowledge/a", "knowledge/a/b.md/c.md"):
        with pytest.raises(InvalidData, match="folder of objects"):
            await storage.put(key, b"x")


async def test_a_file_that_is_still_being_written_is_no_object(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    await storage.put("knowledge/a.md", b"a")
    (tmp_path / "knowledge" / "b.md#1").write_text("half")
    assert [item.name for item in await storage.knowledge.list()] == ["a.md"]


async def test_the_folder_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "objects").symlink_to(tmp_path / "disk")
    storage = Storage(str(tmp_path / "objects"))
    await storage.put("knowledge/a.md", b"a")
    assert (tmp_path / "disk" / "knowledge" / "a.md").read_bytes() == b"a"
    assert await storage.get("knowledge/a.md") == b"a"


async def test_users_have_different_folders() -> None:
    storage = Storage("memory:")
    ada, bob = new_id(), new_id()
    key = await storage.of_user(ada).save_export("a.csv", b"a")
    assert key == f"users/{ada}/exports/a.csv"
    assert await storage.of_user(bob).get_export("a.csv") is None
