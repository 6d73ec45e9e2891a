"""Alerts in the admin: what a list shows, and how events and rules are answered."""

from decimal import Decimal

import pytest
from httpx2 import AsyncClient

from domain import Database
from domain.alerts.models import Alert, AlertEvent
from domain.alerts.terms import AlertStatus
from domain.identity.models import Role
from tests.admin.browsing import key_of, send, visit
from tests.admin.conftest import Enter, user_named
from tests.admin.records import make_everything
from tests.factories.alerts import make_alert
from tests.factories.trading import open_account


async def one_alert(db: Database) -> Alert:
    async with db.read(system="test") as unit:
        return await unit.alerts.one(unit.alerts.query())


async def one_event(db: Database) -> AlertEvent:
    async with db.read(system="test") as unit:
        fired = unit.alert_events.query(AlertEvent.alert_id.is_not(None))
        return await unit.alert_events.one(fired)


async def test_the_list_says_what_is_watched_and_where_it_stands(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        await make_alert(
            unit, account.instrument, name="Dip", condition="below", threshold=Decimal("187.50")
        )
        await make_alert(unit, name="Other", alert_type="pnl", portfolio_id=account.portfolio.id)
    listing = await visit(boss, "/alerts/list")
    for words in ("Dip", "AAPL", "price", "below", "187.5", "active", "ada"):
        assert words in listing.text
    for query in ("q=aapl", "q=dI", "condition=below", f"instrument_id={account.instrument.id}"):
        found = await visit(boss, f"/alerts/list?{query}")
        assert "Dip" in found.text and "Other" not in found.text, query
    details = await visit(boss, f"/alerts/details/{key_of(await named(db, 'Dip'))}")
    assert "Dip: AAPL price below 187.5" in details.text


async def named(db: Database, name: str) -> Alert:
    async with db.read(system="test") as unit:
        return await unit.alerts.one(unit.alerts.query(Alert.name == name))


async def test_an_event_is_acknowledged_in_the_name_of_whoever_did_it(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    path = f"/alert-events/{key_of(await one_event(db))}"
    assert "Breakout" in (await visit(boss, "/alert-events/list?acknowledged=no")).text
    for _ in range(2):
        assert (await send(boss, f"{path}/answer", {"answer": "acknowledge"})).status_code == 303
    assert (await send(boss, f"{path}/answer", {"answer": "resolve"})).status_code == 303
    event = await one_event(db)
    assert event.acknowledged_by == (await user_named(db, "boss")).id
    assert event.resolved_at is not None
    page = await visit(boss, path.replace("alert-events/", "alert-events/details/"))
    assert "Acknowledge" not in [word.strip() for word in page.words]
    open_ones = await visit(boss, "/alert-events/list?acknowledged=no")
    assert "Disk is full" in open_ones.text and "Breakout" not in open_ones.text


@pytest.mark.parametrize(
    ("to", "status"), [("pause", AlertStatus.PAUSED), ("cancel", AlertStatus.CANCELLED)]
)
async def test_a_rule_is_stopped_and_watched_again(
    db: Database, boss: AsyncClient, to: str, status: AlertStatus
) -> None:
    await make_everything(db)
    path = f"/alerts/{key_of(await one_alert(db))}/status"
    assert (await send(boss, path, {"to": to})).status_code == 303
    assert (await one_alert(db)).status is status
    assert (await send(boss, path, {"to": "resume"})).status_code == 303
    resumed = await one_alert(db)
    assert resumed.status is AlertStatus.ACTIVE and resumed.is_armed


async def test_what_is_no_answer_changes_nothing(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    alert, event = key_of(await one_alert(db)), key_of(await one_event(db))
    assert (await send(boss, f"/alerts/{alert}/status", {"to": "explode"})).status_code == 400
    assert (await send(boss, f"/alert-events/{event}/answer")).status_code == 400
    nowhere = "/alert-events/00000000-0000-7000-8000-000000000000/answer"
    assert (await send(boss, nowhere, {"answer": "resolve"})).status_code == 404


async def test_a_reader_answers_nothing(db: Database, enter: Enter) -> None:
    await make_everything(db)
    reader = await enter(Role.VIEWER)
    path = f"/alert-events/{key_of(await one_event(db))}/answer"
    assert (await send(reader, path, {"answer": "acknowledge"})).status_code == 403
    assert not (await one_event(db)).acknowledged


async def test_a_rule_that_could_not_be_watched_is_refused_in_the_form(
    db: Database, boss: AsyncClient
) -> None:
    await make_everything(db)
    path = f"/alerts/edit/{key_of(await one_alert(db))}"
    form = (await visit(boss, path)).form()
    wrong = {"message_template": "{secret}", "threshold": "", "hysteresis": "-1"}
    for field, text in wrong.items():
        answer = await send(boss, path, form.submitted(**{field: text}))
        assert answer.status_code == 422, field
    answer = await send(boss, path, form.submitted(threshold="195"))
    assert answer.status_code == 303
    assert (await one_alert(db)).threshold == 195


async def test_articles_are_searched_by_any_of_their_words(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    assert "slips" in (await visit(boss, "/articles/list?q=slipping")).text
    assert "slips" not in (await visit(boss, "/articles/list?q=soars")).text
