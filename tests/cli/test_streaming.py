"""`tradekeep stream …`: a replay of real bars, and what listeners see of it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from domain import Database
from domain.cli.app import app
from domain.identity.api_keys import create_api_key
from domain.identity.models import Role
from domain.market.ingesting import ingest_bars
from domain.market.terms import Timeframe
from tests.cache.servers import free_port
from tests.factories.identity import make_user
from tests.factories.market import make_instrument
from tests.market import histories

ENTRY = "from domain.cli import main; main()"


async def fill(url: str) -> Decimal:
    """Store SPY's days and return the newest close."""
    async with Database(url) as db, db.transaction(system="test") as unit:
        spy = await make_instrument(unit, "SPY")
        await make_instrument(unit, "BARE")
        rows = histories.daily("SPY", spy.id)
        await ingest_bars(unit, rows)
        return Decimal(rows[-1]["close"])


@pytest.fixture
def environment(migrated_database: str, redis_url: str, cache_prefix: str) -> dict[str, str]:
    return {
        "DATABASE_URL": migrated_database,
        "REDIS_URL": redis_url,
        "TRADEKEEP_CACHE_PREFIX": cache_prefix,
        "COLUMNS": "200",
    }


@contextmanager
def started(*words: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


async def newest(url: str) -> list[Any]:
    async with Database(url) as db, db.read(system="test") as unit:
        return [(item.price, item.source) for item in await unit.latest_prices.all()]


def test_a_replay_is_heard_and_stored_and_ends_by_itself(environment: dict[str, str]) -> None:
    close = asyncio.run(fill(environment["DATABASE_URL"]))
    with started("stream", "tail", "quotes:SPY", "--count", "1", environment=environment) as tail:
        assert "listening to 1 channels" in first_line(tail)
        done = CliRunner().invoke(
            app, ["stream", "quotes", "--speed", "1e12", "--from", "2020-01-02"], env=environment
        )
        assert done.exit_code == 0, done.output
        assert "streaming 1 symbols" in done.output
        assert "0 refused" in done.output
        heard, _ = tail.communicate(timeout=20)
    message = json.loads(heard)
    assert message["channel"] == "quotes:SPY"
    assert message["data"]["symbol"] == "SPY"
    assert isinstance(message["data"]["last"], str)
    assert asyncio.run(newest(environment["DATABASE_URL"])) == [(close, "replay")]


def test_a_stopped_worker_stores_what_it_has_and_ends_in_peace(
    environment: dict[str, str],
) -> None:
    asyncio.run(fill(environment["DATABASE_URL"]))
    words = ("stream", "quotes", "SPY", "--loop", "--speed", "1e7", "--ticks")
    with started(*words, environment=environment) as worker:
        assert "streaming 1 symbols" in first_line(worker)
        time.sleep(0.7)
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=20)
        assert worker.returncode == 0, said
        assert "Traceback" not in said
        assert "stored" in said
    assert len(asyncio.run(newest(environment["DATABASE_URL"]))) == 1


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("quotes", "NOPE"), "symbol must be the symbol of an instrument"),
        (("quotes", "SPY", "--source", "dxfeed"), "--source must be replay"),
        (("quotes", "SPY", "--speed", "0"), "speed must be above 0"),
        (
            ("quotes", "--timeframe", str(Timeframe.H1)),
            "--timeframe must be one that there are bars",
        ),
        (("tail", "news"), "channel must be quotes:SYMBOL"),
    ],
)
def test_what_cannot_be_streamed_is_refused(
    environment: dict[str, str], words: tuple[str, ...], rule: str
) -> None:
    asyncio.run(fill(environment["DATABASE_URL"]))
    done = CliRunner().invoke(app, ["stream", *words], env=environment)
    assert done.exit_code == 1
    assert rule in done.output


def test_without_a_server_there_is_nothing_to_stream_to(environment: dict[str, str]) -> None:
    bare = environment | {"REDIS_URL": ""}
    for words in (("tail", "quotes:SPY"), ("quotes", "SPY")):
        done = CliRunner().invoke(app, ["stream", *words], env=bare)
        assert done.exit_code == 1
        assert "set REDIS_URL" in done.output


async def api_key(url: str) -> str:
    async with Database(url) as db, db.transaction(system="test") as unit:
        ada = await make_user(unit, "ada", Role.TRADER)
        return (await create_api_key(unit, ada, "test"))[1]


def test_a_server_that_is_stopped_says_goodbye_to_live_connections_and_ends(
    environment: dict[str, str],
) -> None:
    key, port = asyncio.run(api_key(environment["DATABASE_URL"])), free_port()

    async def converse(server: subprocess.Popen[str]) -> int | None:
        url = f"ws://127.0.0.1:{port}/ws?channels=quotes:AAPL"
        async with asyncio.timeout(60):
            while True:
                try:
                    socket = await connect(
                        url, additional_headers={"Authorization": f"Bearer {key}"}
                    )
                    break
                except OSError:
                    await asyncio.sleep(0.1)
            while json.loads(await socket.recv())["type"] != "snapshot":
                pass
            server.send_signal(signal.SIGTERM)
            with suppress(ConnectionClosed):
                while True:
                    await socket.recv()
            return socket.close_code

    with started("run", "--port", str(port), environment=environment) as server:
        assert asyncio.run(converse(server)) == 1001
        _, said = server.communicate(timeout=20)
    assert "Traceback" not in said
    assert "graceful" not in said, "nothing had to be cut off"
