"""Delivery: at least once, one effect each, in order of keys, whatever fails."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import insert, text

from domain import Database
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData, NotFound
from domain.messaging.consuming import Consumer, Patience, Received, one_by_one
from domain.messaging.dead_letters import dead_letters, discard, retry, retry_all
from domain.messaging.messages import AlertReported, Fact, Notice
from domain.messaging.models import FailedDelivery, OutboxMessage
from domain.messaging.relaying import Relay, _lock
from tests.factories.identity import make_user
from tests.messaging.stations import (
    QUICK,
    announce,
    effects,
    leave_effect,
    make_effects,
    run,
    writing,
)


@pytest.fixture(autouse=True)
async def table(db: Database) -> None:
    await make_effects(db)


def consumer(name: str, *, batch: int = 10, refuse: Sequence[str] = ()) -> Consumer:
    return Consumer(name, (AlertReported,), writing(name, refuse=refuse), batch=batch)


async def unpublished(db: Database) -> int:
    async with db.read(system="test") as unit:
        return await unit.outbox.count(unit.outbox.query(OutboxMessage.published_at.is_(None)))


async def test_every_consumer_gets_every_message_once_and_then_it_is_published(
    db: Database,
) -> None:
    relay = Relay(db, [consumer("books"), consumer("mail", batch=1)], QUICK)
    await announce(db, "one", "two", "three")
    await run(relay)
    await run(relay)
    for name in ("books", "mail"):
        assert await effects(db, name) == ["one", "two", "three"]
    assert await unpublished(db) == 0


async def test_a_message_nobody_handles_is_published(db: Database) -> None:
    await announce(db, "one")
    relay = Relay(db, [Consumer("notices", (Notice,), writing("notices"))], QUICK)
    await run(relay)
    assert (await unpublished(db), await effects(db, "notices")) == (0, [])


async def test_a_message_waits_for_its_slowest_consumer(db: Database) -> None:
    books, mail = consumer("books"), consumer("mail")
    relay = Relay(db, [books, mail], QUICK)
    await announce(db, "one")
    await relay.deliver(books)
    assert (await relay.settle(), await unpublished(db)) == (0, 1)
    await relay.deliver(mail)
    assert (await relay.settle(), await unpublished(db)) == (1, 0)


async def test_a_failing_consumer_neither_stops_nor_repeats_the_other(db: Database) -> None:
    relay = Relay(db, [consumer("books"), consumer("mail", refuse=["two"])], QUICK)
    await announce(db, "a/1", "two", "b/1", "b/2")
    await run(relay)
    assert await effects(db, "books") == ["a/1", "two", "b/1", "b/2"]
    assert await effects(db, "mail") == ["a/1", "b/1", "b/2"]
    async with db.read(system="test") as unit:
        (dead,) = await dead_letters(unit)
    assert (dead.consumer, dead.attempts) == ("mail", 3)
    assert dead.last_error == "RuntimeError: two cannot be handled"
    assert await unpublished(db) == 0


async def test_a_failed_message_holds_later_ones_of_its_key_alone(db: Database) -> None:
    patient = Patience(attempts=3, first_pause=60, longest_pause=60)
    relay = Relay(db, [consumer("mail", refuse=["a/2"]), consumer("books")], patient)
    await announce(db, "a/1", "a/2", "b/1", "a/3", "b/2")
    await run(relay)
    assert await effects(db, "mail") == ["a/1", "b/1", "b/2"]
    assert await effects(db, "books") == ["a/1", "a/2", "b/1", "a/3", "b/2"]
    await announce(db, "a/4", "b/3")
    await run(relay)
    assert await effects(db, "mail") == ["a/1", "b/1", "b/2", "b/3"]


async def test_held_messages_follow_in_order_when_the_failing_one_goes_through(
    db: Database,
) -> None:
    refuse = ["a/1"]
    relay = Relay(db, [consumer("mail", refuse=refuse)], Patience(attempts=9, first_pause=0))
    await announce(db, "a/1", "a/2", "a/3")
    await relay.deliver(relay.consumers[0])
    assert await effects(db, "mail") == []
    refuse.clear()
    await run(relay)
    assert await effects(db, "mail") == ["a/1", "a/2", "a/3"]
    async with db.read(system="test") as unit:
        assert await unit.failed_deliveries.count() == 0


async def test_a_dead_message_holds_nothing(db: Database) -> None:
    relay = Relay(db, [consumer("mail", refuse=["a/1"])], Patience(attempts=1))
    await announce(db, "a/1", "a/2")
    await run(relay)
    assert await effects(db, "mail") == ["a/2"]


@pytest.mark.parametrize("batch", [1, 7, 100])
async def test_one_poisoned_message_leaves_the_rest_of_its_batch_alone(
    db: Database, batch: int
) -> None:
    titles = [f"k{number}/x" for number in range(60)]
    poison = ["k7/x", "k8/x", "k41/x"]
    relay = Relay(db, [consumer("mail", batch=batch, refuse=poison)], QUICK)
    await announce(db, *titles)
    await run(relay)
    assert sorted(await effects(db, "mail")) == sorted(set(titles) - set(poison))
    async with db.read(system="test") as unit:
        assert {item.last_error for item in await dead_letters(unit)} == {
            f"RuntimeError: {title} cannot be handled" for title in poison
        }


async def test_a_wrong_value_is_dead_at_once(db: Database) -> None:
    async def refuse(unit: UnitOfWork, message: Fact) -> None:
        raise InvalidData("title", "x", "be something else")

    relay = Relay(db, [Consumer("mail", (AlertReported,), one_by_one(refuse))], Patience())
    await announce(db, "one")
    await run(relay)
    async with db.read(system="test") as unit:
        (dead,) = await dead_letters(unit)
    assert (dead.attempts, dead.last_error) == (
        1,
        "InvalidData: title must be something else, was 'x'",
    )


async def test_what_is_no_message_is_dead_and_the_rest_flows(db: Database) -> None:
    await announce(db, "a/1")
    async with db.transaction(system="test") as unit:
        unit.outbox.add(
            OutboxMessage(
                topic="alert_reported", key="a", payload={"title": "no event", "source": 7}
            )
        )
    await announce(db, "a/2")
    relay = Relay(db, [consumer("mail"), consumer("books", batch=1)], QUICK)
    await run(relay)
    assert await effects(db, "mail") == await effects(db, "books") == ["a/1", "a/2"]
    async with db.read(system="test") as unit:
        dead = await dead_letters(unit)
        assert {item.consumer for item in dead} == {"mail", "books"}
        assert dead[0].last_error == "InvalidData: source must be a str, was 7"


async def test_what_a_tenant_says_in_anothers_name_is_dead(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        ada, eve = await make_user(unit), await make_user(unit, "eve")
    async with db.transaction(user=eve.id) as tenant:
        told = {"userId": str(ada.id), "channel": "log", "title": "t", "body": "b"}
        row = insert(OutboxMessage).values(topic="notification", user_id=eve.id, payload=told)
        await tenant.session.execute(row.inline())
    heard: list[Fact] = []

    async def hear(unit: UnitOfWork, message: Fact) -> None:
        heard.append(message)

    await run(Relay(db, [Consumer("notices", (Notice,), one_by_one(hear))], Patience()))
    async with db.read(system="test") as reader:
        (dead,) = await dead_letters(reader)
    assert heard == [] and "userId must be the user whose message it is" in dead.last_error


async def test_a_tenants_failing_message_holds_up_no_other_tenant(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        ada, eve = await make_user(unit), await make_user(unit, "eve")
    for user, title in ((eve, "poison"), (ada, "fine")):
        async with db.transaction(user=user.id) as tenant:
            said = {**payload(title), "userId": str(user.id)}
            values = {"topic": "alert_reported", "key": "same", "user_id": user.id}
            row = insert(OutboxMessage).values(payload=said, **values)
            await tenant.session.execute(row.inline())
    patient = Patience(first_pause=60, longest_pause=60)
    await run(Relay(db, [consumer("mail", refuse=["poison"])], patient))
    assert await effects(db, "mail") == ["fine"]


async def test_a_handler_that_takes_too_long_is_a_failure(db: Database) -> None:
    async def sleep(unit: UnitOfWork, received: Sequence[Received[Any]]) -> None:
        await leave_effect(unit, "mail", received[0].message.title)
        if received[0].message.title == "slow":
            await unit.session.execute(text("SELECT pg_sleep(30)"))

    relay = Relay(
        db,
        [Consumer("mail", (AlertReported,), sleep)],
        Patience(timeout=0.3, attempts=1),
    )
    await announce(db, "slow", "quick/1")
    await run(relay)
    assert await effects(db, "mail") == ["quick/1"]
    async with db.read(system="test") as unit:
        (dead,) = await dead_letters(unit)
    assert dead.last_error == "TimeoutError: handling took longer than 0.3 s"


async def test_pauses_grow_and_end_at_the_longest(db: Database) -> None:
    patient = Patience(attempts=99, first_pause=10, longest_pause=35)
    relay = Relay(db, [consumer("mail", refuse=["one"])], patient)
    await announce(db, "one")
    pauses = []
    for _ in range(4):
        await relay.deliver(relay.consumers[0])
        async with db.transaction(system="test") as unit:
            (failed,) = await unit.failed_deliveries.all()
            pauses.append((failed.next_attempt_at - failed.failed_at).total_seconds())
            failed.next_attempt_at = failed.failed_at
    bounds = [(5, 10), (10, 20), (17.5, 35), (17.5, 35)]
    assert all(low <= pause <= high for pause, (low, high) in zip(pauses, bounds, strict=True)), (
        pauses
    )
    assert len(set(pauses)) == 4, "pauses have jitter"


async def test_a_dead_letter_is_tried_again_by_its_consumer_alone(db: Database) -> None:
    refuse = ["one"]
    relay = Relay(db, [consumer("books"), consumer("mail", refuse=refuse)], Patience(attempts=1))
    await announce(db, "one")
    await run(relay)
    async with db.transaction(staff="ada") as unit:
        (dead,) = await dead_letters(unit, consumer="mail")
        await retry(unit, "mail", dead.message_id)
    refuse.clear()
    await run(relay)
    assert await effects(db, "mail") == await effects(db, "books") == ["one"]
    async with db.transaction(staff="ada") as unit:
        assert await unit.failed_deliveries.count() == 0
        with pytest.raises(NotFound):
            await retry(unit, "mail", dead.message_id)


async def test_all_dead_letters_of_a_consumer_are_tried_again(db: Database) -> None:
    refuse = ["one", "two"]
    consumers = [consumer("books", refuse=refuse), consumer("mail", refuse=refuse)]
    relay = Relay(db, consumers, Patience(attempts=1))
    await announce(db, "one", "two", "three")
    await run(relay)
    refuse.clear()
    async with db.transaction(staff="ada") as unit:
        assert await retry_all(unit, consumer="mail") == 2
    await run(relay)
    assert sorted(await effects(db, "mail")) == ["one", "three", "two"]
    assert await effects(db, "books") == ["three"]


async def test_a_discarded_message_never_comes_again_and_says_who_dropped_it(db: Database) -> None:
    relay = Relay(db, [consumer("mail", refuse=["one"])], Patience(attempts=1))
    await announce(db, "one")
    await run(relay)
    async with db.transaction(staff="ada") as unit:
        (dead,) = await dead_letters(unit)
        await discard(unit, "mail", dead.message_id)
        (note,) = await unit.processed_messages.all()
        assert note.result is not None and note.result["discarded_by"] == "ada"
        with pytest.raises(NotFound):
            await discard(unit, "mail", dead.message_id)
    await run(relay)
    assert await effects(db, "mail") == []


async def test_a_message_that_is_committed_late_is_not_skipped(db: Database) -> None:
    relay = Relay(db, [consumer("mail")], QUICK)
    async with db.transaction(system="late") as late:
        late.outbox.add(OutboxMessage(topic="alert_reported", payload=payload("late")))
        await late.flush()
        await announce(db, "early")
        await run(relay)
        assert await effects(db, "mail") == ["early"]
    await run(relay)
    assert await effects(db, "mail") == ["early", "late"]


def payload(title: str) -> dict[str, str]:
    return {"title": title, "source": "desk", "eventId": "01a1fd71-df86-75e4-aa40-2fa1ba8d57a2"}


async def test_two_relays_at_once_leave_one_effect_each_in_order(db: Database) -> None:
    titles = [f"k{number % 6}/{number:03d}" for number in range(120)]
    await announce(db, *titles)
    relays = [
        Relay(db, [consumer("books", batch=5), consumer("mail", batch=1)], QUICK) for _ in range(2)
    ]
    await asyncio.gather(*(run(relay, 200) for relay in relays))
    await run(relays[0])
    for name in ("books", "mail"):
        told = await effects(db, name)
        assert sorted(told) == sorted(titles)
        for key in range(6):
            of_key = [title for title in told if title.startswith(f"k{key}/")]
            assert of_key == sorted(of_key)


async def test_a_key_that_somebody_else_works_on_is_left_and_others_go_on(db: Database) -> None:
    is_started, may_end = asyncio.Event(), asyncio.Event()

    async def slow(unit: UnitOfWork, received: Sequence[Received[AlertReported]]) -> None:
        for item in received:
            await leave_effect(unit, "mail", item.message.title)
        if received[0].message.source == "a":
            is_started.set()
            await may_end.wait()

    mail = Consumer("mail", (AlertReported,), slow, batch=1)
    await announce(db, "a/1", "a/2", "b/1")
    first, second = Relay(db, [mail], QUICK), Relay(db, [mail], QUICK)
    busy = asyncio.create_task(first.deliver(mail))
    await is_started.wait()
    await second.deliver(mail)
    assert await effects(db, "mail") == ["b/1"]
    may_end.set()
    await busy
    await run(first)
    assert await effects(db, "mail") == ["a/1", "b/1", "a/2"]


async def test_what_was_done_since_the_look_is_not_handled_again(db: Database) -> None:
    calls: list[str] = []

    async def count(unit: UnitOfWork, message: AlertReported) -> None:
        calls.append(message.title)

    mail = Consumer("mail", (AlertReported,), one_by_one(count), batch=10)
    slow, quick = Relay(db, [mail], QUICK), Relay(db, [mail], QUICK)
    await announce(db, "one", "two")
    seen = await slow._look(mail, [])
    await quick.deliver(mail)
    assert await slow._hand_over(mail, seen) == 0
    assert calls == ["one", "two"]


async def test_what_is_held_since_the_look_is_left(db: Database) -> None:
    refuse = ["a/1"]
    mail = consumer("mail", refuse=refuse)
    patient = Patience(first_pause=60, longest_pause=60)
    slow, quick = Relay(db, [mail], patient), Relay(db, [mail], patient)
    await announce(db, "a/1", "a/2", "b/1")
    seen = await slow._look(mail, [])
    await quick.deliver(mail)
    await announce(db, "a/3")
    refuse.clear()
    assert await slow._hand_over(mail, [*seen, *await slow._look(mail, [])]) == 0
    assert await effects(db, "mail") == ["b/1"]


async def test_many_held_messages_do_not_hide_others(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.messaging.relaying.WINDOW", 2)
    first = [f"k{number}/1" for number in range(6)]
    patient = Patience(first_pause=60, longest_pause=60)
    relay = Relay(db, [consumer("mail", refuse=first)], patient)
    await announce(db, *first)
    await run(relay)
    await announce(db, *(f"k{number}/2" for number in range(6)), "z/1")
    await relay.deliver(relay.consumers[0])
    assert await effects(db, "mail") == ["z/1"]


async def test_a_key_that_was_busy_at_its_first_message_is_left_for_the_round(
    db: Database,
) -> None:
    """Somebody else has a/1 and dies: a/2 must not come before it."""
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(db.transaction(system="dying"))

        async def handle(unit: UnitOfWork, received: Sequence[Received[AlertReported]]) -> None:
            await leave_effect(unit, "mail", received[0].message.title)
            if received[0].message.title == "free/1":
                await other.session.rollback()

        mail = Consumer("mail", (AlertReported,), handle)
        relay = Relay(db, [mail], QUICK)
        await announce(db, "a/1", "free/1", "a/2")
        assert await _lock(other, mail, {"a"}) == {"a"}
        await relay._hand_over(mail, await relay._look(mail, []))
        assert await effects(db, "mail") == ["free/1"]
        await run(relay)
        assert await effects(db, "mail") == ["free/1", "a/1", "a/2"]


async def test_a_lost_database_is_nobodys_failure(db: Database) -> None:
    async def cut(unit: UnitOfWork, received: Sequence[Received[Any]]) -> None:
        await leave_effect(unit, "mail", received[0].message.title)
        async with db.engine.connect() as other:
            pid = (await unit.session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    mail = Consumer("mail", (AlertReported,), cut)
    await announce(db, "one")
    with pytest.raises(Exception, match="connection"):
        await Relay(db, [mail], QUICK).deliver(mail)
    async with db.read(system="test") as unit:
        assert await unit[FailedDelivery].count() == 0
    await run(Relay(db, [consumer("mail")], QUICK))
    assert await effects(db, "mail") == ["one"]
