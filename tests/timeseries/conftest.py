"""The two servers that the contract of time series is tested on."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import text

from domain import Database
from domain.db import migrations
from domain.settings import Settings
from domain.testing import _apart
from tests.timeseries import timescale

# One backend serves all connections: one connection and no second open transaction.
_ONE = Settings(pool_size=1, pool_overflow=0, lock_timeout=3, statement_timeout=20)
_EMPTY = """
TRUNCATE market.bars, market.bars_archive, market.daily_bars, market.stale_days, market.ticks,
         market.latest_prices, market.instruments CASCADE"""


@pytest.fixture(scope="session")
def timescale_url() -> Iterator[str]:
    """A migrated TimescaleDB; skipped visibly where node is missing."""
    if reason := timescale.missing():
        if os.environ.get("TRADEKEEP_REQUIRE_NODE"):
            pytest.fail(f"TimescaleDB cannot be tested: {reason}")
        pytest.skip(f"TimescaleDB is not tested: {reason}")
    with timescale.serving() as url:
        _apart(lambda: migrations.upgrade(url))
        yield url


@pytest.fixture(params=["partitions", "hypertables"])
async def grown(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """An empty database, once with native partitions and once with TimescaleDB."""
    if request.param == "partitions":
        async with Database(request.getfixturevalue("migrated_database")) as db:
            yield db
        return
    async with Database(request.getfixturevalue("timescale_url"), settings=_ONE) as db:
        async with db.engine.begin() as connection:
            await connection.execute(text(_EMPTY))
        yield db
