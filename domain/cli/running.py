"""Runs a command's coroutine and turns our errors into one line and an exit status."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, ParamSpec

import typer

from domain.cli.output import err
from domain.database import Database, Reader, Worker
from domain.db import migrations
from domain.errors import ConfigurationError, TradekeepError
from domain.identity.models import User
from domain.ops.health import readiness
from domain.trading.models import Portfolio

P = ParamSpec("P")

FAILED: Final = 1


def command(function: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a typer command of a coroutine function; our errors become a line on stderr."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(function(*args, **kwargs))
        except TradekeepError as error:
            err.print(f"error: {error}", style="red", markup=False)
            raise typer.Exit(FAILED) from None

    return run


@asynccontextmanager
async def prepared_database() -> AsyncIterator[Database]:
    """Open the configured database with all its tables.

    The embedded one is brought up to date; a server of one's own is never migrated unasked.

    Raises:
        ConfigurationError: The server's database is not prepared.
    """
    async with Database() as db:
        state = await readiness(db)
        if state.migrations == "pending":
            if not db.is_embedded:
                raise ConfigurationError(
                    "the database lacks tables or is of another version: run tradekeep db upgrade"
                )
            await migrations.upgrade(db.engine.url.render_as_string(hide_password=False))
        yield db


@dataclass(frozen=True, slots=True)
class Desk:
    """A database with one user and the name of a portfolio, as most commands need them."""

    db: Database
    user: User
    portfolio_name: str

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[tuple[Reader, Portfolio]]:
        """Yield a consistent reading unit of the user and the portfolio."""
        async with self.db.snapshot(user=self.user.id) as unit:
            yield unit, await unit.portfolios.named(self.portfolio_name)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Worker]:
        """Yield a transaction of the user."""
        async with self.db.transaction(user=self.user.id) as unit:
            yield unit


@asynccontextmanager
async def desk(user: str, portfolio: str = "") -> AsyncIterator[Desk]:
    """Open the configured database for one user.

    Raises:
        NotFound: No such user.
    """
    async with prepared_database() as db:
        async with db.read(system="command line") as unit:
            found = await unit.users.named(user)
        yield Desk(db, found, portfolio)
