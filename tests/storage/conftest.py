"""The three kinds of stores: a folder, memory, and an S3 server that speaks real HTTP."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from domain.clock import new_id
from domain.storage import Storage

SECRET = "wJalrXUtnFEMI-CANARY-of-a-secret-key"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/moto-api/", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None, "the S3 server ended"
        with suppress(urllib.error.URLError, TimeoutError):
            urllib.request.urlopen(url, timeout=1).close()
            return
        time.sleep(0.1)
    raise TimeoutError(url)


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    bucket = f"desk-{new_id().hex}"
    request = urllib.request.Request(f"{s3_endpoint}/{bucket}", method="PUT")
    request.add_header(
        "Authorization", "AWS4-HMAC-SHA256 Credential=AKIACANARY/20260101/us-east-1/s3/aws4_request"
    )
    urllib.request.urlopen(request, timeout=10).close()
    return f"s3://{bucket}/tradekeep?endpoint={s3_endpoint}&region=us-east-1"


@pytest.fixture(params=["folder", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty store of each kind."""
    if request.param == "folder":
        return Storage(str(tmp_path / "objects"))
    if request.param == "memory":
        return Storage("memory:")
    return Storage(request.getfixturevalue("s3_url"))
