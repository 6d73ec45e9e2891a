"""The TypeScript reader of cached answers: it compiles strictly and reads what the engine keeps."""

import json
import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from domain import Database
from domain.cache import Tier
from domain.market.cached import instruments_named
from domain.settings import Settings
from domain.trading.cached import portfolio_ledger
from tests.cache.worlds import Answer
from tests.docs.reading import ROOT
from tests.factories.market import make_instrument
from tests.factories.trading import Account, open_account

_EXAMPLE: Final = ROOT / "docs" / "examples" / "typescript"
_RUN: Final = Path(__file__).with_name("read_answer.mjs")


def missing() -> str | None:
    """Return why the reader cannot be tested here, None when it can; installs what npm has."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"{program} was not found"
    if not (_EXAMPLE / "node_modules" / "typescript").is_dir():
        words = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        done = subprocess.run(
            words, cwd=_EXAMPLE, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            return f"npm could not install TypeScript: {done.stderr.strip()[-200:]}"
    return None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled reader; skipped visibly where node is missing."""
    if reason := missing():
        if os.environ.get("TRADEKEEP_REQUIRE_NODE"):
            pytest.fail(f"the reader of cached answers cannot be tested: {reason}")
        pytest.skip(f"the reader of cached answers is not tested: {reason}")
    target = tmp_path_factory.mktemp("cached")
    words = ["node", "node_modules/typescript/bin/tsc", "--strict"]
    options = ["--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext"]
    done = subprocess.run(
        [*words, *options, "--outDir", str(target), "cached.ts"],
        cwd=_EXAMPLE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (target / "package.json").write_text('{"type": "module"}')
    return target


@pytest.fixture
async def account(migrated_database: str, redis_url: str, cache_prefix: str) -> Any:
    settings = Settings.load(redis_url=redis_url, cache_prefix=cache_prefix, cache_budget=2)
    async with Database(migrated_database, settings=settings) as db:
        yield await open_account(db, symbol="BRK B")


def read(reader: Path, account: Account, *words: str) -> Any:
    settings = account.db.settings
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    done = subprocess.run(
        ["node", str(_RUN), str(reader), url, settings.cache_prefix, *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_node_reads_an_answer_until_a_commit_makes_it_stale(
    reader: Path, account: Account
) -> None:
    words = ("warm", "portfolio_ledger", str(account.user.id), str(account.portfolio.id))
    assert read(reader, account, *words)["found"] is None
    await Answer(account.db, portfolio_ledger, (account.portfolio.id,), account.user.id).keep()
    seen = read(reader, account, *words)
    assert seen["found"]["data"]["portfolio"]["name"] == "Main"
    assert seen["found"]["madeAt"].endswith("Z")
    assert seen["trips"] == 2
    async with account.db.transaction(staff="mia") as unit:
        (await unit.portfolios.get(account.portfolio.id)).name = "Renamed"
    assert read(reader, account, *words)["found"] is None


async def test_node_sees_that_a_tag_was_taken_out_and_writes_keys_as_we_do(
    reader: Path, account: Account
) -> None:
    cold = account.db.cache[Tier.COLD]

    async def beta() -> Decimal:
        return Decimal("1.240")

    await cold.get_or_set("beta", "BRK B/é:1", beta, kind=Decimal, tags=["symbol:BRK"])
    assert read(reader, account, "cold", "beta", "BRK B/é:1")["found"]["data"] == "1.240"
    await account.db.cache.expire_tag("symbol:BRK")
    assert read(reader, account, "cold", "beta", "BRK B/é:1")["found"] is None


async def test_node_reads_by_symbol(reader: Path, account: Account) -> None:
    async with account.db.transaction(system="test") as unit:
        other = await make_instrument(unit, "MSFT")
    await Answer(account.db, instruments_named, ("MSFT",), None).keep()
    found = read(reader, account, "cold", "instruments_named", "MSFT")["found"]
    assert found["data"] == [str(other.id)]
