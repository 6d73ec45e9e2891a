"""Fixtures that every test may use. The database comes from `domain.testing`, as users get it."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from domain import Database
from domain.settings import Settings

pytest_plugins = ["domain.testing"]

settings.register_profile(
    "default",
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("torture", settings.get_profile("default"), max_examples=2_500)
settings.load_profile("default")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def db(migrated_database: str) -> AsyncIterator[Database]:
    """A database of its own for one test, migrated and empty."""
    quick = Settings(lock_timeout=3, statement_timeout=20, pool_size=4, pool_overflow=20)
    async with Database(migrated_database, settings=quick) as database:
        yield database
