"""`tradekeep db …`."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from domain.cli.output import err, out
from domain.cli.running import FAILED, command
from domain.database import Database
from domain.db import migrations
from domain.errors import ConfigurationError

database_app = typer.Typer(help="The database and its migrations.", no_args_is_help=True)


@asynccontextmanager
async def _url() -> AsyncIterator[str]:
    async with Database() as db:
        yield db.engine.url.render_as_string(hide_password=False)


@database_app.command("init")
@command
async def init_command() -> None:
    """Prepare an empty database: roles, rights, all tables."""
    async with _url() as url:
        await migrations.upgrade(url)
    out.print("database is ready")


@database_app.command("upgrade")
@command
async def upgrade_command(
    revision: Annotated[str, typer.Argument(help="Where to go.")] = "head",
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead.")] = False,
) -> None:
    """Bring the database to a revision."""
    if sql:
        out.print(migrations.offline_sql(revision), markup=False)
        return
    async with _url() as url:
        with err.status("migrating"):
            await migrations.upgrade(url, revision)
        out.print(f"database is at {await migrations.current(url)}", markup=False)


@database_app.command("downgrade")
@command
async def downgrade_command(
    revision: Annotated[str, typer.Argument(help="Where to go back to, or base.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take the database back to a revision; what newer revisions added is dropped."""
    if not yes:
        typer.confirm("Dropping tables loses their data. Go on?", abort=True)
    async with _url() as url:
        await migrations.downgrade(url, revision)
        out.print(f"database is at {await migrations.current(url) or 'base'}", markup=False)


@database_app.command("revision")
@command
async def revision_command(
    message: Annotated[str, typer.Option("--message", "-m", help="What it does.")],
) -> None:
    """Write a migration from the difference between the models and the database."""
    async with _url() as url:
        written = await migrations.revision(url, message)
    for path in written:
        out.print(path.name, markup=False)
    if not written:
        out.print("nothing to migrate")


@database_app.command("check")
@command
async def check_command() -> None:
    """Compare the database with the models; exits with 1 when they differ."""
    async with _url() as url:
        differences = await migrations.check(url)
    for difference in differences:
        out.print(difference, markup=False)
    if differences:
        raise typer.Exit(FAILED)
    out.print("database and models agree")


@database_app.command("current")
@command
async def current_command() -> None:
    """Show the revision of the database."""
    async with _url() as url:
        out.print(await migrations.current(url) or "base", markup=False)


@database_app.command("shell")
@command
async def shell_command() -> None:
    """Open psql on the configured database."""
    program = shutil.which("psql")
    if program is None:
        raise ConfigurationError("psql was not found: install PostgreSQL's client")
    async with Database() as db:
        url = db.engine.url.set(drivername="postgresql")
        # The password travels in the environment: arguments are visible to everybody.
        environment = {**os.environ, "PGPASSWORD": url.password or ""}
        address = url.set(password=None).render_as_string()
        process = await asyncio.create_subprocess_exec(program, address, env=environment)
        raise typer.Exit(await process.wait())
