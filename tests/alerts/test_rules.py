"""What people do with rules, and what they are refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain import Database
from domain.alerts import rules
from domain.alerts.evaluating import evaluate
from domain.alerts.models import Alert
from domain.alerts.terms import ALERT_TYPES, AlertStatus, AlertType, register
from domain.alerts.wording import check_template
from domain.clock import now
from domain.errors import CheckFailed, InvalidData, NotFound, ReferenceViolation, Stale
from tests.factories.alerts import OPENING_BELL, events_of, make_alert, price
from tests.factories.market import make_instrument
from tests.factories.trading import Account, open_account


async def watch(account: Account, **values: Any) -> Alert:
    async with account.db.transaction(user=account.user.id) as unit:
        return await make_alert(unit, account.instrument, **values)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"condition": "sideways"}, "condition"),
        ({"threshold": None}, "threshold"),
        ({"condition": "between", "threshold_high": Decimal(100)}, "threshold_high"),
        ({"condition": "outside"}, "threshold_high"),
        ({"condition": "pct_change", "threshold": Decimal(-5)}, "threshold"),
        ({"hysteresis": Decimal(-1)}, "hysteresis"),
        (
            {"condition": "outside", "threshold_high": Decimal(110), "hysteresis": Decimal(6)},
            "hysteresis",
        ),
        ({"cooldown": timedelta(seconds=-1)}, "cooldown"),
        ({"sustain": timedelta(milliseconds=5)}, "sustain"),
        ({"channels": ["carrier pigeon"]}, "channels"),
        ({"name": ""}, "name"),
        ({"conditions": {"keywords": "apple"}}, "conditions.keywords"),
        ({"message_template": "{symbol} {password}"}, "message_template"),
        ({"message_template": "{0}"}, "message_template"),
        ({"message_template": "{symbol.__class__}"}, "message_template"),
        ({"message_template": " "}, "message_template"),
        ({"threshold": Decimal("NaN")}, "amount"),
        ({"trigger_mode": "hourly"}, "TriggerMode"),
    ],
)
async def test_a_rule_that_could_not_be_watched_is_refused_by_field(
    db: Database, values: dict[str, Any], field: str
) -> None:
    account = await open_account(db)
    with pytest.raises(InvalidData) as refused:
        await watch(account, **values)
    assert refused.value.field == field
    async with db.read(system="test") as unit:
        assert await unit.alerts.count() == 0


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": None},
        {"condition": "between", "threshold_high": None},
        {"condition": "pct_change", "threshold": Decimal(0)},
        {"condition": "outside", "threshold_high": Decimal(101), "hysteresis": Decimal(1)},
        {"channels": ["pigeon"]},
        {"cooldown_seconds": -1},
        {"name": ""},
    ],
)
async def test_the_database_refuses_it_at_every_other_door(
    db: Database, values: dict[str, Any]
) -> None:
    account = await open_account(db)
    alert = await watch(account)
    async with db.transaction(staff="boss") as unit:
        with pytest.raises(CheckFailed):
            await unit.alerts.patch(alert.id, **values)


async def test_an_edited_template_is_checked_too(db: Database) -> None:
    account = await open_account(db)
    alert = await watch(account)
    async with db.transaction(staff="boss") as unit:
        with pytest.raises(InvalidData) as refused:
            await unit.alerts.patch(alert.id, message_template="{secret}")
    assert refused.value.field == "message_template"
    assert check_template("{name}: {value}%") == "{name}: {value}%"


async def test_a_rule_may_not_watch_somebody_elses_portfolio(db: Database) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    with pytest.raises(ReferenceViolation):
        async with db.transaction(user=ada.user.id) as unit:
            await make_alert(unit, alert_type="pnl", portfolio_id=bob.portfolio.id)


async def test_a_rule_of_another_tenant_is_not_there(db: Database) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    alert = await watch(ada)
    async with db.transaction(user=bob.user.id) as unit:
        with pytest.raises(NotFound):
            await rules.pause(unit, alert.id)
        assert await unit.alerts.enabled() == []


async def test_watching_does_not_make_an_edit_stale_but_another_edit_does(db: Database) -> None:
    account = await open_account(db)
    alert = await watch(account, trigger_mode="every")
    async with db.transaction(system="prices") as unit:
        await evaluate(unit, [price(account.instrument, "101")])
    async with db.transaction(user=account.user.id) as unit:
        edited = await unit.alerts.patch(alert.id, version=1, threshold=Decimal(120))
        assert edited.version == 2 and edited.trigger_count == 1
        with pytest.raises(Stale):
            await unit.alerts.patch(alert.id, version=1, threshold=Decimal(130))


async def test_pause_and_resume_start_afresh(db: Database) -> None:
    account = await open_account(db)
    alert = await watch(account, condition="crosses_above", trigger_mode="every")

    async def see(value: str, minute: int) -> int:
        async with db.transaction(system="prices") as unit:
            return len(await evaluate(unit, [price(account.instrument, value, minute)]))

    assert await see("99", 0) == 0
    async with db.transaction(user=account.user.id) as unit:
        assert (await rules.pause(unit, alert.id)).status is AlertStatus.PAUSED
    assert await see("101", 1) == 0
    async with db.transaction(user=account.user.id) as unit:
        assert (await rules.resume(unit, alert.id)).last_value is None
    assert await see("102", 2) == 0, "what happened while it slept is no crossing"
    assert await see("99", 3) == 0
    assert await see("101", 4) == 1


async def test_a_rule_that_fired_once_can_be_used_again_and_counts_on(db: Database) -> None:
    account = await open_account(db)
    alert = await watch(account)
    for minute in (0, 5):
        async with db.transaction(user=account.user.id) as unit:
            await rules.resume(unit, alert.id)
            await evaluate(unit, [price(account.instrument, "101", minute)])
    assert [event.occurrence for event in await events_of(db, alert)] == [1, 2]


async def test_a_rule_whose_end_has_come_cannot_be_resumed(db: Database) -> None:
    account = await open_account(db)
    alert = await watch(account, expires_at=OPENING_BELL)
    async with db.transaction(user=account.user.id) as unit:
        with pytest.raises(InvalidData, match="expires_at"):
            await rules.resume(unit, alert.id)


async def test_rules_that_no_value_reminds_expire_by_a_sweep(db: Database) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    ended = await watch(ada, expires_at=OPENING_BELL)
    open_ended = await watch(ada, expires_at=datetime(2999, 1, 1, tzinfo=UTC))
    await watch(bob, expires_at=OPENING_BELL)
    async with db.transaction(user=ada.user.id) as unit:
        assert await rules.expire_due(unit, now()) == 1
    async with db.transaction(system="sweep") as unit:
        assert await rules.expire_due(unit, now()) == 1
        assert (await unit.alerts.get(ended.id)).status is AlertStatus.EXPIRED
        assert (await unit.alerts.get(open_ended.id)).status is AlertStatus.ACTIVE


async def test_enabled_rules_are_found_by_kind_and_by_instrument(db: Database) -> None:
    account = await open_account(db)
    first = await watch(account, name="first")
    second = await watch(account, name="second", alert_type="delta")
    await watch(account, name="off", status=AlertStatus.PAUSED)
    async with db.transaction(user=account.user.id) as unit:
        other = await make_instrument(unit, "MSFT")
        await make_alert(unit, other, name="other")
    async with db.read(user=account.user.id) as unit:
        assert [rule.name for rule in await unit.alerts.enabled()] == ["first", "second", "other"]
        (found,) = await unit.alerts.enabled("delta")
        assert found.id == second.id
        assert found.instrument is not None and found.instrument.symbol == "AAPL"
        watching = await unit.alerts.watching(account.instrument.id)
        assert [rule.id for rule in watching] == [first.id, second.id]


async def test_cancelling_keeps_the_history_and_deleting_keeps_the_events(db: Database) -> None:
    account = await open_account(db)
    alert = await watch(account)
    async with db.transaction(user=account.user.id) as unit:
        (event,) = await evaluate(unit, [price(account.instrument, "101")])
        await rules.cancel(unit, alert.id)
    assert len(await events_of(db, alert)) == 1
    async with db.transaction(user=account.user.id) as unit:
        await unit.alerts.remove(await unit.alerts.get(alert.id))
    async with db.read(user=account.user.id) as unit:
        stored = await unit.alert_events.get(event.id)
        assert stored.alert_id is None and stored.title == "Watch"


def test_new_kinds_can_be_made_known() -> None:
    register(AlertType("funding_rate", "percent in eight hours"))
    try:
        assert ALERT_TYPES["funding_rate"].meaning == "percent in eight hours"
    finally:
        del ALERT_TYPES["funding_rate"]
