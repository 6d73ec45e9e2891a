"""What roles may: tables, actions, fields; said on a page, enforced on the server, everywhere."""

import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from unittest.mock import patch

import pytest
from httpx2 import AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from admin import signing_in
from admin.permissions import catalogue
from admin.permits import BESIDES, PLACES, SHOWS
from domain import Database
from domain.errors import AccessDenied, InvalidData
from domain.identity.models import Effect, Role
from domain.identity.permissions import FIELD, Action, Permits, Rule, set_rules
from tests.admin.browsing import Page, key_of, links, send, visit
from tests.admin.conftest import Enter, user_named
from tests.admin.records import content, make_everything

ADMIN = Permits(Role.ADMIN)
Give = Callable[..., Awaitable[None]]


@pytest.fixture
def give(app: Starlette, db: Database) -> Give:
    """Give a role rules, written as ``trades:export=deny`` or ``trades.price=hidden``."""

    async def given_to(role: Role, *rules: str) -> None:
        async with db.transaction(system="test") as unit:
            guarded = app.state.site.sign_in.guarded
            await set_rules(unit, ADMIN, role, [rule_of(text) for text in rules], guarded=guarded)

    return given_to


def rule_of(text: str) -> Rule:
    name, _, effect = text.partition("=")
    if "." in name:
        resource, _, column = name.partition(".")
        return Rule(resource, FIELD, column, Effect(effect))
    resource, _, action = name.partition(":")
    return Rule(resource, action, "", Effect(effect))


# ── rules ────────────────────────────────────────────────────────────────────────────────────────


def test_what_nothing_allows_is_refused() -> None:
    for role in (Role.TRADER, Role.USER, Role.SERVICE):
        assert not Permits(role).allows("trades", Action.READ)
    assert not Permits(Role.VIEWER).allows("trades", "anything new")
    assert not Permits(Role.MANAGER, guarded=frozenset({"users"})).allows("users", Action.EDIT)
    assert Permits(Role.MANAGER).allows("trades", Action.EDIT)


@given(st.sampled_from(list(Role)), st.sampled_from(list(Action)))
def test_a_rule_wins_over_the_default_except_for_administrators(role: Role, action: Action) -> None:
    for effect in (Effect.ALLOW, Effect.DENY):
        permits = Permits.of(role, [Rule("trades", action, "", effect)])
        assert permits.allows("trades", action) is (role is Role.ADMIN or effect is Effect.ALLOW)


@given(st.data())
def test_whoever_covers_another_role_may_all_that_it_may(data: st.DataObject) -> None:
    offered = list(itertools.product(("trades", "users"), Action))
    effects = st.sampled_from([Effect.ALLOW, Effect.DENY])
    rules = st.lists(st.tuples(st.sampled_from(offered), effects))
    one, other = (
        Permits.of(role, [Rule(*name, "", effect) for name, effect in data.draw(rules)])
        for role in (Role.MANAGER, Role.VIEWER)
    )
    if one.covers(other, offered):
        assert all(one.allows(*item) for item in offered if other.allows(*item))
    assert ADMIN.covers(one, offered) and not one.covers(ADMIN, offered)


async def test_nobody_gives_what_they_lack_or_changes_their_own_role(db: Database) -> None:
    manager = Permits.of(Role.MANAGER, [rule_of("trades.price=hidden")], {"users"})
    refused = [
        (Role.MANAGER, "trades:read=deny"),
        (Role.VIEWER, "users:edit=allow"),
        (Role.VIEWER, "trades.price=readonly"),
    ]
    async with db.transaction(system="test") as unit:
        for role, text in refused:
            with pytest.raises(AccessDenied):
                await set_rules(unit, manager, role, [rule_of(text)], guarded=())
        with pytest.raises(InvalidData, match="administrators may everything"):
            await set_rules(unit, manager, Role.ADMIN, [], guarded=())
        taken = [rule_of("users:read=deny"), rule_of("trades.price=hidden")]
        assert await set_rules(unit, manager, Role.VIEWER, taken, guarded=()) == 2


async def test_what_the_code_gives_anyway_is_not_stored(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        for text, count in (
            ("trades:read=allow", 0),
            ("trades:read=deny", 1),
            ("trades:read=deny", 0),
            ("trades:read=allow", 1),
            ("trades.price=editable", 0),
        ):
            changed = await set_rules(unit, ADMIN, Role.VIEWER, [rule_of(text)], guarded=())
            assert changed == count, text
        assert await unit.role_permissions.count() == 0


# ── enforced ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_may_not_be_read_is_nowhere(
    db: Database, enter: Enter, give: Give, app: Starlette
) -> None:
    account = await make_everything(db)
    viewer = await enter(Role.VIEWER)
    portfolio = f"/portfolios/details/{key_of(account.portfolio)}"
    assert "/admin/users/list" in (await visit(viewer, "/trades/list")).html
    await give(Role.VIEWER, "users:read=deny", "lots:read=deny")
    for path in ("/users/list", f"/users/details/{account.user.id}", "/lots/list"):
        page = await visit(viewer, path, status=403)
        assert "does not allow" in page.text
    for path in ("/users/export.csv", "/users/lookup?q=a"):
        assert (await viewer.get(f"/admin{path}")).status_code == 403
    pages = [await visit(viewer, path) for path in ("/portfolios/list", portfolio, "/trades/list")]
    for page in pages:
        assert "/admin/users/" not in page.html and "/admin/lots/" not in page.html
        assert "ada" not in page.text.split(), "no name of a user stands in another table"
    assert "•••" in pages[0].text


async def test_a_hidden_field_is_in_no_list_record_filter_search_order_or_export(
    db: Database, enter: Enter, give: Give
) -> None:
    account = await make_everything(db)
    viewer = await enter(Role.VIEWER)
    before = await visit(viewer, "/trades/list")
    record = links(before, "/trades/details/")[0]
    shown = await visit(viewer, record)
    assert "190.25" in shown.text + before.text
    await give(
        Role.VIEWER,
        "trades.price=hidden",
        "trades.gross_amount=hidden",
        "trades.side=hidden",
        "trades.executed_at=hidden",
        "trades.instrument_id=hidden",
        "trades.quantity=hidden",
    )
    listing, details = await visit(viewer, "/trades/list"), await visit(viewer, record)
    export = (await viewer.get("/admin/trades/export.csv")).text
    for page in (listing.html, details.html, export):
        assert "190.25" not in page and "AAPL" not in page
        assert "2024-03-15" not in page
    assert "price" not in export.splitlines()[0].split(",")
    assert 'name="side"' not in listing.html and 'name="from"' not in listing.html
    unfiltered = await visit(viewer, "/trades/list?side=sell&from=2030-01-01")
    assert len(links(unfiltered, "/trades/details/")) == len(links(listing, "/trades/details/"))
    await visit(viewer, "/trades/list?sort=executed_at", status=400)
    assert key_of(account.portfolio) in details.html
    history = await visit(viewer, record.replace("/details/", "/history/"))
    assert "190.25" not in history.html and "2024-03-15" not in history.html
    for path in ("/changes/list", "/outbox/list"):
        await visit(viewer, path, status=403)


async def test_a_hidden_or_readonly_field_is_neither_in_a_form_nor_accepted(
    db: Database, enter: Enter, give: Give
) -> None:
    account = await make_everything(db)
    manager = await enter(Role.MANAGER)
    path = f"/portfolios/edit/{key_of(account.portfolio)}"
    rendered = (await visit(manager, path)).form().submitted(name="Mine", description="Changed")
    await give(Role.MANAGER, "portfolios.name=readonly", "portfolios.description=hidden")
    form = (await visit(manager, path)).form()
    assert not {"name", "description"} & set(form.values)
    assert (await send(manager, path, rendered)).status_code == 303
    async with db.read(system="test") as unit:
        stored = await unit.portfolios.get(account.portfolio.id)
    assert (stored.name, stored.description) == ("Main", "\nfirst\nsecond\n")
    details = await visit(manager, path.replace("/edit/", "/details/"))
    assert "Main" in details.text and "second" not in details.text


async def test_each_action_is_taken_away_and_given_by_itself(
    db: Database, enter: Enter, give: Give
) -> None:
    account = await make_everything(db)
    manager, viewer = await enter(Role.MANAGER), await enter(Role.VIEWER)
    portfolio = key_of(account.portfolio)
    await give(
        Role.MANAGER,
        "portfolios:edit=deny",
        "portfolios:delete=deny",
        "trades:create=deny",
        "trades:correct=deny",
        "trades:export=deny",
        "dashboard:read=deny",
    )
    await give(Role.VIEWER, "portfolios:edit=allow")
    record = links(await visit(manager, "/trades/list"), "/trades/details/")[0]
    trade = record.removeprefix("/trades/details/")
    page = await visit(manager, record)
    assert not [address for address in page.addresses if address.endswith(("/correct", "/bust"))]
    assert "Export CSV" not in (await visit(manager, "/trades/list")).text
    before = await content(db)
    for path, status in (
        (f"/portfolios/edit/{portfolio}", 405),
        (f"/portfolios/delete/{portfolio}", 405),
        ("/trades/new", 403),
        (f"/trades/{trade}/correct", 403),
        (f"/trades/{trade}/bust", 403),
    ):
        assert (await send(manager, path, {"reason": "x"})).status_code == status, path
    assert (await manager.get("/admin/trades/export.csv")).status_code == 403
    await visit(manager, "/", status=403)
    assert await content(db) == before
    form = (await visit(viewer, f"/portfolios/edit/{portfolio}")).form()
    answer = await send(viewer, f"/portfolios/edit/{portfolio}", form.submitted(name="Theirs"))
    assert answer.status_code == 303
    await visit(viewer, f"/portfolios/delete/{portfolio}", status=405)


async def test_pages_that_put_tables_together_are_closed_when_one_of_them_is(
    db: Database, enter: Enter, give: Give
) -> None:
    account = await make_everything(db)
    viewer = await enter(Role.VIEWER)
    paths = ["/", f"/portfolio/{account.portfolio.id}", f"/charts/bars/{account.instrument.id}"]
    for path in paths:
        assert (await viewer.get(f"/admin{path}")).status_code == 200, path
    instrument = f"/instruments/details/{account.instrument.id}"
    whole = await visit(viewer, instrument)
    await give(Role.VIEWER, "trades.price=hidden", "positions:read=deny")
    for path in paths:
        assert (await viewer.get(f"/admin{path}")).status_code == 403, path
    assert len((await visit(viewer, instrument)).html) < len(whole.html)


async def test_nobody_manages_who_may_more(db: Database, enter: Enter, give: Give) -> None:
    await make_everything(db)
    manager, _ = await enter(Role.MANAGER), await enter(Role.ADMIN, "boss")
    await enter(Role.VIEWER, "vic")
    viewer_id = (await user_named(db, "vic")).id
    boss_id = (await user_named(db, "boss")).id
    await give(
        Role.MANAGER,
        *(f"users:{power}=allow" for power in ("reset", "give-role", "lock", "create")),
        "lots:read=deny",
    )
    for path, data in (
        (f"/users/{boss_id}/role", {"role": "viewer"}),
        (f"/users/{boss_id}/reset", {}),
        (f"/users/{boss_id}/active", {}),
        (f"/users/{boss_id}/second-step", {}),
        (f"/users/{viewer_id}/role", {"role": "admin"}),
        (f"/users/{viewer_id}/role", {"role": "analyst"}),
        ("/users/new", {"username": "eve", "role": "admin"}),
    ):
        assert (await send(manager, path, data)).status_code == 403, path
    assert (await user_named(db, "vic")).role is Role.VIEWER
    made = await send(manager, "/users/new", {"username": "eve", "role": "trader"})
    assert made.status_code == 303
    refused = await send(
        manager, "/account/keys/new", {"name": "k", "permissions": "trades:read\nlots:read"}
    )
    assert refused.status_code == 422 and "that you have yourself" in Page(refused.text).text
    assert (
        await send(manager, "/account/keys/new", {"name": "k", "permissions": "trades:read"})
    ).status_code == 200


# ── said ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_administrator_ticks_boxes_and_the_next_request_obeys(
    db: Database, boss: AsyncClient, enter: Enter
) -> None:
    await make_everything(db)
    viewer = await enter(Role.VIEWER)
    page = await visit(boss, "/permissions/viewer")
    form = page.form()
    ticked = dict.fromkeys(form.values["was:"].split(), "yes")
    del ticked["lots:read"]
    data = {"was:": form.values["was:"], **ticked, "portfolios:edit": "yes"}
    assert (await send(boss, "/permissions/viewer", data)).status_code == 303
    await visit(viewer, "/lots/list", status=403)
    async with db.read(system="test") as unit:
        rules = {
            f"{rule.resource}:{rule.action}={rule.effect}"
            for rule in await unit.role_permissions.all()
        }
    assert rules == {"lots:read=deny", "portfolios:edit=allow"}
    again = (await visit(boss, "/permissions/viewer")).form()
    assert await unchanged(boss, again.values["was:"]) == rules_page(again.values["was:"])

    fields = (await visit(boss, "/permissions/viewer/trades")).form()
    await send(boss, "/permissions/viewer/trades", fields.submitted(price="hidden"))
    assert "price" not in (await viewer.get("/admin/trades/export.csv")).text.splitlines()[0]
    odd = await send(boss, "/permissions/viewer/trades", fields.submitted(price="king"))
    assert odd.status_code == 400


async def unchanged(boss: AsyncClient, was: str) -> str:
    """Send the page as it is and return what it holds then."""
    data = {"was:": was, **dict.fromkeys(was.split(), "yes")}
    await send(boss, "/permissions/viewer", data)
    return rules_page((await visit(boss, "/permissions/viewer")).form().values["was:"])


def rules_page(was: str) -> str:
    return " ".join(sorted(was.split()))


async def test_the_matrix_is_for_those_who_may_and_asks_for_the_password(
    db: Database, boss: AsyncClient, enter: Enter, give: Give
) -> None:
    manager = await enter(Role.MANAGER)
    await visit(manager, "/permissions/viewer", status=403)
    overview = await visit(manager, "/permissions")
    assert "Edit viewer" not in overview.text
    await visit(boss, "/permissions/admin", status=404)
    await visit(boss, "/permissions/king", status=404)
    await visit(boss, "/permissions/viewer/nothing", status=404)
    await give(Role.MANAGER, "permissions:edit=allow")
    await visit(manager, "/permissions/viewer")
    await visit(manager, "/permissions/manager", status=403)
    data = {"was:": "", "users:edit": "yes"}
    assert (await send(manager, "/permissions/viewer", data)).status_code == 403
    with patch.object(signing_in, "SURE_FOR", timedelta(0)):
        asked = await boss.get("/admin/permissions/viewer")
    assert asked.headers["location"].startswith("/admin/account/confirm")


# ── nothing is forgotten ─────────────────────────────────────────────────────────────────────────

OWN = ("/account", "/login", "/logout", "/forgot", "/reset", "/words", "/{identity}")


async def test_every_page_is_a_tables_or_ones_own_or_names_its_permission(app: Starlette) -> None:
    routes = [route for route in app.state.site.admin.routes if isinstance(route, Route)]
    forgotten = [
        route.path
        for route in routes
        if route.path not in PLACES and not route.path.startswith(OWN)
    ]
    assert forgotten == [], "name the permission of these pages in admin.permits.PLACES"
    assert {*PLACES} <= {route.path for route in routes}
    resources = {view.identity for view in app.state.site.records()}
    boards = {name for view in app.state.site.records() for name in view.board_shows}
    assert {name for names in SHOWS.values() for name in names} | boards <= resources


async def test_every_permission_that_a_page_asks_for_can_be_given(app: Starlette) -> None:
    from admin.office import Office
    from admin.permits import AsSeen

    site = app.state.site
    views = AsSeen({view.identity: view for view in site.records()})
    offered = set(catalogue(Office(site.db, site.pages, views)))
    assert {*PLACES.values()} - offered == set()
    assert {name for name, _ in offered} >= {*BESIDES}
