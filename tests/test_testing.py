"""The fixtures that users get: a database for each test, and nothing left behind."""

import os
import subprocess
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.testing import _execute, _remove_leftovers, new_database


async def count_users(url: str) -> int:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        count = await connection.scalar(text("SELECT count(*) FROM identity.users"))
    await engine.dispose()
    return int(count or 0)


async def test_a_migrated_database_has_all_tables_and_no_users(migrated_database: str) -> None:
    assert await count_users(migrated_database) == 0


async def test_two_databases_share_nothing(
    postgres_url: str, migrated_template: str, migrated_database: str
) -> None:
    with new_database(postgres_url, template=migrated_template) as other:
        _execute(other, "INSERT INTO identity.users (username) VALUES ('eva')")
        assert await count_users(other) == 1
        assert await count_users(migrated_database) == 0


def test_databases_of_killed_test_runs_are_removed_and_others_are_not(postgres_url: str) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, ours = f"test_{ended.pid}_1", f"test_{os.getpid()}_999999"
    for name in (left, ours):
        _execute(postgres_url, f"CREATE DATABASE {name}")
    _remove_leftovers(postgres_url)
    found = _execute(postgres_url, "SELECT datname FROM pg_database")
    _execute(postgres_url, f"DROP DATABASE {ours}")
    assert ours in found
    assert left not in found
