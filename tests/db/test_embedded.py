"""The embedded server: shared, left, killed, refused."""

import asyncio
import logging
import multiprocessing
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.db.embedded import EmbeddedPostgres
from domain.errors import ConfigurationError

_HOLD = """
import sys
from pathlib import Path
from domain.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: pytest closes that one to the system user that the server of root runs as.
    parent = Path(tempfile.mkdtemp(prefix="tradekeep-"))
    parent.chmod(0o711)
    yield parent / "postgres"
    if pid := server_pid(parent / "postgres"):
        os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: not is_running(pid))
    shutil.rmtree(parent)


def server_pid(folder: Path) -> int | None:
    try:
        return int((folder / "data" / "postmaster.pid").read_text().split()[0])
    except FileNotFoundError:
        return None


def is_running(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def query(url: str, *statements: str) -> object:
    async def run() -> object:
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
        await engine.dispose()
        return result.scalar() if result.returns_rows else None

    return asyncio.run(run())


class Holder:
    """Another process that uses the server until it is told to leave."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def url(self) -> str:
        return _pipe(self.process.stdout).readline().strip()

    def leave(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def test_processes_share_one_server_and_the_last_to_leave_stops_it(folder: Path) -> None:
    other = Holder(folder)
    with EmbeddedPostgres(folder) as server:
        assert other.url() == server.url()
        pid = server_pid(folder)
        other.leave()
        assert is_running(pid)
        assert query(server.url(), "SELECT current_database()") == "tradekeep"
    assert not is_running(pid)
    assert server_pid(folder) is None


def test_three_processes_that_start_at_once_get_the_same_server(folder: Path) -> None:
    holders = [Holder(folder) for _ in range(3)]
    assert len({holder.url() for holder in holders}) == 1
    pid = server_pid(folder)
    for holder in holders:
        assert is_running(pid)
        holder.leave()
    assert not is_running(pid)


def test_a_process_that_was_killed_counts_no_longer(folder: Path) -> None:
    victim = Holder(folder)
    victim.url()
    pid = server_pid(folder)
    victim.kill()
    assert is_running(pid)
    with EmbeddedPostgres(folder):
        assert server_pid(folder) == pid
    assert not is_running(pid)


def test_a_killed_server_comes_back_with_what_was_committed(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        query(server.url(), "CREATE TABLE kept AS SELECT 190.25 AS price")
        pid = server_pid(folder)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid))
        assert server.start() == server.url()
        assert str(query(server.url(), "SELECT price FROM kept")) == "190.25"
        assert server_pid(folder) != pid


def test_a_stale_pid_file_that_names_a_living_stranger_does_not_stop_the_start(
    folder: Path,
) -> None:
    with EmbeddedPostgres(folder):
        running = (folder / "data" / "postmaster.pid").read_text()
    stale = running.split("\n", 1)[1]
    (folder / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{stale}")
    with EmbeddedPostgres(folder) as server:
        assert query(server.url(), "SELECT 1") == 1


def test_an_interrupted_first_start_is_begun_anew(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    shutil.rmtree(folder / "data")
    (folder / "data.new").mkdir()
    (folder / "data.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder) as server:
        assert query(server.url(), "SELECT 1") == 1


def test_a_process_that_ends_without_leaving_leaves(folder: Path) -> None:
    holder = Holder(folder)
    holder.url()
    pid = server_pid(folder)
    holder.leave()
    assert not is_running(pid)


def test_only_a_socket_in_a_closed_folder_is_listened_on(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        assert query(server.url(), "SHOW listen_addresses") == ""
        assert (folder / "socket").stat().st_mode & 0o777 == 0o700
        assert (folder / "data").stat().st_mode & 0o777 == 0o700
        assert query(server.url(), "SHOW fsync") == "on"
        assert query(server.url(), "SHOW max_connections") == "200"


def test_a_long_path_gets_a_socket_elsewhere(folder: Path) -> None:
    long = folder / ("portfolio-" * 12)
    with EmbeddedPostgres(long) as server:
        assert not (long / "socket").exists()
        elsewhere = server._socket()
        assert query(server.url(), "SELECT 1") == 1
    assert not elsewhere.exists()


def test_a_path_with_spaces_and_commas_works(folder: Path) -> None:
    with EmbeddedPostgres(folder / "Eva's data, 2026") as server:
        assert query(server.url(), "SELECT 1") == 1


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match="not empty and not a folder of Tradekeep's"):
        EmbeddedPostgres(folder).start()
    assert [item.name for item in folder.iterdir()] == ["thesis.tex"]


def test_data_of_another_postgresql_version_is_refused_and_left_alone(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    version = folder / "data" / "PG_VERSION"
    installed = version.read_text()
    version.write_text("17\n")
    with pytest.raises(ConfigurationError, match=r"made by PostgreSQL 17, installed is 18\.\d+"):
        EmbeddedPostgres(folder).start()
    assert version.read_text() == "17\n"
    version.write_text(installed)
    with EmbeddedPostgres(folder) as server:
        assert query(server.url(), "SELECT 1") == 1


def test_a_path_that_cannot_be_a_folder_is_explained(folder: Path) -> None:
    (folder.parent / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot use .*: Not a directory"):
        EmbeddedPostgres(folder.parent / "file" / "below").start()


def test_a_server_that_does_not_start_says_why_and_names_the_log(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    with (folder / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("shared_buffers = plenty\n")
    with pytest.raises(ConfigurationError, match=r"did not start in .*; see .*server\.log"):
        EmbeddedPostgres(folder).start()


def test_a_fast_server_makes_spoiled_data_anew_and_leaves_none(folder: Path) -> None:
    with EmbeddedPostgres(folder, fast=True) as server:
        assert query(server.url(), "SHOW fsync") == "off"
        pid = server_pid(folder)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid))
        (folder / "data" / "global" / "pg_control").write_bytes(b"spoiled")
        server.start()
        assert query(server.url(), "SELECT 1") == 1
    assert not (folder / "data").exists()


def test_a_server_whose_start_takes_too_long_is_not_waited_for_for_ever(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        impatient = EmbeddedPostgres(folder, timeout=0.1)
        with (
            impatient._occupancy.alone(),
            pytest.raises(ConfigurationError, match="starting or stopping"),
        ):
            EmbeddedPostgres(folder, timeout=0.1).start()


async def test_the_event_loop_runs_on_while_the_server_starts(folder: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    async with EmbeddedPostgres(folder) as server:
        assert server.url().startswith("postgresql+asyncpg://postgres@/tradekeep?host=/")
    ticking.cancel()
    assert ticks > 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_ordinary_user_can_run_it(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(folder.parent, nobody.pw_uid, nobody.pw_gid)
    foreign = folder.parent / "foreign"
    foreign.mkdir()
    foreign.chmod(0o777)
    os.chown(foreign, nobody.pw_uid - 1, nobody.pw_gid)
    results = multiprocessing.get_context("fork").Queue()

    def as_nobody() -> None:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        with EmbeddedPostgres(folder) as server:
            results.put((server.url(), psutil.Process(server_pid(folder)).uids().real))
        for wrong in (Path("/tradekeep"), foreign):
            try:
                EmbeddedPostgres(wrong).start()
            except ConfigurationError as error:
                results.put(str(error))

    child = multiprocessing.get_context("fork").Process(target=as_nobody)
    child.start()
    url, owner = results.get(timeout=60)
    refused = [results.get(timeout=10), results.get(timeout=10)]
    child.join()
    assert url.endswith(f"host={folder}/socket")
    assert owner == nobody.pw_uid
    assert server_pid(folder) is None
    assert refused == [
        "the embedded PostgreSQL cannot use /tradekeep: Permission denied",
        f"{foreign} belongs to another user",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user run the server")
def test_root_lets_another_user_pass_but_not_read(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.parent.chmod(0o700)
    with caplog.at_level(logging.WARNING), EmbeddedPostgres(folder):
        pid = server_pid(folder)
        assert psutil.Process(pid).uids().real == folder.stat().st_uid != 0
    assert folder.parent.stat().st_mode & 0o777 == 0o701
    assert "letting other users pass through" in caplog.text
