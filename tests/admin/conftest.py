"""The admin in front of a database of its own, and somebody logged in."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from httpx2 import ASGITransport, AsyncClient
from starlette.applications import Starlette

from admin.app import create_app
from domain import Database
from domain.identity.models import Role, User
from domain.identity.signing_in import Lifetime, Visitor, open_session
from domain.settings import Settings
from tests.factories.identity import make_user

LIFETIME = Lifetime(idle=timedelta(minutes=30), absolute=timedelta(hours=12))

Enter = Callable[..., Awaitable[AsyncClient]]


@pytest.fixture
async def app(migrated_database: str, tmp_path: Path) -> AsyncIterator[Starlette]:
    objects = f"file://{tmp_path / 'objects'}"
    quick = Settings(statement_timeout=20, pool_size=4, pool_overflow=10, storage_url=objects)
    application = create_app(quick, url=migrated_database)
    async with application.router.lifespan_context(application):
        yield application


def browser(app: Starlette, **options: Any) -> AsyncClient:
    """Return a client without a session."""
    transport = ASGITransport(app, raise_app_exceptions=False)
    return AsyncClient(transport=transport, base_url="http://localhost", **options)


async def token_of(db: Database, username: str, role: Role) -> str:
    """Return the token of a new session of this user, who is made when missing."""
    async with db.transaction(system="test") as unit:
        user = await unit.users.by_username(username) or await make_user(unit, username, role)
        return await open_session(unit, user, LIFETIME, Visitor())


@pytest.fixture
async def enter(app: Starlette, db: Database) -> AsyncIterator[Enter]:
    """Log somebody in; several may be there at once."""
    async with AsyncExitStack() as stack:

        async def log_in(role: Role = Role.ADMIN, username: str = "") -> AsyncClient:
            token = await token_of(db, username or f"{role}-ada", role)
            return await stack.enter_async_context(browser(app, cookies={"tradekeep": token}))

        yield log_in


@pytest.fixture
async def boss(enter: Enter) -> AsyncClient:
    """An administrator's browser."""
    return await enter(Role.ADMIN, "boss")


@pytest.fixture
async def nobody(app: Starlette) -> AsyncIterator[AsyncClient]:
    """A browser without a session."""
    async with browser(app) as client:
        yield client


async def user_named(db: Database, username: str) -> User:
    async with db.read(system="test") as unit:
        return await unit.users.named(username)
