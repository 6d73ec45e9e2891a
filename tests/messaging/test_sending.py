"""Sending notices: claimed once, recorded always, tried again, given up."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from domain import Database
from domain.clock import now
from domain.db.unit import Unit, UnitOfWork
from domain.messaging.channels import Address, Outgoing, TryLater, Undeliverable
from domain.messaging.consuming import Patience
from domain.messaging.models import Notification, NotificationStatus
from domain.messaging.sending import Sender
from tests.factories.identity import make_user

SECRET = "https://hooks.example.com/services/T0/B0/sEcReT0123456789abcdefghij"


class Paper:
    """A channel that writes to a list."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.told: list[str] = []

    async def deliver(self, notice: Outgoing, address: Address) -> None:
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        self.told.append(f"{notice.title} to {address.target}")


class Book:
    """Everybody is at one address, but on one channel."""

    async def of(self, unit: Unit, user_id: UUID, channel: str) -> Address | None:
        del unit, user_id
        return None if channel == "sms" else Address("desk")


async def waiting(db: Database, *titles: str, channel: str = "paper", **values: Any) -> None:
    async with db.transaction(system="test") as unit:
        user = await unit.users.by_username("ada") or await make_user(unit)
        for title in titles:
            unit.notifications.add(
                Notification(user_id=user.id, channel=channel, title=title, body="", **values)
            )


async def stored(db: Database) -> Sequence[Notification]:
    async with db.read(system="test") as unit:
        return await unit.notifications.all(unit.notifications.query().order_by(Notification.id))


def sender(db: Database, paper: Paper, patience: Patience | None = None) -> Sender:
    return Sender(db, {"paper": paper, "sms": paper}, Book(), patience or Patience(first_pause=0))


async def test_a_notice_is_sent_once_and_says_when(db: Database) -> None:
    paper = Paper()
    await waiting(db, "one", "two")
    assert await sender(db, paper).send_due() == 2
    assert await sender(db, paper).send_due() == 0
    assert sorted(paper.told) == ["one to desk", "two to desk"]
    for item in await stored(db):
        assert (item.status, item.attempts, item.last_error) == (NotificationStatus.SENT, 1, None)
        assert item.sent_at is not None and now() - item.sent_at < timedelta(minutes=1)


async def test_many_senders_send_each_notice_once(db: Database) -> None:
    paper = Paper()
    await waiting(db, *map(str, range(70)))

    async def work() -> None:
        while await sender(db, paper).send_due():
            pass

    await asyncio.gather(*(work() for _ in range(4)))
    assert len(paper.told) == len(set(paper.told)) == 70


async def test_a_failed_attempt_is_recorded_without_secrets_and_tried_again(db: Database) -> None:
    paper = Paper(RuntimeError(f"cannot post to {SECRET} with token=abc123secret"))
    await waiting(db, "one")
    await sender(db, paper).send_due()
    (item,) = await stored(db)
    assert item.status is NotificationStatus.PENDING
    assert item.last_error == (
        "RuntimeError: cannot post to https://hooks.example.com/… with token=…"
    )
    await sender(db, paper).send_due()
    (item,) = await stored(db)
    assert (item.status, item.attempts, item.last_error) == (NotificationStatus.SENT, 2, None)


async def test_a_receiver_that_asks_for_a_pause_gets_it(db: Database) -> None:
    paper = Paper(TryLater("busy", timedelta(minutes=20)))
    await waiting(db, "one")
    await sender(db, paper).send_due()
    (item,) = await stored(db)
    assert item.next_attempt_at is not None
    assert timedelta(minutes=19) < item.next_attempt_at - now() <= timedelta(minutes=20)
    assert await sender(db, paper).send_due() == 0


async def test_a_notice_is_given_up_after_its_attempts(db: Database) -> None:
    paper = Paper(*(TryLater("busy") for _ in range(9)))
    patient = Patience(attempts=3, first_pause=0)
    await waiting(db, "one")
    for _ in range(5):
        await sender(db, paper, patient).send_due()
    (item,) = await stored(db)
    assert (item.status, item.attempts) == (NotificationStatus.FAILED, 3)
    assert item.last_error == "TryLater: busy"


async def test_a_refusal_is_final(db: Database) -> None:
    await waiting(db, "one")
    await sender(db, Paper(Undeliverable("the receiver answered 410"))).send_due()
    (item,) = await stored(db)
    assert (item.status, item.attempts) == (NotificationStatus.FAILED, 1)


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ("pigeon", "Undeliverable: the channel pigeon is not set up here"),
        ("sms", "Undeliverable: the user has no address for sms"),
    ],
)
async def test_a_channel_or_address_that_is_missing_is_said(
    db: Database, channel: str, reason: str
) -> None:
    await waiting(db, "one", channel=channel)
    await sender(db, Paper()).send_due()
    (item,) = await stored(db)
    assert (item.status, item.last_error) == (NotificationStatus.FAILED, reason)


async def test_one_bad_notice_does_not_stop_the_others(db: Database) -> None:
    paper = Paper(ValueError("no"))
    await waiting(db, "one", "two", "three")
    await sender(db, paper, Patience(first_pause=60)).send_due()
    assert len(paper.told) == 2


async def test_what_waits_for_the_morning_is_not_sent_at_night(db: Database) -> None:
    paper = Paper()
    await waiting(db, "later", next_attempt_at=now() + timedelta(hours=5))
    await waiting(db, "now", next_attempt_at=now() - timedelta(hours=5))
    await sender(db, paper).send_due()
    assert paper.told == ["now to desk"]


async def test_a_sender_that_died_leaves_its_notices_to_others_after_a_while(db: Database) -> None:
    paper = Paper()
    await waiting(db, "one")
    dying = sender(db, paper)
    assert len(await dying._claim()) == 1
    assert await sender(db, paper).send_due() == 0, "it may still be under way"
    async with db.transaction(system="test") as unit:
        (item,) = await unit.notifications.all()
        item.next_attempt_at = now()
    assert await sender(db, paper).send_due() == 1
    assert paper.told == ["one to desk"]


async def test_an_attempt_that_ends_too_late_says_nothing_about_the_next_one(db: Database) -> None:
    await waiting(db, "one")
    late = sender(db, Paper(Undeliverable("gone")))
    (claimed,) = await late._claim()
    async with db.transaction(system="test") as unit:
        (item,) = await unit.notifications.all()
        item.next_attempt_at = now()
    assert len(await sender(db, Paper())._claim()) == 1
    await late._send(claimed)
    (item,) = await stored(db)
    assert (item.status, item.last_error) == (NotificationStatus.PENDING, None)


async def test_a_delivery_can_be_noted_in_the_transaction_that_records_it(db: Database) -> None:
    async def fail(unit: UnitOfWork, sent: Notification) -> None:
        raise RuntimeError("not noted")

    paper = Paper()
    await waiting(db, "one")
    noting = sender(db, paper)
    noting.on_sent = fail
    with pytest.raises(RuntimeError, match="not noted"):
        await noting.send_due()
    (item,) = await stored(db)
    assert item.status is NotificationStatus.PENDING
