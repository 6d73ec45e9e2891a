"""Staff limited to some tenants: what they see, what they may, and that nobody widens it."""

import ast
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette

from admin.channels import NotForYou, channels_of
from admin.limiting import kept_from_desks
from domain import Database
from domain.cache.keys import Keyspace
from domain.errors import InvalidData
from domain.identity.models import Role, TenantScope, User
from domain.identity.reaching import choose_tenants
from tests.admin.browsing import Page, key_of, send, visit
from tests.admin.conftest import Enter, user_named
from tests.factories.trading import open_account

ADMIN = Path(__file__).parents[2] / "admin"
OPENERS = {"transaction", "read", "snapshot", "retry"}
TRUSTED = {
    "login",
    "session",
    "password reset",
    "forgotten password",
    "live data",
    "bulk run",
}
"""Why the admin opens units that see everything: before it is known who asks, or about that."""


async def limited(db: Database, username: str, *tenants: User) -> User:
    async with db.transaction(system="test") as unit:
        user = await unit.users.named(username)
        await choose_tenants(unit, user, [tenant.id for tenant in tenants], by="test")
    return user


async def test_an_administrator_limits_staff_who_then_see_chosen_tenants_alone(
    db: Database, enter: Enter, boss: object
) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    admin, desk = await enter(Role.ADMIN, "boss"), await enter(Role.MANAGER, "desk")
    mine, theirs = (f"/portfolios/details/{key_of(who.portfolio)}" for who in (bob, ada))
    await visit(desk, theirs)
    clerk = await user_named(db, "desk")
    page = await visit(admin, f"/users/details/{clerk.id}")
    assert "sees all tenants" in page.text
    choosing = f"/users/{clerk.id}/tenants"
    assert f"/admin{choosing}" in page.addresses
    chosen = {"scope": "chosen", "add": key_of(bob.user)}
    assert (await send(admin, choosing, chosen | {"add": "bob"})).status_code == 422
    assert (await send(admin, choosing, chosen | {"scope": "all"})).status_code == 422
    answer = await send(admin, choosing, chosen)
    assert answer.headers["location"].endswith(f"/users/details/{clerk.id}?done=saved")
    assert "bob" in (await visit(admin, choosing)).text
    history = (await visit(admin, f"/users/history/{clerk.id}")).text
    assert "tenants-chosen" in history or "tenants chosen" in history.lower()

    await visit(desk, mine)
    for path in (theirs, f"/portfolios/edit/{key_of(ada.portfolio)}"):
        assert (await desk.get(f"/admin{path}")).status_code == 404, path
    listed = await visit(desk, "/users/list")
    assert ">ada<" not in listed.html and "bob" in listed.text and "desk" in listed.text
    exported = (await desk.get("/admin/portfolios/export.csv")).text
    assert key_of(bob.portfolio) in exported and key_of(ada.portfolio) not in exported
    found = (await desk.get(f"/admin/search.json?q={key_of(ada.portfolio)}")).json()
    assert found == []
    assert "2" not in Page((await desk.get("/admin/portfolios/count")).text).text

    await send(admin, choosing, {"scope": "all"})
    await visit(desk, theirs)


async def test_limited_staff_write_for_their_tenants_and_for_nobody_else(
    db: Database, enter: Enter
) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    desk = await enter(Role.ADMIN, "desk")
    await limited(db, "desk", bob.user)
    edit = f"/portfolios/edit/{key_of(bob.portfolio)}"
    form = (await visit(desk, edit)).form()
    assert (await send(desk, edit, form.submitted(name="Bobs"))).status_code == 303
    theirs = f"/portfolios/edit/{key_of(ada.portfolio)}"
    assert (await send(desk, theirs, form.submitted(name="Mine"))).status_code == 404
    deletion = await send(desk, f"/portfolios/delete/{key_of(ada.portfolio)}")
    assert deletion.status_code == 404
    async with db.read(system="test") as unit:
        names = {item.user_id: item.name for item in await unit.portfolios.all()}
        entries = await unit.audit_entries.all()
    assert names[bob.user.id] == "Bobs" and names[ada.user.id] != "Mine"
    assert ("desk", "staff") in {(entry.actor, entry.origin) for entry in entries}


async def test_limited_administrators_touch_no_access_and_nothing_that_is_everybodys(
    app: Starlette, db: Database, enter: Enter
) -> None:
    bob = await open_account(db, "bob")
    desk, me = await enter(Role.ADMIN, "desk"), await user_named(db, "desk")
    await limited(db, "desk", bob.user)
    for path in ("/permissions", "/users/new", "/failed-deliveries/list", "/sessions/list",
                 "/staff-tenants/list", "/outbox/list", "/seals/list", "/api-keys/list"):  # fmt: skip
        assert (await desk.get(f"/admin{path}")).status_code in {403, 404}, path
    for path in (
        f"/users/{me.id}/tenants",
        f"/users/{bob.user.id}/tenants",
        f"/users/{bob.user.id}/role",
        f"/users/{bob.user.id}/reset",
        f"/users/{bob.user.id}/active",
        f"/users/{bob.user.id}/view-as",
        f"/users/edit/{bob.user.id}",
        "/permissions/viewer",
    ):
        answer = await send(desk, path, {"scope": "all", "role": "admin"})
        assert answer.status_code in {403, 404, 405}, (path, answer.status_code)
    async with db.read(system="test") as unit:
        clerk = await unit.users.named("desk")
        assert clerk.tenant_scope is TenantScope.CHOSEN
        assert len(await unit.staff_tenants.of(clerk.id)) == 1
        assert (await unit.users.named("bob")).role is bob.user.role
    menu = (await visit(desk, "/")).addresses
    assert "/admin/instruments/list" in menu and "/admin/outbox/list" not in menu
    assert (await visit(desk, "/account")).text.count("this one") == 1
    assert (await send(desk, "/account/wishes", {"timezone": "Europe/Berlin", "theme": ""})
            ).status_code == 303  # fmt: skip
    assert "tk_" in (await send(desk, "/account/keys/new", {"name": "mine"})).text
    kept = kept_from_desks(app.state.site.records())
    assert {("users", "give-role"), ("instruments", "edit"), ("bars", "delete")} & kept
    assert not {("trades", "correct"), ("portfolios", "edit")} & kept


async def test_nobody_chooses_for_themselves_or_more_than_there_are(
    db: Database, boss: object, enter: Enter
) -> None:
    client, me = await enter(Role.ADMIN, "boss"), await user_named(db, "boss")
    assert (await client.get(f"/admin/users/{me.id}/tenants")).status_code == 403
    await enter(Role.VIEWER, "desk")
    desk = await user_named(db, "desk")
    for tenants in ([desk], [User(username="gone")]):
        with pytest.raises(InvalidData, match="tenants"):
            await limited(db, "desk", *tenants)


async def test_live_data_of_other_tenants_is_not_for_limited_staff(
    app: Starlette, db: Database, enter: Enter
) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    desk = await enter(Role.MANAGER, "desk")
    await limited(db, "desk", bob.user)
    door, keys = app.state.sockets._door, Keyspace("tradekeep")
    guest = await door.by_cookie({"tradekeep": desk.cookies["tradekeep"]})
    (channel,) = channels_of(["staff:alerts"], keys, guest)
    assert set(channel.sources) == {
        keys.events("alerts", bob.user.id),
        keys.events("alerts", guest.user_id),
    }
    channels_of([f"events:alerts:{bob.user.id}"], keys, guest)
    with pytest.raises(NotForYou):
        channels_of([f"events:alerts:{ada.user.id}"], keys, guest)
    address = f"/admin/live?channels=events:alerts:{ada.user.id}"
    assert (await desk.get(address)).status_code == 403


def test_no_page_opens_a_unit_that_sees_more_than_whoever_asks() -> None:
    """Units of staff are limited by the request; what is opened past that is named here."""
    found: set[str] = set()
    for file in sorted(ADMIN.glob("*.py")):
        source = file.read_text()
        for node in ast.walk(ast.parse(source)):
            for word in node.keywords if isinstance(node, ast.Call) else ():
                opens = isinstance(node.func, ast.Attribute) and node.func.attr in OPENERS
                if opens and word.arg in {"system", "user"}:
                    assert word.arg == "system", f"{file.name} acts as a tenant"
                    assert isinstance(word.value, ast.Constant), file.name
                    found.add(str(word.value.value))
        past = re.findall(
            r"Scope\.(?:staff|system|tenant)|\bread_engine\b|\.engine\.(?!url)", source
        )
        assert past == [], f"{file.name} reaches the database past its units"
    assert found == TRUSTED
