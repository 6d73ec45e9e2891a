"""`tradekeep run` and `tradekeep health`."""

import asyncio
import secrets
import signal
import socket
from contextlib import AsyncExitStack
from typing import Annotated

import typer
import uvicorn

from domain.cli.output import Format, err, out, print_mapping
from domain.cli.reports import FormatOption
from domain.cli.running import FAILED, command
from domain.database import Database
from domain.db import migrations
from domain.demo.loading import load_demo
from domain.identity.enrolling import create_user
from domain.identity.models import Role, User
from domain.ops.deploying import refuse_unsafe
from domain.ops.health import readiness
from domain.ops.working import telling_worker
from domain.settings import Settings

_ADMIN = "admin"
_LARGEST_MESSAGE = 65_536


@command
async def run_command(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    *,
    demo: Annotated[bool, typer.Option("--demo", help="Load the demo data first.")] = False,
) -> None:
    """Serve the admin and work beside it; prepares the database, and an account if needed."""
    given = {"host": host, "port": port}
    settings = Settings.load(**{name: value for name, value in given.items() if value is not None})
    refuse_unsafe(settings)
    async with Database(settings=settings) as db:
        await _prepare(db, demo=demo)
        async with AsyncExitStack() as stack:
            if settings.run_worker:
                await stack.enter_async_context(telling_worker(db))
            await _serve(settings)


async def _prepare(db: Database, *, demo: bool) -> None:
    with err.status("preparing the database"):
        await migrations.upgrade(db.engine.url.render_as_string(hide_password=False))
    await _ensure_admin(db)
    if demo:
        await load_demo(db, err)


async def _ensure_admin(db: Database) -> None:
    async with db.transaction(system="first start") as unit:
        if await unit.users.exists(unit.users.query(User.role == Role.ADMIN)):
            return
        password = secrets.token_urlsafe(15)
        await create_user(unit, _ADMIN, password=password, role=Role.ADMIN)
    out.print(f"admin account: {_ADMIN}   password: {password}", style="bold", markup=False)
    out.print("It is shown this once; change it with: tradekeep user passwd admin")


async def _serve(settings: Settings) -> None:
    out.print(f"admin: http://{settings.host}:{settings.port}/admin/", markup=False)
    config = uvicorn.Config(
        "admin.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        server_header=False,
        # The application itself decides which proxies it believes.
        proxy_headers=False,
        ws_max_size=_LARGEST_MESSAGE,
        timeout_graceful_shutdown=5,
    )
    # When it is done uvicorn sends itself the signal again: by default that would end the process
    # before the worker has finished what it has in hand.
    signal.signal(signal.SIGTERM, lambda *_: None)
    await _Server(config).serve()


class _Server(uvicorn.Server):
    """Lets live connections say goodbye before it stops; uvicorn alone would wait for them."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        dismiss = self.lifespan.state.get("dismiss")
        if dismiss is not None:
            await dismiss()
        await super().shutdown(sockets)


@command
async def health_command(style: FormatOption = Format.TABLE) -> None:
    """Check the database; exits with 1 when the application could not work with it."""
    async with Database() as db:
        report = await asyncio.wait_for(readiness(db), timeout=10)
    print_mapping(report.as_dict(), style)
    if not report.is_ready:
        raise typer.Exit(FAILED)
