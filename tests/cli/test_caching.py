"""`tradekeep cache …` against a real server: what is kept, what became of reads, taking it out."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from domain import Database
from domain.cache import Tier
from domain.cache.embedded import EmbeddedValkey
from domain.cli.app import app
from domain.settings import Settings
from tests.factories.trading import open_account

Run = Callable[..., Result]


async def ask(url: str, settings: Settings) -> tuple[UUID, UUID]:
    """Read one portfolio twice and keep a figure under a tag; return user and portfolio."""
    async with Database(url, settings=settings) as db:
        account = await open_account(db)
        reader = db.cached(user=account.user.id)
        for _ in range(3):
            await asyncio.sleep(0.05)
            await reader.portfolio_ledger(account.portfolio.id)
        await db.cache[Tier.COLD].get_or_set(
            "beta", "AAPL", _beta, kind=Decimal, tags=["symbol:AAPL"]
        )
        return account.user.id, account.portfolio.id


async def _beta() -> Decimal:
    return Decimal("1.24")


@pytest.fixture
def asked(migrated_database: str, redis_url: str, cache_prefix: str) -> tuple[UUID, UUID]:
    settings = Settings.load(redis_url=redis_url, cache_prefix=cache_prefix, cache_budget=2)
    return asyncio.run(ask(migrated_database, settings))


@pytest.fixture
def run(migrated_database: str, redis_url: str, cache_prefix: str) -> Run:
    environment = {
        "DATABASE_URL": migrated_database,
        "REDIS_URL": redis_url,
        "TRADEKEEP_CACHE_PREFIX": cache_prefix,
        "TRADEKEEP_CACHE_BUDGET": "2",
        "COLUMNS": "200",
    }

    def invoke(*words: str, code: int = 0, **settings: str) -> Result:
        done = CliRunner().invoke(app, ("cache", *words), env=environment | settings)
        assert done.exit_code == code, done.output
        return done

    return invoke


def listed(run: Run, *words: str) -> Any:
    return json.loads(run("inspect", *words, "--format", "json").stdout)


def test_stats_add_up_what_all_processes_did(run: Run, asked: tuple[UUID, UUID]) -> None:
    found = json.loads(run("stats", "--format", "json").stdout)
    (ledger,) = [row for row in found["answers"] if row["answer"] == "portfolio_ledger"]
    assert ledger["hits"] + ledger["misses"] + ledger["bypasses"] == 3
    assert ledger["misses"] >= 1
    assert Decimal(ledger["hit_ratio"]) == round(Decimal(ledger["hits"]) / 3, 3)
    assert (found["breaker"], found["pending_invalidations"]) == ("closed", 0)
    assert "portfolio_ledger" in run("stats").stdout


def test_inspect_lists_what_is_kept_and_shows_one(run: Run, asked: tuple[UUID, UUID]) -> None:
    user, portfolio = asked
    entries = {entry["key"].split(":")[2]: entry for entry in listed(run)}
    assert entries.keys() == {"portfolio_ledger", "beta"}
    ledger = entries["portfolio_ledger"]
    assert ledger["is_valid"] is True
    assert Decimal(ledger["seconds_to_live"]) > 60
    assert ledger["size"] > 100
    assert [entry["key"] for entry in listed(run, "portfolio_ledger")] == [ledger["key"]]
    assert [entry["key"] for entry in listed(run, "cold:")] == [entries["beta"]["key"]]
    words = ("portfolio_ledger", f"user_id={user}", f"portfolio_id={portfolio}")
    assert json.loads(run("inspect", *words).stdout)["data"]["portfolio"]["name"] == "Main"
    other = run("inspect", "portfolio_ledger", f"user_id={user}", f"portfolio_id={uuid4()}", code=1)
    assert "is not cached" in other.output


def test_invalidate_takes_out_one_a_group_a_tag_or_all(run: Run, asked: tuple[UUID, UUID]) -> None:
    user, portfolio = asked

    def valid() -> set[str]:
        return {entry["key"].split(":")[2] for entry in listed(run) if entry["is_valid"]}

    run("invalidate", "portfolio_ledger", f"user_id={uuid4()}")
    assert valid() == {"portfolio_ledger", "beta"}
    run("invalidate", "--tag", "symbol:AAPL")
    assert valid() == {"portfolio_ledger"}
    run("invalidate", "portfolio_ledger", f"user_id={user}", f"portfolio_id={portfolio}")
    assert valid() == set()


def test_invalidate_all_leaves_nothing_to_read(run: Run, asked: tuple[UUID, UUID]) -> None:
    run("invalidate", "--all")
    assert listed(run) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nonsense",), "portfolio_ledger"),
        (("quote", "instrument_id=AAPL"), "instrument_id must be a UUID, was 'AAPL'"),
        (("quote", "symbol=AAPL"), "instrument_id=…"),
        (("option_chain", "expires_on=2026-06-19"), "underlying_id, expires_on"),
        ((), "--tag WORD or --all"),
        (("quote", "--all"), "--tag WORD or --all"),
    ],
)
def test_what_invalidate_cannot_do_is_said(run: Run, words: tuple[str, ...], message: str) -> None:
    assert message in " ".join(run("invalidate", *words, code=1).output.split())


def test_without_a_shared_cache_the_commands_say_so(run: Run) -> None:
    assert "set TRADEKEEP_REDIS_URL" in run("stats", code=1, REDIS_URL="memory://").output


def health(url: str, settings: Settings) -> dict[str, Any]:
    environment = {
        "DATABASE_URL": url,
        "REDIS_URL": settings.redis_url.get_secret_value() if settings.redis_url else "",
        "TRADEKEEP_CACHE_BUDGET": "2",
    }
    done = CliRunner().invoke(app, ("health", "--format", "json"), env=environment)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_health_shows_the_cache_and_is_ready_without_it(
    migrated_database: str, redis_server: EmbeddedValkey
) -> None:
    settings = Settings.load(redis_url=redis_server.url)
    found = health(migrated_database, settings)
    assert (found["cache"], found["cache_pending"], found["cache_warning"]) == ("ok", 0, None)
    asyncio.run(set_policy(redis_server.url, "allkeys-lru"))
    assert "volatile-lru" in health(migrated_database, settings)["cache_warning"]
    redis_server.stop()
    found = health(migrated_database, settings)
    assert (found["ready"], found["cache"]) == (True, "unavailable")


async def set_policy(url: str, policy: str) -> None:
    client = Redis.from_url(url)
    await client.config_set("maxmemory-policy", policy)
    await client.aclose()
