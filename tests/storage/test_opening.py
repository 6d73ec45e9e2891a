"""Which URLs open a store, and what is said when one does not."""

import logging
import socket
import traceback
from pathlib import Path

import pytest

from domain.errors import AccessDenied, ConfigurationError, TradekeepError, Unavailable
from domain.settings import Settings
from domain.storage import Storage
from domain.storage.content_types import content_type_of
from tests.storage.conftest import SECRET


def everything_said(error: BaseException, caplog: pytest.LogCaptureFixture) -> str:
    return "".join(traceback.format_exception(error)) + caplog.text + repr(error.__context__)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_default_is_a_folder_beside_the_other_data(tmp_path: Path) -> None:
    storage = Storage(settings=Settings(data_dir=tmp_path))
    await storage.put("knowledge/a.md", b"a")
    assert (tmp_path / "storage" / "knowledge" / "a.md").read_bytes() == b"a"
    assert (tmp_path / "storage").stat().st_mode & 0o077 == 0


async def test_the_setting_chooses_the_store(tmp_path: Path) -> None:
    storage = Storage(
        settings=Settings(data_dir=tmp_path, storage_url=f"file://{tmp_path}/my%20files")
    )
    await storage.put("knowledge/a.md", b"a")
    assert (tmp_path / "my files" / "knowledge" / "a.md").read_bytes() == b"a"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host/folder",
        "gs://bucket",
        "file://host/folder",
        "s3:///prefix",
        "s3://key:hunter2@bucket",
        "s3://bucket?secret_access_key=hunter2",
        "s3://bucket?region=x&aws_secret_access_key=hunter2",
    ],
)
def test_another_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="TRADEKEEP_STORAGE_URL must") as refused:
        Storage(url)
    assert "hunter2" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="storage folder"):
        Storage(str(tmp_path / "file" / "objects"))


async def test_an_unreachable_store_is_unavailable_and_no_secret_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    storage = Storage(f"s3://desk?endpoint=http://127.0.0.1:{closed_port()}&region=us-east-1")
    for ask in (storage.get, storage.head, storage.delete):
        with pytest.raises(Unavailable, match="cannot be reached") as failed:
            await ask("knowledge/a.md")
        said = everything_said(failed.value, caplog)
        assert SECRET not in said and "AKIACANARY" not in said
    for asked in (storage.put("knowledge/a.md", b"a"), storage.list()):
        with pytest.raises(Unavailable):
            await asked


async def test_a_missing_bucket_is_an_error_of_ours(s3_url: str) -> None:
    storage = Storage(s3_url.replace("s3://desk-", "s3://other-"))
    with pytest.raises(TradekeepError):
        await storage.put("knowledge/a.md", b"a")


async def test_a_folder_without_rights_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("domain.storage.guarding.check_path", refuse)
    with pytest.raises(AccessDenied) as refused:
        await storage.get("knowledge/a.md")
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("report.pdf", "application/pdf"),
        ("REPORT.PDF", "application/pdf"),
        ("a.csv", "text/csv"),
        ("a.json", "application/json"),
        ("a.md", "text/markdown"),
        ("chart.png", "image/png"),
        ("page.html", "application/octet-stream"),
        ("picture.svg", "application/octet-stream"),
        ("script.js", "application/octet-stream"),
        ("a.csv.exe", "application/octet-stream"),
        ("csv", "application/octet-stream"),
    ],
)
def test_the_media_type_comes_from_the_name_and_is_never_one_that_runs(
    filename: str, expected: str
) -> None:
    assert content_type_of(filename) == expected
