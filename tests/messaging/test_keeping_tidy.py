"""What is counted, deleted, repeated and overheard."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import update

from domain import Database
from domain.clock import new_id, now
from domain.errors import Unavailable
from domain.messaging.backlog import backlog
from domain.messaging.broadcasting import Listeners, live_consumer
from domain.messaging.consuming import Consumer, Patience
from domain.messaging.looping import keep_doing
from domain.messaging.messages import AlertReported, Fact
from domain.messaging.models import (
    Notification,
    NotificationStatus,
    OutboxMessage,
    ProcessedMessage,
    ScheduledJob,
)
from domain.messaging.pruning import prune, prune_notices
from domain.messaging.redacting import reason_of, redacted
from domain.messaging.relaying import Relay
from domain.messaging.scheduling import Job, Scheduler
from tests.factories.identity import make_user
from tests.messaging.stations import QUICK, announce, effects, make_effects, report, run, writing

WEEK = timedelta(days=7)


def relay_of(db: Database, *, refuse: list[str] | None = None) -> Relay:
    consumers = [
        Consumer("books", (AlertReported,), writing("books")),
        Consumer("mail", (AlertReported,), writing("mail", refuse=refuse or [])),
    ]
    return Relay(db, consumers, Patience(attempts=1))


async def test_the_backlog_counts_what_waits_and_what_is_dead(db: Database) -> None:
    await make_effects(db)
    await announce(db, "one", "two")
    async with db.transaction(system="test") as unit:
        await unit.session.execute(
            update(OutboxMessage).values(created_at=now() - timedelta(minutes=5))
        )
    async with db.read(system="test") as reader:
        before = await backlog(reader)
    assert (before.waiting, before.dead) == (2, 0)
    assert 300 <= before.age_seconds < 360
    await run(relay_of(db, refuse=["one"]))
    async with db.read(system="test") as reader:
        after = await backlog(reader)
    assert (after.waiting, after.age_seconds, after.dead, after.retrying) == (0, 0, 1, 0)


async def test_old_messages_go_and_those_with_a_dead_letter_stay_with_their_notes(
    db: Database,
) -> None:
    await make_effects(db)
    await announce(db, "old", "dead")
    relay = relay_of(db, refuse=["dead"])
    await run(relay)
    await announce(db, "waiting")
    assert await prune(db, WEEK) == (0, 0), "too young"
    assert await prune(db, WEEK, at=now() + WEEK * 2) == (1, 2)
    async with db.read(system="test") as reader:
        left = await reader.outbox.all(reader.outbox.query().order_by(OutboxMessage.id))
        assert [row.payload["title"] for row in left] == ["dead", "waiting"]
        notes = await reader.processed_messages.all()
        assert [(note.consumer, note.message_id) for note in notes] == [
            ("books", str(left[0].event_id))
        ]


async def test_old_notices_go_unless_they_wait(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        for status in ("pending", "failed"):
            unit.notifications.add(
                Notification(
                    user_id=user.id,
                    channel="email",
                    title=status,
                    body="",
                    status=NotificationStatus(status),
                )
            )
    assert await prune_notices(db, WEEK) == 0, "too young"
    assert await prune_notices(db, WEEK, at=now() + WEEK * 2) == 1
    async with db.read(system="test") as reader:
        (left,) = await reader.notifications.all()
    assert left.title == "pending"


async def test_pruning_many_rows_takes_them_in_pieces(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.messaging.pruning._AT_ONCE", 7)
    async with db.transaction(system="test") as unit:
        await unit.processed_messages.insert_many(
            [{"consumer": "books", "message_id": str(number)} for number in range(40)]
        )
    assert await prune(db, WEEK, at=now() + WEEK * 2) == (0, 40)
    async with db.read(system="test") as reader:
        assert await reader[ProcessedMessage].count() == 0


# ── listeners ────────────────────────────────────────────────────────────────────────────────


async def test_listeners_hear_what_they_listen_to_beside_all_consumers(db: Database) -> None:
    await make_effects(db)
    listeners = Listeners()
    books = Consumer("books", (AlertReported,), writing("books"))
    relay = Relay(db, [books, live_consumer(listeners)], QUICK)
    with listeners.listening({"alert_reported"}) as heard, listeners.listening({"x"}) as deaf:
        await announce(db, "one", "two")
        await run(relay)
        stream = aiter(heard)
        titles = [getattr(await anext(stream), "title", "") for _ in range(2)]
        assert titles == ["one", "two"]
        assert deaf._queue.empty()
    assert await effects(db, "books") == ["one", "two"]


async def test_a_slow_listener_loses_the_oldest_and_knows_it() -> None:
    listeners = Listeners()
    with listeners.listening(size=2) as slow, listeners.listening() as quick:
        for title in ("one", "two", "three"):
            await listeners.broadcast(report(title), new_id())
        assert (slow.lost, quick.lost) == (1, 0)
        first = await anext(aiter(slow))
    assert isinstance(first, AlertReported) and first.title == "two"
    assert listeners._open == []


async def test_when_listeners_cannot_be_reached_books_are_kept_and_old_news_is_not_told(
    db: Database,
) -> None:
    class Broken:
        told = 0

        async def broadcast(self, message: Fact, event_id: UUID) -> None:
            self.told += bool(message and event_id)
            raise Unavailable("no server")

    await make_effects(db)
    broken = Broken()
    books, live = Consumer("books", (AlertReported,), writing("books")), live_consumer(broken)
    relay = Relay(db, [books, live], QUICK)
    await announce(db, "one")
    with pytest.raises(Unavailable):
        await relay.deliver(live)
    await relay.deliver(books)
    assert await effects(db, "books") == ["one"]
    async with db.transaction(system="test") as unit:
        assert await unit.failed_deliveries.count() == 0
        await unit.session.execute(
            update(OutboxMessage).values(created_at=now() - timedelta(hours=1))
        )
    await run(relay)
    assert broken.told == 1
    async with db.read(system="test") as reader:
        assert (await backlog(reader)).waiting == 0


# ── loops and jobs ───────────────────────────────────────────────────────────────────────────


async def test_a_loop_outlives_errors_and_ends_when_told() -> None:
    stopping, seen = asyncio.Event(), 0

    async def step() -> int:
        nonlocal seen
        seen += 1
        if seen == 2:
            raise Unavailable("the server is gone")
        if seen == 4:
            stopping.set()
        return 1

    await asyncio.wait_for(keep_doing("test", step, stopping), 10)
    assert seen == 4


async def test_a_loop_that_waits_ends_at_once() -> None:
    stopping = asyncio.Event()

    async def nothing() -> int:
        return 0

    task = asyncio.create_task(keep_doing("test", nothing, stopping, idle=3_600))
    await asyncio.sleep(0.3)
    stopping.set()
    await asyncio.wait_for(task, 5)


class Runs:
    """A job that counts its runs."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count, self.error = 0, error

    async def run(self) -> str:
        self.count += 1
        await asyncio.sleep(0.05)
        if self.error:
            raise self.error
        return f"run {self.count}"


async def make_due(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        await unit.session.execute(
            update(ScheduledJob).values(next_run_at=now() - timedelta(hours=30))
        )


async def job_of(db: Database) -> ScheduledJob:
    async with db.read(system="test") as unit:
        (job,) = await unit.jobs.all()
    return job


async def test_of_many_workers_one_runs_a_due_job_and_misses_are_made_up_for_once(
    db: Database,
) -> None:
    runs = Runs()
    schedulers = [Scheduler(db, [Job("tidy", "17 * * * *", runs.run)]) for _ in range(5)]
    not_due = await asyncio.gather(*(item.run_due() for item in schedulers))
    assert sum(not_due) == 0, "and now connections are open: the next look is at the same time"
    await make_due(db)
    assert sum(await asyncio.gather(*(item.run_due() for item in schedulers))) == 1
    assert runs.count == 1
    assert sum([await scheduler.run_due() for scheduler in schedulers]) == 0
    job = await job_of(db)
    assert (job.last_result, job.last_error, job.running_until) == ("run 1", None, None)
    assert job.next_run_at > now() and job.next_run_at.minute == 17


async def test_a_job_that_fails_says_why_and_comes_again(db: Database) -> None:
    runs = Runs(RuntimeError("no disk at https://user:pw@store.example.com/bucket?key=1"))
    scheduler = Scheduler(db, [Job("tidy", "17 * * * *", runs.run)])
    await scheduler.run_due()
    for _ in range(2):
        await make_due(db)
        assert await scheduler.run_due() == 1
    job = await job_of(db)
    assert job.last_error == "RuntimeError: no disk at https://store.example.com/…"
    assert (runs.count, job.running_until) == (2, None)


async def test_a_job_that_takes_too_long_is_broken_off(db: Database) -> None:
    async def sleep() -> str:
        await asyncio.sleep(60)
        return ""

    scheduler = Scheduler(db, [Job("tidy", "17 * * * *", sleep, timedelta(seconds=0.2))])
    await scheduler.run_due()
    await make_due(db)
    await scheduler.run_due()
    assert (await job_of(db)).last_error == "TimeoutError"


async def test_a_job_of_a_worker_that_died_is_taken_over_after_its_limit(db: Database) -> None:
    runs = Runs()
    dying = Scheduler(db, [Job("tidy", "17 * * * *", runs.run)])
    await dying.run_due()
    await make_due(db)
    assert await dying._claim() is not None
    await make_due(db)
    assert await dying.run_due() == 0
    async with db.transaction(system="test") as unit:
        await unit.session.execute(update(ScheduledJob).values(running_until=now()))
    assert await dying.run_due() == 1


async def test_a_job_that_comes_too_late_says_nothing_about_its_successor(db: Database) -> None:
    runs = Runs()
    late = Scheduler(db, [Job("tidy", "17 * * * *", runs.run)])
    await late.run_due()
    await make_due(db)
    claimed = await late._claim()
    assert claimed is not None
    async with db.transaction(system="test") as unit:
        await unit.session.execute(update(ScheduledJob).values(running_until=now()))
    await make_due(db)
    successor = await late._claim()
    assert successor is not None
    await late._run(*claimed)
    job = await job_of(db)
    assert (job.last_started_at, job.last_result) == (successor[1], None)
    assert job.running_until is not None


async def test_a_job_that_is_broken_off_by_a_shutdown_is_due_again_at_once(db: Database) -> None:
    is_started = asyncio.Event()

    async def sleep() -> str:
        is_started.set()
        await asyncio.sleep(60)
        return ""

    scheduler = Scheduler(db, [Job("tidy", "17 * * * *", sleep)])
    await scheduler.run_due()
    await make_due(db)
    task = asyncio.create_task(scheduler.run_due())
    await is_started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    runs = Runs()
    assert await Scheduler(db, [Job("tidy", "17 * * * *", runs.run)]).run_due() == 1


async def test_a_new_schedule_takes_the_place_of_the_old_one(db: Database) -> None:
    runs = Runs()
    await Scheduler(db, [Job("tidy", "17 * * * *", runs.run)]).run_due()
    await Scheduler(db, [Job("tidy", "29 * * * *", runs.run)]).run_due()
    job = await job_of(db)
    assert (job.schedule, job.next_run_at.minute) == ("29 * * * *", 29)


# ── what is kept of an error ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "secret",
    [
        "https://discord.com/api/webhooks/123/AbCdEf-token",
        "postgresql://desk:hunter2@db.example.com/x",
        "Authorization: Bearer abcdef123456",
        "token=abc123",
        '{"api_key": "abcd1234"}',
        "password='hunter2'",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "xoxb-123456789012-abcdefABCDEF",
    ],
)
def test_nothing_secret_is_kept_of_an_error(secret: str) -> None:
    kept = redacted(f"could not send to {secret} now")
    for part in ("AbCdEf", "hunter2", "abcdef", "abc123", "abcd1234", "MfKQ9r8", "123456789012"):
        assert part not in kept
    assert kept.startswith("could not send to") and "\x00" not in redacted("a\x00b")


def test_what_helps_is_kept_of_an_error() -> None:
    words = "portfolio 01a1fd71-df86-75e4-aa40-2fa1ba8d57a2 has no instrument AAPL 240119C00190000"
    assert redacted(words) == words
    assert reason_of(KeyError()) == "KeyError"
    assert len(reason_of(ValueError("x" * 10_000))) <= 500
