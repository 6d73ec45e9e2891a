"""Runs the tests on the oldest PostgreSQL that is supported: Debian's package of version 15.

`python -m tests.on_postgres_15 [pytest arguments]`; without the package it says so and does nothing,
unless continuous integration demands it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_PROGRAMS: Final = Path("/usr/lib/postgresql/15/bin")
_SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "max_locks_per_transaction": "256",
    "listen_addresses": "",
}


# What has another subject than PostgreSQL is not run a second time, nor areas that ask it nothing
# but plain statements: their tables, views and triggers are made and compared on both. The embedded
# server brings its own version, and the rules of the ledger and of broken files ask no server.
_ELSEWHERE: Final = (
    "tests/agents",
    "tests/alerts",
    "tests/cache",
    "tests/cli",
    "tests/docs",
    "tests/journal",
    "tests/messaging",
    "tests/realtime",
    "tests/security",
    "tests/storage",
    "tests/alembic_checks/test_wheel.py",
    "tests/contracts/test_alembic_folder.py",
    "tests/contracts/test_house_rules.py",
    "tests/db/test_embedded.py",
    "tests/trading/importing/test_broken_files.py",
    "tests/trading/test_ledger_properties.py",
    *sorted(
        str(path)
        for path in Path("tests/admin").glob("test_*.py")
        if path.stem not in {"test_history", "test_lists", "test_walk"}
    ),
)


def main() -> int:
    """Return the exit code of the tests, 0 where there is nothing to run them on."""
    if not (_PROGRAMS / "postgres").is_file():
        print("note: PostgreSQL 15 was not found, the tests ran on 18 alone; install postgresql-15")
        return 1 if os.environ.get("TRADEKEEP_REQUIRE_POSTGRES_15") else 0
    with _server() as url:
        environment = {**os.environ, "TRADEKEEP_TEST_DATABASE_URL": url}
        left_out = [f"--ignore={path}" for path in _ELSEWHERE]
        tests = [sys.executable, "-m", "pytest", *left_out, *sys.argv[1:]]
        return subprocess.run(tests, env=environment, check=False).returncode


@contextmanager
def _server() -> Iterator[str]:
    """Start a server in a folder of its own, give its URL, and remove both."""
    shared_memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    account = _account(folder)
    data = folder / "data"
    options = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
    try:
        _run(
            account, "initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"
        )
        start = f"-k {folder} {options}"
        _run(
            account,
            "pg_ctl",
            "start",
            "-w",
            "-D",
            str(data),
            "-l",
            str(folder / "log"),
            "-o",
            start,
        )
        try:
            yield f"postgresql+asyncpg://postgres@/postgres?host={folder}"
        finally:
            _run(account, "pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(data))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account(folder: Path) -> dict[str, Any]:
    """Return who runs the server: PostgreSQL refuses root, the package brings a user."""
    folder.chmod(0o755)
    if os.geteuid():
        return {}
    shutil.chown(folder, "postgres", "postgres")
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def _run(account: dict[str, Any], program: str, *arguments: str) -> None:
    command = [str(_PROGRAMS / program), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **account)


if __name__ == "__main__":
    sys.exit(main())
