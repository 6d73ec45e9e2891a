"""Each finding is found where it is, and not where it is not."""

import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner

from admin.app import create_app
from domain import Database
from domain.cli.app import app
from domain.clock import now
from domain.db.roles import ROLES
from domain.demo.loading import USERNAME
from domain.errors import ConfigurationError
from domain.identity.models import Role, SecondFactor
from domain.ops.deploying import (
    DEMO_USERS,
    Level,
    check_database,
    check_deployment,
    check_settings,
    refuse_unsafe,
)
from domain.settings import Environment, Settings
from tests.docs.reading import PAGES, table_rows
from tests.factories.identity import make_user

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
WEAK = "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="
SAFE_URL = "postgresql://tk:s3cr3t@db.example.com/tk?sslmode=verify-full"
SAFE: dict[str, Any] = {
    "environment": Environment.PRODUCTION,
    "encryption_keys": SecretStr(f"new:{KEY},old:{OTHER}"),
    "allowed_hosts": ("desk.example.com",),
    "redis_url": SecretStr("rediss://:s3cr3t@cache.example.com/0"),
    "trusted_proxies": ("10.0.0.7",),
}
PROVIDER: dict[str, Any] = {
    "oidc_issuer": "https://id.example.com",
    "oidc_client_id": "tradekeep",
    "oidc_client_secret": SecretStr("s3cr3t"),
    "oidc_redirect_uri": "https://desk.example.com/admin/login/oidc/callback",
}
CHANGES: dict[str, dict[str, Any]] = {
    "SEC001": {"environment": Environment.DEVELOPMENT},
    "SEC002": {"encryption_keys": None},
    "SEC003": {"encryption_keys": SecretStr(f"k:{WEAK}")},
    "SEC004": {"encryption_keys": SecretStr(f"new:{KEY},old:{KEY}")},
    "SEC005": {"allowed_hosts": ("desk.example.com", "*")},
    "SEC006": {"allowed_hosts": ("localhost",)},
    "SEC007": {"url": None},
    "SEC008": {"url": "postgresql://tk:s3cr3t@db.example.com/tk"},
    "SEC009": {"url": "postgresql://tk:s3cr3t@db.example.com/tk?sslmode=require"},
    "SEC010": {"redis_url": SecretStr("redis://:s3cr3t@cache.example.com/0")},
    "SEC011": {"redis_url": SecretStr("rediss://cache.example.com/0")},
    "SEC012": {"session_hours": 200},
    "SEC013": {"trusted_proxies": ("0.0.0.0/0",)},
    "SEC014": {"allow_private_webhooks": True},
    "SEC016": {"trusted_proxies": ()},
    "SEC017": PROVIDER | {"oidc_issuer": "http://id.example.com"},
    "SEC018": PROVIDER | {"oidc_create_domains": ("example.com", "gmail.com")},
    "SEC019": PROVIDER | {"oidc_client_secret": None},
}


def ids_of(**changes: Any) -> set[str]:
    chosen = SAFE | changes
    url = chosen.pop("url", SAFE_URL)
    return {found.id for found in check_settings(Settings(**chosen), url)}


def test_the_sample_deployment_has_no_finding() -> None:
    assert ids_of() == set()
    assert ids_of(url="postgresql:///tk?host=/run/postgresql", redis_url=None) == set()
    assert ids_of(**PROVIDER) == set()


@pytest.mark.parametrize("ident", CHANGES)
def test_each_wrong_setting_is_found_under_its_id_alone(ident: str) -> None:
    assert ids_of(**CHANGES[ident]) == {ident}


def test_statements_in_the_log_are_found() -> None:
    logger = logging.getLogger("sqlalchemy.engine")
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        assert ids_of() == {"SEC015"}
    finally:
        logger.setLevel(before)
    assert ids_of() == set()


def test_no_finding_shows_a_secret() -> None:
    for changes in CHANGES.values():
        chosen = SAFE | changes
        url = chosen.pop("url", SAFE_URL)
        for found in check_settings(Settings(**chosen), url):
            assert not [word for word in ("s3cr3t", KEY, WEAK) if word in str(found.as_dict())]


@pytest.mark.parametrize("ident", CHANGES)
def test_production_does_not_start_with_an_error_and_names_it(ident: str) -> None:
    chosen = SAFE | {"environment": Environment.PRODUCTION} | CHANGES[ident]
    url = chosen.pop("url", SAFE_URL)
    given = {"database_url": None if url is None else SecretStr(url)}
    settings = Settings(**chosen, **given)
    level = {item.id: item.level for item in check_settings(settings, url)}.get(ident)
    if settings.environment is Environment.DEVELOPMENT or level is not Level.ERROR:
        refuse_unsafe(settings)
        return
    with pytest.raises(ConfigurationError, match=ident):
        create_app(settings)
    refuse_unsafe(Settings(**chosen, **given, accepted_risks=(ident,)))


# ── the database ─────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def statements(url: str) -> AsyncIterator[Any]:
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            yield lambda sql: connection.execute(text(sql))
    finally:
        await engine.dispose()


async def found_in(db: Database) -> set[str]:
    return {item.id for item in await check_database(db)}


async def test_a_database_that_is_away_is_found(tmp_path: Any) -> None:
    url = f"postgresql+asyncpg://postgres@/none?host={tmp_path}"
    async with Database(url, settings=Settings(connect_timeout=1)) as db:
        assert await found_in(db) == {"SEC020"}


async def test_pending_migrations_are_found(empty_database: str, db: Database) -> None:
    async with Database(empty_database, settings=Settings()) as empty:
        assert await found_in(empty) == {"SEC023"}
    assert not {"SEC020", "SEC023"} & await found_in(db)


async def test_a_login_that_bypasses_row_security_and_a_missing_backup_role_are_found(
    migrated_database: str, db: Database
) -> None:
    assert {"SEC021", "SEC026"} <= await found_in(db)
    plain, backup = f"test_plain_{os.getpid()}", f"test_backup_{os.getpid()}"
    url = make_url(migrated_database).set(username=plain).render_as_string(hide_password=False)
    async with statements(migrated_database) as run:
        await run(f"CREATE ROLE {plain} LOGIN")
        await run(f"CREATE ROLE {backup} LOGIN BYPASSRLS")
        try:
            for role in ROLES:
                await run(f"GRANT {role} TO {plain}")
            async with Database(url, settings=Settings()) as safe:
                assert await found_in(safe) == set()
        finally:
            await run(f"DROP ROLE {plain}")
            await run(f"DROP ROLE {backup}")


async def test_a_table_without_forced_row_security_is_named(
    migrated_database: str, db: Database
) -> None:
    assert "SEC022" not in await found_in(db)
    async with statements(migrated_database) as run:
        await run("ALTER TABLE trading.trades NO FORCE ROW LEVEL SECURITY")
    (found,) = [item for item in await check_database(db) if item.id == "SEC022"]
    assert "trading.trades" in found.message and "portfolios" not in found.message


async def test_the_demos_user_and_administrators_without_second_step_are_found(
    db: Database,
) -> None:
    assert DEMO_USERS == (USERNAME,)
    assert not {"SEC024", "SEC025"} & await found_in(db)
    async with db.transaction(system="test") as unit:
        await make_user(unit, USERNAME)
        boss = await make_user(unit, "boss", Role.ADMIN)
    assert {"SEC024", "SEC025"} <= await found_in(db)
    async with db.transaction(system="test") as unit:
        factor = SecondFactor(user_id=boss.id, secret_enc=b"x", key_id="k", confirmed_at=now())
        unit.second_factors.add(factor)
    assert "SEC025" not in await found_in(db)


async def test_what_is_accepted_is_not_shown_and_errors_come_first(db: Database) -> None:
    found = await check_deployment(db)
    levels = [item.level for item in found]
    assert levels == sorted(levels, key=lambda level: level is not Level.ERROR)
    quiet = Settings(accepted_risks=tuple(item.id for item in found))
    url = db.engine.url.render_as_string(hide_password=False)
    async with Database(url, settings=quiet) as same:
        assert await check_deployment(same) == []


def test_the_command_says_it_to_people_and_programs(migrated_database: str) -> None:
    environment = {"DATABASE_URL": migrated_database, "TRADEKEEP_ACCEPTED_RISKS": "SEC021"}
    done = CliRunner().invoke(app, ["check", "--deploy", "--json"], env=environment)
    assert done.exit_code == 1
    found = {item["id"]: item for item in json.loads(done.output)}
    assert found["SEC001"]["level"] == "error" and "SEC021" not in found
    said = CliRunner().invoke(app, ["check", "--deploy"], env=environment)
    assert said.exit_code == 1 and "SEC001 error:" in said.output
    plain = CliRunner().invoke(app, ["check"], env=environment)
    assert plain.exit_code == 0, plain.output


def test_every_finding_is_explained() -> None:
    documented = {cells[0].strip("`") for cells in table_rows(PAGES / "security.md")}
    known = {*CHANGES, "SEC015", "SEC020", "SEC021", "SEC022", "SEC023", "SEC024", "SEC025"}
    assert {name for name in documented if name.startswith("SEC")} == known | {"SEC026"}
