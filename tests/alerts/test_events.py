"""Events: acknowledged once, resolved, reported by programs, never rewritten."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from domain import Database
from domain.alerts import events
from domain.alerts.evaluating import evaluate
from domain.alerts.models import AlertEvent
from domain.alerts.terms import Severity
from domain.errors import AccessDenied, InvalidData, NotFound
from tests.factories.alerts import OPENING_BELL, make_alert, price
from tests.factories.trading import Account, open_account

MINUTE = timedelta(minutes=1)


async def fire(account: Account, times: int = 1) -> list[AlertEvent]:
    """Let a rule fire so often, a minute apart."""
    async with account.db.transaction(user=account.user.id) as unit:
        await make_alert(unit, account.instrument, condition="custom", trigger_mode="every")
        series = [price(account.instrument, "1", minute) for minute in range(times)]
        return list(await evaluate(unit, series))


async def test_the_first_to_acknowledge_stays(db: Database) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    (event,) = await fire(ada)
    async with db.transaction(user=ada.user.id) as unit:
        seen = await events.acknowledge(unit, event.id, at=OPENING_BELL)
        assert seen.acknowledged and seen.acknowledged_by == ada.user.id
    async with db.transaction(staff="boss") as unit:
        again = await events.acknowledge(unit, event.id, by=bob.user.id)
    assert (again.acknowledged_at, again.acknowledged_by) == (OPENING_BELL, ada.user.id)


async def test_nobody_acknowledges_or_resolves_what_is_somebody_elses(db: Database) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    (event,) = await fire(ada)
    async with db.transaction(user=bob.user.id) as unit:
        for answer in (events.acknowledge, events.resolve):
            with pytest.raises(NotFound):
                await answer(unit, event.id)
    async with db.read(system="test") as unit:
        assert not (await unit.alert_events.get(event.id)).acknowledged


async def test_everything_can_be_acknowledged_at_once_by_its_tenant_only(db: Database) -> None:
    account = await open_account(db)
    await fire(account, 3)
    async with db.transaction(user=account.user.id) as unit:
        assert await events.acknowledge_all(unit, until=OPENING_BELL + MINUTE) == 2
        assert [e.occurrence for e in await unit.alert_events.unacknowledged()] == [3]
        assert await events.acknowledge_all(unit) == 1
    async with db.transaction(system="test") as unit:
        with pytest.raises(InvalidData, match="tenant"):
            await events.acknowledge_all(unit)


async def test_an_event_is_resolved_and_told_once(db: Database) -> None:
    account = await open_account(db)
    (event,) = await fire(account)
    async with db.transaction(user=account.user.id) as unit:
        first = (await events.resolve(unit, event.id, at=OPENING_BELL)).resolved_at
        assert (await events.resolve(unit, event.id)).resolved_at == first == OPENING_BELL
        for channel in ("email", "push", "email"):
            told = await events.notified(unit, event.id, channel)
        assert told.channels_notified == ["email", "push"]
        with pytest.raises(InvalidData, match="channel"):
            await events.notified(unit, event.id, "pigeon")


async def test_history_is_paged_newest_first(db: Database) -> None:
    account = await open_account(db)
    fired = await fire(account, 5)
    async with db.read(user=account.user.id) as unit:
        first = await unit.alert_events.history(limit=3)
        rest = await unit.alert_events.history(limit=3, after=first.after)
    found = [event.id for event in [*first.items, *rest.items]]
    assert found == [event.id for event in reversed(fired)]


async def test_a_program_reports_and_saying_it_twice_is_saying_it_once(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        said = [
            await events.report(
                unit,
                "Feed is late",
                "No bar of AAPL since 15:30",
                source="bars",
                severity=Severity.WARNING,
                tags=["feed", "AAPL"],
                dedupe_key="late:AAPL:2024-03-15",
            )
            for _ in range(2)
        ]
        assert said[0].id == said[1].id
        assert said[0].tags == ["feed", "AAPL"]
    async with db.read(system="test") as unit:
        topics = await unit.session.scalars(text("SELECT topic FROM messaging.outbox"))
        assert list(topics) == ["alert_reported"]


async def test_events_about_the_system_are_for_staff_only(db: Database) -> None:
    account = await open_account(db)
    for _ in range(2):
        async with db.transaction(system="watchdog") as unit:
            event = await events.report(
                unit, "Disk is full", "2 % left", source="watchdog", dedupe_key="disk"
            )
            assert event.user_id is None
    async with db.read(user=account.user.id) as unit:
        assert await unit.alert_events.all() == []
        assert await unit.session.scalar(text("SELECT count(*) FROM alerts.alert_events")) == 0
    async with db.read(staff="boss") as unit:
        assert await unit.alert_events.count() == 1
    async with db.transaction(user=account.user.id) as unit:
        with pytest.raises(AccessDenied):
            await unit.session.execute(
                text(
                    "INSERT INTO alerts.alert_events (alert_type, title, message, source,"
                    " dedupe_key, triggered_at) VALUES ('system', 't', 'm', 's', 'k', now())"
                )
            )


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({"source": ""}, "source"),
        ({"source": "x" * 101}, "source"),
        ({"source": "s", "dedupe_key": "k" * 201}, "dedupe_key"),
        ({"source": "s", "colour": "red"}, "details"),
    ],
)
async def test_a_report_that_breaks_a_rule_names_the_field(
    db: Database, details: dict[str, str], field: str
) -> None:
    async with db.transaction(system="test") as unit:
        with pytest.raises(InvalidData) as refused:
            await events.report(unit, "Title", "Message", **details)
    assert refused.value.field == field


@pytest.mark.parametrize("column", ["title = 'x'", "observed_value = 5", "occurrence = 9"])
async def test_what_happened_cannot_be_rewritten(db: Database, column: str) -> None:
    account = await open_account(db)
    await fire(account)
    for scope in ({"staff": "boss"}, {"user": account.user.id}):
        async with db.transaction(**scope) as unit:  # type: ignore[arg-type]  # either of them
            with pytest.raises(AccessDenied):
                await unit.session.execute(text(f"UPDATE alerts.alert_events SET {column}"))
    async with db.transaction(staff="boss") as unit:
        await unit.session.execute(text("RESET ROLE"))
        with pytest.raises(AccessDenied):
            await unit.session.execute(text(f"UPDATE alerts.alert_events SET {column}"))


async def test_a_user_leaves_with_rules_and_events(db: Database) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    await fire(ada, 2)
    (kept,) = await fire(bob)
    async with db.transaction(user=bob.user.id) as unit:
        await events.acknowledge(unit, kept.id)
    async with db.transaction(system="goodbye") as unit:
        await unit.users.remove(await unit.users.get(ada.user.id))
        await unit.flush()
        assert [event.id for event in await unit.alert_events.all()] == [kept.id]
