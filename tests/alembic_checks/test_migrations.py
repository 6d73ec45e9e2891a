"""The migrations that this checkout carries, on the real models."""

import ast
import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from domain.db import autogenerate, embedded, migrations, objects
from domain.db.roles import OWNER, ensure_roles
from domain.errors import ConfigurationError
from domain.schema import metadata
from domain.testing import new_database
from domain.trading.declarations import ROUND_TRIPS
from tests.alembic_checks.projects import ROOT, catalog_lines, execute

SCHEMAS = objects.schemas(metadata)


async def lines(url: str) -> list[str]:
    return await catalog_lines(url, SCHEMAS)


async def in_transaction(url: str, work: Any) -> Any:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def create_everything(connection: Connection) -> None:
    ensure_roles(connection)
    connection.exec_driver_sql(f"SET LOCAL ROLE {OWNER}")
    objects.create_all(connection, metadata)


async def test_models_and_migrations_make_the_same_database(
    empty_database: str, migrated_database: str
) -> None:
    await in_transaction(empty_database, create_everything)
    assert await lines(empty_database) == await lines(migrated_database)


async def test_the_models_need_no_migration(migrated_database: str) -> None:
    assert await migrations.check(migrated_database) == []
    assert await migrations.current(migrated_database) == migrations.head()


async def test_a_search_path_with_our_schemas_confuses_nothing(migrated_database: str) -> None:
    name = make_url(migrated_database).database
    await execute(migrated_database, f"ALTER DATABASE {name} SET search_path = trading, public")
    assert await migrations.check(migrated_database) == []


async def test_every_migration_goes_back_without_a_trace(empty_database: str) -> None:
    scripts = ScriptDirectory(str(migrations.script_location())).walk_revisions()
    for script in reversed(list(scripts)):
        before = await lines(empty_database)
        await migrations.upgrade(empty_database, script.revision)
        after = await lines(empty_database)
        await migrations.downgrade(empty_database, "-1")
        assert await lines(empty_database) == before
        await migrations.upgrade(empty_database, script.revision)
        assert await lines(empty_database) == after
    assert len(after) > 1_000


async def test_an_old_database_is_told_apart_from_a_changed_one(empty_database: str) -> None:
    assert await migrations.check(empty_database) == [
        f"the database is at revision none, the newest is {migrations.head()}"
    ]


async def test_the_offline_script_makes_the_same_database(
    empty_database: str, migrated_database: str, tmp_path: Path
) -> None:
    script = tmp_path / "upgrade.sql"
    script.write_text(migrations.offline_sql())
    url = make_url(empty_database)
    command = [embedded._binaries() / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", script]
    where = ["-h", str(url.query["host"]), "-U", "postgres", "-d", str(url.database)]
    done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert await lines(empty_database) == await lines(migrated_database)
    assert await migrations.current(empty_database) == migrations.head()
    assert await migrations.check(empty_database) == []


async def test_three_processes_may_upgrade_an_empty_database_at_once(empty_database: str) -> None:
    program = (
        "import asyncio, sys; from domain.db import migrations as m; "
        "asyncio.run(m.upgrade(sys.argv[1]))"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, empty_database, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in processes:
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    assert await migrations.current(empty_database) == migrations.head()


async def test_an_upgrade_in_the_callers_transaction_goes_with_it(empty_database: str) -> None:
    engine = create_async_engine(empty_database, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.begin()
        await migrations.upgrade(connection)
        assert await connection.scalar(text("SELECT count(*) FROM trading.trades")) == 0
        await connection.rollback()
        assert await migrations.current(connection) is None
    await engine.dispose()
    assert await lines(empty_database) == []


async def test_a_connection_is_given_back_as_it_was(empty_database: str) -> None:
    engine = create_async_engine(empty_database, poolclass=NullPool)
    query = text(
        "SELECT current_setting('role'), current_setting('search_path'), "
        "current_setting('lock_timeout'), (SELECT count(*) FROM pg_locks "
        "WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
    )
    async with engine.connect() as connection:
        await connection.execute(text("SET search_path = pg_catalog, public"))
        before = (await connection.execute(query)).one()
        await connection.commit()
        await migrations.upgrade(connection)
        assert (await connection.execute(query)).one() == before
        await connection.rollback()
        with pytest.raises(ConfigurationError, match="Can't locate revision"):
            await migrations.upgrade(connection, "nowhere")
        assert (await connection.execute(query)).one() == before
    await engine.dispose()


async def test_everything_belongs_to_the_owner_role(migrated_database: str) -> None:
    def owners(connection: Connection) -> set[str]:
        query = text(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class JOIN "
            "pg_namespace AS n ON n.oid = relnamespace WHERE nspname = ANY "
            "(:schemas) UNION SELECT pg_get_userbyid(nspowner) FROM "
            "pg_namespace WHERE nspname = ANY (:schemas)"
        )
        return set(connection.execute(query, {"schemas": list(SCHEMAS)}).scalars())

    assert await in_transaction(migrated_database, owners) == {OWNER}


async def test_comparing_locks_no_table_against_writers(
    migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[str, str]] = []
    create_all = objects.create_all

    def create_and_look(connection: Connection, models: Any) -> None:
        create_all(connection, models)
        query = text(
            "SELECT relation::regclass::text, mode FROM pg_locks JOIN pg_class "
            "AS c ON c.oid = relation JOIN pg_namespace AS n ON n.oid = "
            "relnamespace WHERE nspname LIKE '%(aside)' AND mode <> 'AccessShareLock'"
        )
        held.extend(map(tuple, connection.execute(query)))
        schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%(aside)'"
        assert connection.exec_driver_sql(schemas).scalar() == len(SCHEMAS)

    monkeypatch.setattr(autogenerate.objects, "create_all", create_and_look)
    assert await migrations.check(migrated_database) == []
    assert held == []


BY_HAND = {
    "a changed check": (
        (
            "ALTER TABLE identity.users DROP CONSTRAINT "
            "ck_users_username_format, ADD CONSTRAINT ck_users_username_format "
            "CHECK (username <> '')"
        ),
        "ck_users_username_format on identity.users",
    ),
    "a check that was never validated": (
        (
            "ALTER TABLE market.currencies DROP CONSTRAINT "
            "ck_currencies_minor_units_range, ADD CONSTRAINT ck_currencies_minor_units_range "
            "CHECK (minor_units BETWEEN 0 AND 18) NOT VALID"
        ),
        "ck_currencies_minor_units_range on market.currencies",
    ),
    "a changed view": (
        (
            "CREATE OR REPLACE VIEW trading.round_trips WITH (security_invoker = true)"
            f" AS SELECT * FROM ({ROUND_TRIPS.definition}) AS every"
        ),
        "view trading.round_trips",
    ),
    "a changed policy": (
        "ALTER POLICY tenant ON trading.trades USING (true)",
        "policy tenant on trading.trades",
    ),
    "another policy": (
        "CREATE POLICY everybody ON trading.trades USING (true)",
        "policy everybody on trading.trades",
    ),
    "row security off": (
        "ALTER TABLE trading.trades DISABLE ROW LEVEL SECURITY",
        "row security on table trading.trades",
    ),
    "row security not for the owner": (
        "ALTER TABLE trading.positions NO FORCE ROW LEVEL SECURITY",
        "row security on table trading.positions",
    ),
    "a missing trigger": (
        "DROP TRIGGER append_only ON trading.trades",
        "trigger append_only on trading.trades",
    ),
    "a disabled trigger": (
        "ALTER TABLE trading.cash_movements DISABLE TRIGGER append_only",
        "trigger append_only on trading.cash_movements",
    ),
    "a changed function": (
        (
            "CREATE OR REPLACE FUNCTION trading.refuse_change() RETURNS "
            "trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
        ),
        "change function trading.refuse_change()",
    ),
    "a function for everybody": (
        "GRANT EXECUTE ON FUNCTION trading.refuse_change() TO PUBLIC",
        "add no right for everybody on function trading.refuse_change()",
    ),
    "a type by hand": ("CREATE TYPE trading.venue AS ENUM ('XNAS', 'XNYS')", "type trading.venue"),
    "an extra right": (
        "GRANT DELETE ON trading.trades TO tradekeep_app",
        "tradekeep_app on table trading.trades",
    ),
    "a missing right": (
        "REVOKE INSERT ON trading.trades FROM tradekeep_app",
        "tradekeep_app on table trading.trades",
    ),
    "a right for everybody": (
        "GRANT SELECT ON identity.users TO PUBLIC",
        "PUBLIC on table identity.users",
    ),
    "a right on a column": (
        "GRANT UPDATE (price) ON trading.trades TO tradekeep_app",
        "trading.trades.price",
    ),
    "a changed comment": (
        "COMMENT ON COLUMN trading.trades.price IS 'Guess'",
        "trading.trades.price",
    ),
    "a changed default": (
        "ALTER TABLE identity.users ALTER COLUMN role SET DEFAULT 'admin'",
        "identity.users.role",
    ),
    "a column that may be empty": (
        "ALTER TABLE trading.trades ALTER COLUMN price DROP NOT NULL",
        "trading.trades.price",
    ),
    "a rounded number": (
        "ALTER TABLE market.fx_rates ALTER COLUMN rate TYPE numeric(12, 4)",
        "market.fx_rates.rate",
    ),
    "a column by hand": ("ALTER TABLE identity.users ADD COLUMN nickname text", "nickname"),
    "a table by hand": ("CREATE TABLE trading.scratch (id int)", "scratch"),
    "an unlogged table": ("ALTER TABLE market.fx_rates SET UNLOGGED", "table market.fx_rates"),
    "an index by hand": (
        "CREATE INDEX by_hand ON trading.trades (executed_at)",
        "index trading.by_hand",
    ),
    "a generated column made plain": (
        "ALTER TABLE market.instruments ALTER COLUMN osi_symbol DROP EXPRESSION",
        "column market.instruments.osi_symbol",
    ),
    "storage parameters": (
        "ALTER TABLE trading.trades SET (autovacuum_enabled = false)",
        "storage parameters on table trading.trades",
    ),
}


@pytest.fixture(scope="module")
def found_by_hand(postgres_url: str, migrated_template: str) -> Iterator[list[str]]:
    """What the check says about a database with all of these changes."""
    with new_database(postgres_url, template=migrated_template) as url:
        asyncio.run(execute(url, *(statement for statement, _ in BY_HAND.values())))
        yield asyncio.run(migrations.check(url))


@pytest.mark.parametrize("change", BY_HAND)
def test_a_change_by_hand_turns_the_check_red(change: str, found_by_hand: list[str]) -> None:
    name = BY_HAND[change][1]
    assert any(name in line for line in found_by_hand), found_by_hand


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    "A copy of what `python -m alembic` needs, so that a new revision lands outside."
    shutil.copytree(ROOT / "alembic", tmp_path / "alembic")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


async def test_a_view_made_to_read_as_its_owner_turns_the_check_red(migrated_database: str) -> None:
    await execute(
        migrated_database, "ALTER VIEW trading.round_trips SET (security_invoker = false)"
    )
    found = await migrations.check(migrated_database)
    assert any("security_invoker=true" in line for line in found)


async def test_all_changes_by_hand_are_taken_back_by_one_migration(
    checkout: Path, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "script_location", lambda: checkout / "alembic")
    good, head = await lines(migrated_database), migrations.head()
    # That one a person must write: the table would be written anew.
    statements = [BY_HAND[change][0] for change in BY_HAND if change != "an unlogged table"]
    await execute(migrated_database, *statements)
    bad = await lines(migrated_database)
    files = await migrations.revision(migrated_database, "take it back")
    await migrations.upgrade(migrated_database)
    assert await lines(migrated_database) == good
    assert await migrations.check(migrated_database) == []
    await migrations.downgrade(migrated_database, head or "base")
    assert await lines(migrated_database) == bad
    assert len(files) == 2


def test_migrations_import_nothing_of_ours() -> None:
    for file in (ROOT / "alembic" / "versions").glob("*.py"):
        assert _imported(file) <= {"alembic", "collections", "sqlalchemy"}, file.name


def _imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def alembic(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=folder,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_alembics_own_command_line_works_from_the_checkout(
    checkout: Path, empty_database: str
) -> None:
    assert alembic(checkout, empty_database, "current", "--check-heads").returncode != 0
    upgraded = alembic(checkout, empty_database, "upgrade", "head")
    assert upgraded.returncode == 0, upgraded.stderr
    assert "Running upgrade" in upgraded.stderr
    assert alembic(checkout, empty_database, "current", "--check-heads").returncode == 0
    assert "No new upgrade operations" in alembic(checkout, empty_database, "check").stdout
    asyncio.run(execute(empty_database, "DROP TRIGGER append_only ON trading.trades"))
    red = alembic(checkout, empty_database, "check")
    assert red.returncode != 0
    assert "trigger append_only on trading.trades" in red.stdout + red.stderr
    written = alembic(checkout, empty_database, "revision", "--autogenerate", "-m", "Bring it back")
    assert written.returncode == 0, written.stderr
    (file,) = (checkout / "alembic" / "versions").glob("*_bring_it_back.py")
    assert "CREATE TRIGGER append_only" in file.read_text()
    offline = alembic(checkout, empty_database, "upgrade", "head", "--sql")
    assert "CREATE TABLE trading.trades" in offline.stdout
