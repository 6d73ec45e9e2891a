"""The worker as a process, and the commands about messages."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domain import Database
from domain.cli.app import app
from domain.clock import now
from domain.messaging.messages import Notice
from domain.messaging.models import FailedDelivery, OutboxMessage
from domain.messaging.publishing import publish
from tests.factories.identity import make_user
from tests.ops.test_working import delivered, until

Tradekeep = Callable[..., tuple[int, str]]


@pytest.fixture
def tradekeep(migrated_database: str) -> Tradekeep:
    environment = {"TRADEKEEP_DATABASE_URL": migrated_database, "COLUMNS": "200"}

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(words), env=environment)
        return done.exit_code, done.output

    return run


async def add_dead_letter(db: Database) -> int:
    async with db.transaction(system="test") as unit:
        message = unit.outbox.add(OutboxMessage(topic="notification", payload={"type": "none"}))
        await unit.flush()
        failed = FailedDelivery(
            consumer="notices",
            message_id=message.id,
            topic="notification",
            last_error="InvalidData: userId must be given, was None",
            next_attempt_at=now(),
            dead_at=now(),
        )
        unit.failed_deliveries.add(failed)
    return message.id


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_delivers_until_it_is_told_to_stop(
    db: Database, migrated_database: str, tmp_path: Path, number: signal.Signals
) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        await publish(unit, Notice(user_id=user.id, channel="log", title="Hi", body=""))
    environment = {
        **os.environ,
        "TRADEKEEP_DATABASE_URL": migrated_database,
        "TRADEKEEP_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-c", "from domain.cli import main; main()", "worker"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as worker:
        await until(lambda: delivered(db))
        worker.send_signal(number)
        assert worker.wait(20) == 0
    async with db.read(user=user.id) as reader:
        assert await reader.notifications.count() == 2


def test_the_status_is_an_alarm_when_messages_wait_too_long(
    tradekeep: Tradekeep, migrated_database: str
) -> None:
    status, output = tradekeep("messages", "status", "--format", "json")
    assert (status, json.loads(output)["waiting"]) == (0, 0)
    status, output = tradekeep("messages", "status", "--max-age", "0")
    assert status == 0, "nothing waits"


async def test_an_old_message_raises_the_alarm(db: Database, tradekeep: Tradekeep) -> None:
    async with db.transaction(system="test") as unit:
        message = OutboxMessage(topic="notification", payload={})
        unit.outbox.add(message)
        await unit.flush()
        message.created_at = now().replace(year=now().year - 1)
    status, output = await asyncio.to_thread(tradekeep, "messages", "status", "--max-age", "300")
    assert status == 1 and "waiting: 1" in output


async def test_dead_letters_are_listed_tried_again_and_discarded(
    db: Database, tradekeep: Tradekeep
) -> None:
    first, second = await add_dead_letter(db), await add_dead_letter(db)

    async def run(*words: str) -> str:
        return (await asyncio.to_thread(tradekeep, "messages", *words))[1]

    listed = json.loads(await run("dead", "--consumer", "notices", "--format", "json"))
    assert {item["message_id"] for item in listed} == {first, second}
    assert "userId must be given" in listed[0]["last_error"]
    assert (
        await run("discard", "notices", str(first)) == f"message {first} is discarded for notices\n"
    )
    assert await run("retry-all") == "1 messages are tried again\n"
    assert await run("retry", "notices", str(second)) == f"notices tries message {second} again\n"
    assert "has not failed" in await run("discard", "notices", str(first))
    assert json.loads(await run("jobs", "--format", "json")) == []
