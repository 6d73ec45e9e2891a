"""The roles: made once, by whoever is allowed to, and never more than they should be."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from domain.db import migrations
from domain.db.embedded import EmbeddedPostgres
from domain.db.roles import APP, OWNER, ROLES, ensure_roles, missing_setup
from domain.errors import AccessDenied, ConfigurationError


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A server of its own: roles belong to a whole server."""
    with tempfile.TemporaryDirectory(prefix="tradekeep-") as parent:
        Path(parent).chmod(0o711)
        with EmbeddedPostgres(Path(parent) / "postgres", fast=True) as server:
            yield server


@asynccontextmanager
async def connected(url: str, *, autocommit: bool = False) -> AsyncIterator[AsyncConnection]:
    options = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    engine = create_async_engine(url, poolclass=NullPool, execution_options=options)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def run(url: str, *statements: str) -> None:
    async with connected(url, autocommit=True) as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


async def ensure(url: str) -> None:
    async with connected(url) as connection:
        await connection.run_sync(ensure_roles)
        await connection.commit()


def as_login(url: str, login: str) -> str:
    return make_url(url).set(username=login).render_as_string(hide_password=False)


async def test_many_processes_may_make_the_roles_at_once(server: EmbeddedPostgres) -> None:
    await run(server.url(), *(f"CREATE DATABASE desk_{number}" for number in range(4)))
    urls = [server.url(f"desk_{number}") for number in range(4)] * 3
    await asyncio.gather(*(ensure(url) for url in urls))
    async with connected(server.url()) as connection:
        query = text(
            "SELECT count(*) FROM pg_roles WHERE rolname = ANY (:names)"
            " AND NOT rolsuper AND NOT rolbypassrls AND NOT rolcanlogin AND NOT rolcreaterole"
        )
        assert await connection.scalar(query, {"names": list(ROLES)}) == len(ROLES)


async def test_where_all_is_in_place_nothing_is_done(server: EmbeddedPostgres) -> None:
    await ensure(server.url())
    async with connected(server.url()) as connection:
        assert await connection.run_sync(missing_setup) == []


async def test_a_login_that_may_create_roles_migrates_its_own_database(
    server: EmbeddedPostgres,
) -> None:
    await run(
        server.url(), "CREATE ROLE deploy LOGIN CREATEROLE", "CREATE DATABASE desk OWNER deploy"
    )
    await run(server.url("desk"), "CREATE EXTENSION vector")
    url = as_login(server.url("desk"), "deploy")
    await migrations.upgrade(url)
    assert await migrations.check(url) == []
    async with connected(url) as connection:
        await connection.execute(text(f"SET ROLE {APP}"))
        assert await connection.scalar(text("SELECT count(*) FROM trading.trades")) == 0


async def test_a_login_does_not_carry_the_rights_of_roles_it_may_become(
    server: EmbeddedPostgres,
) -> None:
    await run(
        server.url(), "CREATE ROLE deploy LOGIN CREATEROLE", "CREATE DATABASE desk OWNER deploy"
    )
    await run(server.url("desk"), "CREATE EXTENSION vector")
    url = as_login(server.url("desk"), "deploy")
    await migrations.upgrade(url)
    async with connected(url) as connection:
        with pytest.raises(DBAPIError, match="permission denied"):
            await connection.execute(text("SELECT count(*) FROM trading.trades"))


async def test_the_administrator_is_told_to_install_what_the_login_may_not(
    server: EmbeddedPostgres,
) -> None:
    await run(
        server.url(), "CREATE ROLE deploy LOGIN CREATEROLE", "CREATE DATABASE desk OWNER deploy"
    )
    with pytest.raises(AccessDenied, match="CREATE EXTENSION IF NOT EXISTS vector"):
        await migrations.upgrade(as_login(server.url("desk"), "deploy"))


async def test_a_login_without_rights_gets_the_sql_for_its_administrator(
    server: EmbeddedPostgres,
) -> None:
    await run(server.url(), "CREATE ROLE modest LOGIN", "CREATE DATABASE desk")
    url = as_login(server.url("desk"), "modest")
    with pytest.raises(AccessDenied, match="an administrator must run") as refused:
        await migrations.upgrade(url)
    script = str(refused.value).partition(":\n")[2]
    assert f"CREATE ROLE {OWNER}" in script
    assert f"GRANT {APP} TO modest" in script
    await run(server.url("desk"), *(line.strip() for line in script.splitlines()))
    await migrations.upgrade(url)
    assert await migrations.check(url) == []


async def test_a_role_that_could_bypass_row_security_is_refused(server: EmbeddedPostgres) -> None:
    await ensure(server.url())
    await run(server.url(), f"ALTER ROLE {APP} BYPASSRLS")
    with pytest.raises(ConfigurationError, match=f"{APP} could bypass row-level security"):
        await ensure(server.url())


async def test_new_functions_are_closed_to_those_who_were_not_granted_them(
    migrated_database: str,
) -> None:
    async with connected(migrated_database) as connection:
        await connection.execute(text(f"SET LOCAL ROLE {OWNER}"))
        await connection.execute(
            text("CREATE FUNCTION trading.secret() RETURNS int LANGUAGE sql AS 'SELECT 42'")
        )
        await connection.execute(text(f"SET LOCAL ROLE {APP}"))
        with pytest.raises(DBAPIError, match="permission denied for function secret"):
            await connection.execute(text("SELECT trading.secret()"))
