"""One house for all probes of a module: a database with everything, the admin, people inside."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from httpx2 import AsyncClient
from starlette.applications import Starlette

from admin.app import create_app
from domain import Database
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.settings import Settings
from domain.testing import new_database
from tests.admin.conftest import browser, token_of
from tests.admin.records import make_everything
from tests.factories.trading import Account, open_account

PASSWORD = "correct horse battery staple"


@dataclass
class House:
    """What probes attack.

    Args:
        app: The application.
        db: Its database.
        ada: A tenant with a record of everything.
        bob: Another tenant.
        boss: An administrator's browser.
        manager: A manager's browser.
        viewer: A viewer's browser.
        nobody: A browser without a session.
    """

    app: Starlette
    db: Database
    ada: Account
    bob: Account
    boss: AsyncClient
    manager: AsyncClient
    viewer: AsyncClient
    nobody: AsyncClient


@pytest.fixture(scope="module")
async def house(postgres_url: str, migrated_template: str) -> AsyncIterator[House]:
    settings = Settings(statement_timeout=20, pool_size=4, pool_overflow=10)
    with new_database(postgres_url, template=migrated_template) as url:
        app = create_app(settings, url=url)
        async with (
            Database(url, settings=settings) as db,
            app.router.lifespan_context(app),
            AsyncExitStack() as stack,
        ):
            ada, bob = await make_everything(db), await open_account(db, "bob")
            async with db.transaction(system="probe") as unit:
                await create_user(unit, "grace", password=PASSWORD, role=Role.ADMIN)
            inside = [
                await stack.enter_async_context(
                    browser(app, cookies={"tradekeep": await token_of(db, f"{role}-staff", role)})
                )
                for role in (Role.ADMIN, Role.MANAGER, Role.VIEWER)
            ]
            nobody = await stack.enter_async_context(browser(app))
            yield House(app, db, ada, bob, *inside, nobody)
