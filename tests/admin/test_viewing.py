"""Seeing Tradekeep as somebody else: to help, never to act in secret or to rise."""

import re
from datetime import timedelta
from unittest.mock import patch

import pytest
from httpx2 import AsyncClient
from starlette.applications import Starlette
from starlette.routing import Route

from domain import Database
from domain.clock import now
from domain.identity import viewing
from domain.identity.models import Effect, Role
from domain.identity.permissions import Permits, Rule, set_rules
from domain.identity.reaching import choose_tenants
from tests.admin.browsing import key_of, send, visit
from tests.admin.conftest import Enter, user_named
from tests.factories.trading import open_account

BANNER = "You see Tradekeep as"
ACCESS = ("/account", "/permissions", "/users/", "/sessions/", "/api-keys/")


async def look_as(client: AsyncClient, db: Database, username: str, *, status: int = 303) -> str:
    user = await user_named(db, username)
    answer = await send(client, f"/users/{user.id}/view-as")
    assert answer.status_code == status, answer.text[:300]
    return str(user.id)


async def give(db: Database, app: Starlette, role: Role, *names: str) -> None:
    rules = [Rule(*name.split(":"), "", Effect.ALLOW) for name in names]
    async with db.transaction(system="test") as unit:
        guarded = app.state.site.sign_in.guarded
        await set_rules(unit, Permits(Role.ADMIN), role, rules, guarded=guarded)


async def test_staff_see_and_act_as_a_colleague_under_both_names(
    db: Database, enter: Enter, boss: AsyncClient
) -> None:
    ada = await open_account(db, "ada")
    await enter(Role.MANAGER, "grace")
    grace = await look_as(boss, db, "grace")
    home = await visit(boss, "/")
    assert f"{BANNER} grace , manager. 30 minutes are left." in home.text
    edit = f"/portfolios/edit/{key_of(ada.portfolio)}"
    forms = (await visit(boss, edit)).forms
    (form,) = [
        item for item in forms if item.method == "post" and not item.action.startswith("/admin")
    ]
    assert (await send(boss, edit, form.submitted(name="Renamed"))).status_code == 303
    assert (await boss.get("/admin/permissions")).status_code == 403, "managers may not"
    answer = await send(boss, "/account/stop-viewing")
    assert answer.headers["location"].endswith(f"/users/details/{grace}")
    assert BANNER not in (await visit(boss, "/")).text
    assert (await boss.get("/admin/permissions")).status_code == 200

    async with db.read(system="test") as unit:
        entries = await unit.audit_entries.all()
    written = [entry for entry in entries if entry.table_name == "trading.portfolios"][-1]
    assert (written.actor, written.impersonator) == ("grace", "boss")
    told = {e.action: e for e in entries if e.action.startswith("view-as")}
    assert {str(e.user_id) for e in told.values()} == {grace}
    assert [told[f"view-as-{word}"].details["viewer"] for word in ("began", "ended")] == [
        "boss"
    ] * 2
    assert told["view-as-ended"].details["reason"] == "stopped"
    timeline = (await visit(boss, f"/users/history/{grace}")).text
    assert "view" in timeline and "boss" in timeline


async def test_a_tenant_is_looked_at_without_changing_or_seeing_anything_else(
    app: Starlette, db: Database, boss: AsyncClient
) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    await look_as(boss, db, "ada")
    mine = f"/portfolios/details/{key_of(ada.portfolio)}"
    page = await visit(boss, mine)
    assert BANNER in page.text and "/portfolios/edit/" not in page.html
    theirs = f"/admin/portfolios/details/{key_of(bob.portfolio)}"
    assert (await boss.get(theirs)).status_code == 404
    assert "bob" not in (await visit(boss, "/users/list")).text
    for route in app.state.site.admin.routes:
        if not isinstance(route, Route) or "POST" not in (route.methods or ()):
            continue
        if route.path in {"/login", "/login/code", "/forgot", "/reset", "/logout",
                          "/account/stop-viewing"} or route.path.startswith("/login"):  # fmt: skip
            continue
        sample = {"identity": "portfolios", "pk": key_of(ada.portfolio), "role": "viewer"}
        path = re.sub(
            r"\{(\w+)(:\w+)?\}", lambda part, s=sample: s.get(part[1], "trades"), route.path
        )
        assert (await send(boss, path, {"name": "x"})).status_code == 403, path
    guest = await app.state.sockets._door.by_cookie({"tradekeep": boss.cookies["tradekeep"]})
    assert (guest.user_id, guest.is_staff, guest.reach) == (ada.user.id, False, None)
    async with db.read(system="test") as unit:
        assert (await unit.portfolios.get(ada.portfolio.id)).name == ada.portfolio.name


@pytest.mark.parametrize("kind", ["self", "locked", "higher", "nested", "unasked", "limited"])
async def test_nobody_rises_by_looking(
    app: Starlette, db: Database, enter: Enter, kind: str
) -> None:
    await give(db, app, Role.MANAGER, "users:impersonate")
    client = await enter(Role.MANAGER, "manny")
    for role, name in ((Role.ADMIN, "root"), (Role.VIEWER, "vera"), (Role.TRADER, "ada")):
        await enter(role, name)
    target = {"self": "manny", "higher": "root", "locked": "vera"}.get(kind, "vera")
    async with db.transaction(system="test") as unit:
        if kind == "locked":
            (await unit.users.named("vera")).is_active = False
        if kind == "limited":
            vera = await unit.users.named("vera")
            await choose_tenants(unit, await unit.users.named("manny"), [vera.id], by="test")
    if kind == "nested":
        await look_as(client, db, "vera")
        target = "ada"
    if kind == "unasked":
        other = await enter(Role.ANALYST, "ann")
        await look_as(other, db, target, status=403)
        await look_as(client, db, target)
        other_site = {"sec-fetch-site": "cross-site"}
        answer = await client.post("/admin/account/stop-viewing", headers=other_site)
        assert answer.status_code == 403 and BANNER in (await visit(client, "/")).text
        return
    await look_as(client, db, target, status=403)
    text = (await visit(client, "/")).text
    assert (f"{BANNER} vera" in text) if kind == "nested" else (BANNER not in text)


async def test_whoever_looks_goes_to_no_page_about_access(
    app: Starlette, db: Database, enter: Enter, boss: AsyncClient
) -> None:
    await enter(Role.ADMIN, "root")
    root = await look_as(boss, db, "root")
    guarded = [
        route
        for route in app.state.site.admin.routes
        if isinstance(route, Route)
        and route.path.startswith(ACCESS)
        and route.path != "/account/stop-viewing"
    ]
    assert len(guarded) > 18
    for route in guarded:
        path = re.sub(r"\{(\w+)\}", lambda part: root if part[1] == "pk" else "viewer", route.path)
        for method in {*(route.methods or ())} & {"GET", "POST"}:
            headers = {"sec-fetch-site": "same-origin"}
            answer = await boss.request(method, f"/admin{path}", headers=headers)
            assert answer.status_code == 403, (method, path)
    for path in (f"/users/edit/{root}", f"/api-keys/delete/{root}", f"/users/cell/{root}/name"):
        assert (await send(boss, path, {"name": "x"})).status_code >= 400, path
    assert 'href="/admin/account"' not in (await boss.get("/admin/")).text


async def test_looking_is_over_after_half_an_hour_a_logout_or_a_change_of_rights(
    app: Starlette, db: Database, enter: Enter, boss: AsyncClient
) -> None:
    await enter(Role.VIEWER, "vera")
    vera = await look_as(boss, db, "vera")
    with patch.object(viewing, "now", lambda: now() + timedelta(minutes=31)):
        assert BANNER not in (await visit(boss, "/")).text
    await look_as(boss, db, "vera")
    async with db.transaction(system="test") as unit:
        (await unit.users.named("vera")).is_active = False
    assert BANNER not in (await visit(boss, "/")).text
    async with db.transaction(system="test") as unit:
        (await unit.users.named("vera")).is_active = True
    assert BANNER not in (await visit(boss, "/")).text, "it does not come back by itself"
    await look_as(boss, db, "vera")
    assert (await send(boss, "/logout")).status_code == 303
    assert (await boss.get("/admin/")).status_code == 303
    async with db.read(system="test") as unit:
        entries = await unit.audit_entries.all()
        assert all(s.viewing_id is None for s in await unit.user_sessions.all())
    ended = [e.details["reason"] for e in entries if e.action == "view-as-ended"]
    assert ended == ["time or rights were over"] * 2 + ["logout"]
    assert {e.row_key for e in entries if e.action.startswith("view-as")} == {vera}

    await give(db, app, Role.MANAGER, "users:impersonate")
    manny = await enter(Role.MANAGER, "manny")
    await look_as(manny, db, "vera")
    async with db.transaction(system="test") as unit:
        me = await unit.users.named("manny")
        await unit.user_sessions.revoke_all(me, at=now(), reason="test")
    assert (await manny.get("/admin/")).status_code == 303, "the login behind it was ended"
