"""A worker process that dies at the worst instants, with an effect that nothing else makes unique."""

import asyncio
import subprocess
import sys

from domain import Database
from tests.messaging.stations import announce, effects, make_effects

# Dies when "three" is in hand: before its effect is noted, before the commit, after the commit.
_WORKER = """
import asyncio, os, signal, sys
from domain import Database
from domain.messaging import relaying
from domain.messaging.consuming import Consumer
from domain.messaging.messages import AlertReported
from tests.messaging.stations import QUICK, leave_effect, run

url, moment = sys.argv[1:]

def die_at(now, received):
    if now == moment and any(item.message.title == "three" for item in received):
        os.kill(os.getpid(), signal.SIGKILL)

async def handle(unit, received):
    for item in received:
        await leave_effect(unit, "mail", item.message.title)
    die_at("handled", received)

note = relaying._note

async def note_and_die(unit, consumer, received):
    await note(unit, consumer, received)
    die_at("noted", received)

attempt = relaying.Relay._attempt

async def attempt_and_die(self, consumer, chunk, blocked):
    done = await attempt(self, consumer, chunk, blocked)
    if moment == "committed":
        os.kill(os.getpid(), signal.SIGKILL)
    return done

relaying._note = note_and_die
relaying.Relay._attempt = attempt_and_die

async def main():
    async with Database(url) as db:
        mail = Consumer("mail", (AlertReported,), handle, batch=2)
        await run(relaying.Relay(db, [mail], QUICK))

asyncio.run(main())
"""


async def work(url: str, moment: str) -> int:
    command = [sys.executable, "-c", _WORKER, url, moment]
    done = await asyncio.to_thread(subprocess.run, command, check=False, timeout=60)
    return done.returncode


async def test_a_worker_that_dies_between_effect_and_note_leaves_one_effect_each(
    db: Database, migrated_database: str
) -> None:
    await make_effects(db)
    await announce(db, "one", "two", "three", "four", "five")
    assert await work(migrated_database, "handled") == -9
    assert await effects(db, "mail") == ["one", "two"]
    assert await work(migrated_database, "noted") == -9
    assert await effects(db, "mail") == ["one", "two"]
    assert await work(migrated_database, "committed") == -9
    assert await effects(db, "mail") == ["one", "two", "three", "four"]
    assert await work(migrated_database, "never") == 0
    assert await effects(db, "mail") == ["one", "two", "three", "four", "five"]
