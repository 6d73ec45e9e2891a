"""Many records at once: asked with their number, done once each, skipped with reasons."""

import asyncio
from typing import Any

from httpx2 import AsyncClient
from starlette.applications import Starlette

from admin import running
from admin.running import change, run_batch
from domain import Database
from domain.alerts.terms import AlertStatus
from domain.identity.models import BulkRun, Role, RunStatus
from tests.admin.browsing import Form, Page, send, visit
from tests.admin.conftest import Enter
from tests.admin.records import content, make_everything
from tests.admin.test_lists import view_of
from tests.factories.alerts import make_alert
from tests.factories.trading import open_account


async def alerts(db: Database, count: int) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        for number in range(count):
            await make_alert(unit, account.instrument, name=f"Rule {number}")


def question(page: Page) -> Form:
    return next(form for form in page.forms if form.action.endswith("/bulk/start"))


async def finished(client: AsyncClient, path: str) -> Page:
    page = await visit(client, path)
    async with asyncio.timeout(20):
        while "Running." in page.text:
            await asyncio.sleep(0.05)
            page = await visit(client, path)
    return page


async def started(client: AsyncClient, table: str, data: dict[str, Any], **more: str) -> Page:
    asked = await client.post(
        f"/admin/{table}/bulk", data=data, headers={"sec-fetch-site": "same-origin"}
    )
    assert asked.status_code == 200, Page(asked.text).text
    answer = await send(
        client, f"/{table}/bulk/start", {**question(Page(asked.text)).values, **more}
    )
    assert answer.status_code == 303, Page(answer.text).text
    return await finished(client, answer.headers["location"].removeprefix("/admin"))


async def test_everything_that_matches_is_paused_after_a_question(
    db: Database, boss: AsyncClient
) -> None:
    await alerts(db, 5)
    data = {"action": "pause", "scope": "all", "query": "?where=1:name.not.Rule 3"}
    asked = await send(boss, "/alerts/bulk", data)
    assert "Pause: 4 alerts" in Page(asked.text).text and "Rule 2" in asked.text
    async with db.read(system="test") as unit:
        assert {alert.status for alert in await unit.alerts.all()} == {AlertStatus.ACTIVE}
    page = await started(boss, "alerts", data)
    assert "Chosen 4 Done 4 Skipped 0 Left 0" in page.text
    async with db.read(system="test") as unit:
        left = {a.name for a in await unit.alerts.all() if a.status is AlertStatus.ACTIVE}
    assert left == {"Rule 3"}


async def test_records_that_cannot_go_are_skipped_with_their_reason(
    db: Database, boss: AsyncClient
) -> None:
    account = await make_everything(db)
    async with db.transaction(system="test") as unit:
        await unit.portfolios.patch(account.portfolio.id, description="keep")
        free = unit.portfolios.add(
            type(account.portfolio)(user_id=account.user.id, name="Free", base_currency="USD")
        )
        await unit.flush()
    keys = {"key": [str(account.portfolio.id), str(free.id)], "query": ""}
    page = await started(
        boss, "portfolios", {**keys, "action": "delete"}, key=str(free.id), count="1"
    )
    assert "Done 1 Skipped 0" in page.text
    data = {"key": str(account.portfolio.id), "query": "", "action": "delete"}
    page = await started(boss, "portfolios", data)
    assert "Done 0 Skipped 1" in page.text
    assert "Other records still belong to it." in page.text


async def test_one_field_is_written_into_many_and_a_wrong_value_into_none(
    db: Database, boss: AsyncClient
) -> None:
    await alerts(db, 3)
    data = {"action": "edit", "scope": "all", "query": ""}
    page = await started(boss, "alerts", data, field="cooldown_seconds", text="60")
    assert "Done 3" in page.text
    async with db.read(system="test") as unit:
        found = await unit.alerts.all()
    assert {alert.cooldown_seconds for alert in found} == {60}
    asked = Page((await send(boss, "/alerts/bulk", data)).text)
    for field, text in (("cooldown_seconds", "soon"), ("user_id", "x"), ("status", "paused")):
        wrong = {**question(asked).values, "field": field, "text": text}
        assert (await send(boss, "/alerts/bulk/start", wrong)).status_code == 422
    refused = await started(boss, "alerts", data, field="cooldown_seconds", text="-5")
    assert "Done 0 Skipped 3" in refused.text


async def test_what_is_unknown_forbidden_or_changed_is_refused(
    db: Database, boss: AsyncClient, enter: Enter
) -> None:
    await make_everything(db)
    manager, viewer = await enter(Role.MANAGER), await enter(Role.VIEWER)
    before = await content(db)
    gone = "00000000-0000-7000-8000-000000000000"
    for client, table, data, status in (
        (boss, "alerts", {"action": "pause", "key": gone}, 400),
        (boss, "alerts", {"action": "pause", "key": "nothing"}, 400),
        (boss, "alerts", {"action": "pause"}, 400),
        (boss, "trades", {"action": "bust", "scope": "all"}, 403),
        (boss, "trades", {"action": "delete", "scope": "all"}, 403),
        (manager, "sessions", {"action": "revoke", "scope": "all"}, 403),
        (viewer, "alerts", {"action": "pause", "scope": "all"}, 403),
    ):
        answer = await send(client, f"/{table}/bulk", {"query": "", **data})
        assert answer.status_code == status, (table, data)
    data = {"query": "", "action": "pause", "scope": "all", "count": "99"}
    changed = await send(boss, "/alerts/bulk/start", data)
    assert changed.status_code == 422 and "The list changed meanwhile" in changed.text
    after = await content(db)
    assert {name: rows for name, rows in after.items() if name != "identity.sessions"} == {
        name: rows for name, rows in before.items() if name != "identity.sessions"
    }


async def test_a_run_that_was_stopped_goes_on_and_does_nothing_twice(
    db: Database, app: Starlette, boss: AsyncClient, monkeypatch: Any
) -> None:
    monkeypatch.setattr(running, "BATCH", 2)
    await alerts(db, 5)
    page = await started(
        boss, "alerts", {"action": "edit", "scope": "all", "query": ""}, field="name", text="Same"
    )
    assert "Done 5" in page.text
    async with db.transaction(system="test") as unit:
        run = await unit.bulk_runs.first(unit.bulk_runs.query())
        assert run is not None
        items = await unit.bulk_items.all()
        for item in items[2:]:
            item.outcome = None
        run.done, run.status = 2, RunStatus.STOPPED
        await unit.flush()
        versions = {alert.id: alert.version for alert in await unit.alerts.all()}
    view = view_of(app, "alerts")
    work = change(view, "name", "Other")
    assert not await run_batch(app.state.site.db, run.id, view, work)  # it was stopped
    await send(boss, f"/runs/{run.id}/continue")
    page = await finished(boss, f"/runs/{run.id}")
    assert "Finished." in page.text and "Chosen 5 Done 5 Skipped 0 Left 0" in page.text
    async with db.read(system="test") as unit:
        changed = [a for a in await unit.alerts.all() if a.version != versions[a.id]]
        (stored,) = await unit.bulk_runs.all(unit.bulk_runs.query(BulkRun.id == run.id))
    assert len(changed) == 3 and stored.status is RunStatus.FINISHED
