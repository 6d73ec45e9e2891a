"""Runs each admin as a process of its own and counts the processor time of it and PostgreSQL."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx2 as httpx
import psutil

PATIENCE = 120.0
LONG_ENOUGH, FEWEST = 1.0, 2


@dataclass(frozen=True)
class Contestant:
    """An admin that is served.

    Args:
        name: What it is called.
        address: Where it listens.
        process: The server.
        cookies: What lets a request in.
        pages: The path of each scenario.
    """

    name: str
    address: str
    process: psutil.Process
    cookies: Mapping[str, str]
    pages: Mapping[str, str]


@dataclass(frozen=True)
class Spent:
    """Processor time of one request, in milliseconds.

    Args:
        app: Of the admin.
        database: Of PostgreSQL.
        wall: What a user waited.
        size: Bytes of the page.
    """

    app: float
    database: float
    wall: float
    size: int

    @property
    def cpu(self) -> float:
        """Application and database together."""
        return self.app + self.database


@contextlib.contextmanager
def served(target: str, url: str) -> Iterator[tuple[str, int]]:
    """Serve an application factory by one worker; give its address and the server's process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", target, "--port", str(port)]
    command += ["--log-level", "warning"]
    given = {**os.environ, "BENCH_URL": url, "TRADEKEEP_DATABASE_URL": url}
    with subprocess.Popen(command, env=given) as server:  # noqa: S603 - our own arguments
        try:
            _wait(port)
            yield f"http://127.0.0.1:{port}", server.pid
        finally:
            server.terminate()


def _wait(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(port)


class Contest:
    """Sends requests and counts.

    Args:
        postmaster: The process id of PostgreSQL's first process.
    """

    def __init__(self, postmaster: int) -> None:
        self._postmaster = psutil.Process(postmaster)

    def turn(self, contestant: Contestant, scenario: str) -> Spent:
        """Ask for a page again and again, and return what one request took."""
        address = contestant.address + contestant.pages[scenario]
        # Compression is left to what stands in front of most of them: nobody is asked for it here.
        plain = {"accept-encoding": "identity"}
        cookies = dict(contestant.cookies)
        with httpx.Client(cookies=cookies, headers=plain, timeout=PATIENCE) as client:
            page = client.get(address)
            if page.status_code != 200:
                raise RuntimeError(f"{contestant.name} {scenario}: {page.status_code} {address}")
            before = self._counted(contestant)
            start = time.perf_counter()
            times = 0
            # The system counts in hundredths of a second: quick pages are asked for more often.
            while (wall := time.perf_counter() - start) < LONG_ENOUGH or times < FEWEST:
                client.get(address)
                times += 1
            after = self._counted(contestant)
        app, database = ((b - a) / times * 1000 for a, b in zip(before, after, strict=True))
        return Spent(app, database, wall / times * 1000, len(page.content))

    def _counted(self, contestant: Contestant) -> tuple[float, float]:
        return _seconds(contestant.process), self._database()

    def _database(self) -> float:
        own = self._postmaster.cpu_times()
        ended = own.children_user + own.children_system
        living = [self._postmaster, *self._postmaster.children(recursive=True)]
        return ended + sum(_seconds(process) for process in living)


def _seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
