"""Who gets in, what they may do there, and what is refused at the door."""

import re
from collections.abc import Sequence
from datetime import timedelta
from itertools import product
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
from httpx2 import AsyncClient, Response
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from admin.app import create_app
from admin.shielding import is_local_path
from domain import Database
from domain.clock import now
from domain.errors import Unavailable
from domain.identity import signing_in
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.settings import Settings
from tests.admin.browsing import Page, key_of, send, visit
from tests.admin.conftest import Enter, browser, token_of, user_named
from tests.admin.records import content, make_everything

PASSWORD = "correct horse battery staple"
OPEN = {"/words/en.js", "/login", "/login/code", "/forgot", "/reset"}
SAMPLE = {
    "role": "viewer",
    "resource": "trades",
    "format": "csv",
    "identity": "portfolios",
    "pk": "00000000-0000-7000-8000-000000000000",
    "path": "admin.css",
    "tag": "en",
}


async def enrol(db: Database, username: str, role: Role) -> None:
    async with db.transaction(system="test") as unit:
        await create_user(unit, username, password=PASSWORD, role=role)


async def log_in(
    client: AsyncClient, username: str, password: str = PASSWORD, target: str = ""
) -> Response:
    path = f"/login?next={target}" if target else "/login"
    return await send(client, path, {"username": username, "password": password})


def routes(app: Starlette) -> list[Route]:
    return [route for route in app.state.site.admin.routes if isinstance(route, Route)]


def path_of(route: Route) -> str:
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: SAMPLE[found[1]], route.path)


# ── who gets in ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", [Role.ADMIN, Role.MANAGER, Role.ANALYST, Role.VIEWER])
async def test_staff_log_in_and_land_where_they_wanted(
    db: Database, nobody: AsyncClient, role: Role
) -> None:
    await enrol(db, "grace", role)
    refused = await nobody.get("/admin/trades/list?side=buy")
    assert refused.headers["location"] == "/admin/login?next=/admin/trades/list%3Fside%3Dbuy"
    form = Page((await nobody.get(refused.headers["location"])).text).form()
    answer = await send(
        nobody, form.action.removeprefix("/admin"), {"username": "Grace", "password": PASSWORD}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/trades/list?side=buy")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    assert (await nobody.get("/admin/")).status_code == 200


@pytest.mark.parametrize("role", [Role.TRADER, Role.USER, Role.SERVICE])
async def test_whoever_is_no_staff_is_answered_as_if_unknown(
    db: Database, nobody: AsyncClient, role: Role
) -> None:
    await enrol(db, "grace", role)
    answers = [
        await log_in(nobody, "grace"),
        await log_in(nobody, "grace", "wrong password!"),
        await log_in(nobody, "stranger"),
        await log_in(nobody, "grace\x00", "\x00"),
        await log_in(nobody, "x" * 5_000, ""),
    ]
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert "User name or password is wrong." in answers[0].text
    assert "set-cookie" not in answers[0].headers
    assert (await nobody.get("/admin/")).status_code == 303


async def test_a_trader_with_a_live_session_is_not_let_in(app: Starlette, db: Database) -> None:
    token = await token_of(db, "trader", Role.TRADER)
    async with browser(app, cookies={"tradekeep": token}) as client:
        assert (await client.get("/admin/trades/list")).status_code == 303


async def test_nobody_sees_anything_but_login_statics_and_health(
    app: Starlette, nobody: AsyncClient
) -> None:
    assert len(routes(app)) > 20
    for route in routes(app):
        for method in route.methods or ():
            path = path_of(route)
            answer = await nobody.request(method, f"/admin{path}")
            if path in OPEN:
                assert answer.status_code in {200, 401, 410}
            else:
                assert answer.status_code == 303, (method, path)
                assert answer.headers["location"].startswith("/admin/login")
                assert answer.text == ""
    assert (await nobody.get("/admin/statics/admin.css")).status_code == 200
    assert (await nobody.get("/livez")).text == "ok"
    assert (await nobody.get("/readyz")).json() == {
        "ready": True,
        "database": "ok",
        "migrations": "ok",
        "cache": "off",
        "cache_pending": None,
        "cache_warning": None,
    }
    for path in ("/admin/loginx", "/admin/login/x", "/admin/loginx/list", "/admin/staticsx"):
        assert (await nobody.get(path)).status_code == 303, path
    assert (await nobody.get("/admin/statics/../trades/list")).status_code in {303, 404}
    assert (await nobody.get("/admin/statics/%2e%2e/site.py")).status_code == 404


async def test_a_login_ends_when_revoked_expired_or_logged_out(
    app: Starlette, db: Database, enter: Enter, boss: AsyncClient
) -> None:
    reader = await enter(Role.VIEWER, "reader")
    reader_id = (await user_named(db, "reader")).id
    assert (await reader.get("/admin/")).status_code == 200
    async with db.read(system="test") as unit:
        sessions = [s for s in await unit.user_sessions.all() if s.user_id == reader_id]
    await send(boss, f"/sessions/{key_of(sessions[0])}/revoke")
    assert (await reader.get("/admin/")).status_code == 303

    again = await enter(Role.VIEWER, "reader")
    assert (await again.get("/admin/")).status_code == 200
    with patch.object(signing_in, "now", lambda: now() + timedelta(hours=13)):
        assert (await again.get("/admin/")).status_code == 303

    assert (await again.get("/admin/logout")).status_code == 405
    assert (await send(again, "/logout")).headers["location"] == "/admin/login"
    again.cookies.clear()
    for session in (await again.get("/admin/"), await again.get("/admin/trades/list")):
        assert session.status_code == 303


async def test_a_new_login_ends_the_one_it_replaces(db: Database, nobody: AsyncClient) -> None:
    await enrol(db, "grace", Role.ADMIN)
    await log_in(nobody, "grace")
    first = nobody.cookies["tradekeep"]
    await log_in(nobody, "grace")
    assert nobody.cookies["tradekeep"] != first
    async with db.read(system="test") as unit:
        reasons = [session.revoked_reason for session in await unit.user_sessions.all()]
    assert sorted(reasons, key=str) == [None, "replaced by a new login"]


async def test_guessing_is_slowed_down_and_says_for_how_long(
    db: Database, nobody: AsyncClient
) -> None:
    await enrol(db, "grace", Role.ADMIN)
    for _ in range(10):
        assert (await log_in(nobody, "grace", "wrong password!")).status_code == 401
    answer = await log_in(nobody, "grace")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 301
    assert "Too many attempts" in answer.text


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/a\nb",
        "evil",
    ],
)
async def test_a_login_leads_nowhere_else(db: Database, nobody: AsyncClient, target: str) -> None:
    await enrol(db, "grace", Role.ADMIN)
    page = await nobody.get("/admin/login", params={"next": target})
    assert target not in page.text
    answer = await nobody.post(
        "/admin/login", params={"next": target}, data={"username": "grace", "password": PASSWORD}
    )
    assert answer.headers["location"] == "/admin/"


@given(st.text(max_size=30) | st.text("/\\.:@?#\t\n a", max_size=12))
def test_a_local_path_stays_on_this_host(target: str) -> None:
    if is_local_path(target):
        parts = urlsplit(target.replace("\\", "/"))
        assert (parts.scheme, parts.netloc) == ("", "")
        assert target.startswith("/") and not target.startswith("//")


# ── what they may do ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ANALYST])
async def test_readers_change_nothing_by_any_route(
    app: Starlette, db: Database, enter: Enter, role: Role
) -> None:
    account = await make_everything(db)
    reader = await enter(role)
    before = await content(db)
    writing = [route for route in routes(app) if "POST" in (route.methods or ())]
    for route in writing:
        path = path_of(route)
        if path in OPEN or "/views" in path or path == "/logout" or path.startswith("/account"):
            continue  # everybody saves views for themselves
        for identity in ("portfolios", "trades", "users"):
            real = path.replace("portfolios", identity).replace(
                SAMPLE["pk"], key_of(account.portfolio)
            )
            assert (await send(reader, real)).status_code == 403, real
            if "GET" in (route.methods or ()):
                await visit(reader, real, status=403)
    assert await content(db) == before


async def test_managers_write_but_only_administrators_manage_people(
    db: Database, enter: Enter
) -> None:
    account = await make_everything(db)
    manager = await enter(Role.MANAGER)
    await visit(manager, f"/portfolios/edit/{key_of(account.portfolio)}")
    await visit(manager, "/users/new", status=403)
    await visit(manager, f"/users/edit/{key_of(account.user)}", status=405)
    await visit(manager, "/permissions/viewer", status=403)
    async with db.read(system="test") as unit:
        (key,) = await unit.api_keys.all()
        session = (await unit.user_sessions.all())[0]
    user = f"/users/{key_of(account.user)}"
    tries = [
        (f"{user}/role", {"role": "admin"}),
        (f"{user}/reset", {}),
        (f"{user}/second-step", {}),
        (f"{user}/active", {}),
        (f"/sessions/{key_of(session)}/revoke", {}),
        (f"/api-keys/{key_of(key)}/revoke", {}),
        ("/users/new", {"username": "eve", "role": "admin"}),
    ]
    for path, data in tries:
        assert (await send(manager, path, data)).status_code == 403, path


async def test_an_administrator_makes_users_and_gives_roles_but_not_to_themselves(
    db: Database, boss: AsyncClient, nobody: AsyncClient
) -> None:
    made = await send(boss, "/users/new", {"username": "Eve", "role": "analyst"})
    assert made.status_code == 303
    path = made.headers["location"].removeprefix("/admin")
    assert "analyst" in (await visit(boss, path)).text
    handed = Page((await send(boss, f"{path.replace('/details', '')}/reset")).text)
    (link,) = re.findall(r"http://localhost(/admin/reset\?token=\S+)", handed.text)
    token = Page((await nobody.get(link)).text).form().values["token"]
    await send(nobody, "/reset", {"token": token, "password": PASSWORD})
    assert (await log_in(nobody, "eve")).status_code == 303

    eve, boss_id = await user_named(db, "eve"), key_of(await user_named(db, "boss"))
    await send(boss, f"/users/{key_of(eve)}/role", {"role": "trader"})
    assert (await user_named(db, "eve")).role is Role.TRADER
    assert (await nobody.get("/admin/")).status_code == 303, (
        "a role that was taken away counts at once"
    )
    await send(boss, f"/users/{key_of(eve)}/active")
    assert not (await user_named(db, "eve")).is_active

    for action in ("role", "active"):
        assert (
            await send(boss, f"/users/{boss_id}/{action}", {"role": "viewer"})
        ).status_code == 403


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"username": "no spaces", "role": "admin"}, "letters, digits"),
        ({"username": "boss", "role": "admin"}, "taken"),
        ({"username": "-eve", "role": "admin"}, "begin with a letter"),
        ({"username": "eve", "role": "king"}, "be one of"),
    ],
)
async def test_a_user_that_cannot_be_is_refused_with_the_reason(
    db: Database, boss: AsyncClient, data: dict[str, str], words: str
) -> None:
    before = await content(db)
    answer = await send(boss, "/users/new", data)
    assert answer.status_code == 422
    assert words in Page(answer.text).text
    assert await content(db) == before


# ── the door ─────────────────────────────────────────────────────────────────────────────────────


FORMS: tuple[tuple[dict[str, str], int], ...] = (
    ({"sec-fetch-site": "cross-site"}, 403),
    ({"sec-fetch-site": "same-site"}, 403),
    ({"sec-fetch-site": "cross-site", "origin": "http://localhost"}, 403),
    ({"origin": "https://evil.example"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": "http://localhost"}, 303),
    ({"sec-fetch-site": "same-origin"}, 303),
    ({"sec-fetch-site": "none"}, 303),
    ({}, 303),
)
"""Where a form says that it comes from, and what is answered."""


async def test_another_sites_form_is_refused(
    db: Database, nobody: AsyncClient, subtests: pytest.Subtests
) -> None:
    await enrol(db, "grace", Role.ADMIN)
    sent = {"username": "grace", "password": PASSWORD}
    for path, (headers, status) in product(("/admin/login", "/admin/logout"), FORMS):
        with subtests.test(path=path, headers=headers):
            nobody.cookies.clear()
            answer = await nobody.post(path, data=sent, headers=headers)
            assert answer.status_code == status
            is_in = status == 303 and path.endswith("login")
            assert ("tradekeep" in nobody.cookies) is is_in


HEADERS = (
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "cross-origin-opener-policy",
    "cache-control",
)


async def test_every_answer_carries_the_protecting_headers(
    db: Database, boss: AsyncClient, nobody: AsyncClient
) -> None:
    answers: Sequence[Response] = [
        await nobody.get("/livez"),
        await nobody.get("/readyz"),
        await nobody.get("/"),
        await nobody.get("/nothing"),
        await nobody.get("/livez", headers={"host": "evil.example"}),
        await nobody.get("/admin/login"),
        await nobody.get("/admin/"),
        await nobody.get("/admin/statics/admin.js"),
        await nobody.post("/admin/login", headers={"sec-fetch-site": "cross-site"}),
        await nobody.post("/admin/login", content=b"x" * 2_000_000),
        await boss.get("/admin/nothing/list"),
        await boss.get("/admin/trades/export.csv"),
    ]
    for answer in answers:
        assert [name for name in HEADERS if name not in answer.headers] == [], answer.url
        assert "unsafe" not in answer.headers["content-security-policy"]
    assert answers[4].status_code == 400
    assert answers[9].status_code == 413
    assert "immutable" in answers[7].headers["cache-control"]
    assert answers[5].headers["cache-control"] == "no-store"


async def test_a_body_that_does_not_say_its_size_is_limited_too(nobody: AsyncClient) -> None:
    async def endless() -> object:
        for _ in range(300):
            yield b"username=" + b"x" * 10_000

    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await nobody.post("/admin/login", content=endless(), headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 413


async def test_a_head_request_never_writes(db: Database, boss: AsyncClient) -> None:
    account = await make_everything(db)
    before = await content(db)
    for path in (
        "/currencies/create",
        "/users/new",
        "/trades/new",
        f"/portfolios/delete/{key_of(account.portfolio)}",
        f"/portfolios/edit/{key_of(account.portfolio)}",
    ):
        assert (await boss.head(f"/admin{path}")).status_code == 200
    assert await content(db) == before


async def test_an_unexpected_error_is_not_explained_to_the_visitor(
    app: Starlette, boss: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "SELECT password_hash FROM identity.users"
    with patch("admin.lists.read_page", side_effect=RuntimeError(secret)):
        answer = await boss.get("/admin/trades/list")
    assert answer.status_code == 500
    assert "Something went wrong. It was logged." in answer.text
    assert secret not in answer.text and "Traceback" not in answer.text
    assert "request failed: GET /admin/trades/list" in caplog.text
    assert not [name for name in HEADERS if name not in answer.headers]


async def test_a_database_that_is_away_is_a_503_without_an_address(
    app: Starlette, boss: AsyncClient
) -> None:
    secret = "the server 10.1.2.3 cannot be reached"
    with patch.object(app.state.site.sign_in, "resume", side_effect=Unavailable(secret)):
        answer = await boss.get("/admin/trades/list")
    assert answer.status_code == 503
    assert "The database cannot be reached" in answer.text and secret not in answer.text
    with patch("admin.app.readiness", side_effect=RuntimeError(secret)):
        broken = await boss.get("/readyz")
    assert (broken.status_code, secret in broken.text) == (500, False)
    for name in HEADERS:
        assert name in answer.headers and name in broken.headers


async def test_health_says_when_the_database_is_away(tmp_path: Path) -> None:
    url = f"postgresql+asyncpg://postgres@/none?host={tmp_path}"
    app = create_app(Settings(connect_timeout=1), url=url)
    async with app.router.lifespan_context(app), browser(app) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["database"]) == (503, "unavailable")
        assert str(tmp_path) not in answer.text
        assert (await client.get("/livez")).status_code == 200
        client.cookies["tradekeep"] = "any"
        away = await client.get("/admin/")
        assert (away.status_code, str(tmp_path) in away.text) == (503, False)


@pytest.mark.parametrize(
    "path",
    [
        "/portfolios/create/x",
        "/portfolios/download/x/y",
        "/portfolios/preview/x/y",
        "/portfolios/import",
        "/portfolios/export/csv",
        "/portfolios/ajax/lookup?name=user&term=a",
        "/portfolios/action/delete?pks=1",
        "/portfolios/delete?pks=1",
    ],
)
async def test_sqladmins_own_routes_are_gone(boss: AsyncClient, path: str) -> None:
    await visit(boss, path, status=404)
    assert (await send(boss, path)).status_code == 404
    assert (
        await boss.delete(f"/admin{path}", headers={"sec-fetch-site": "same-origin"})
    ).status_code == 404


async def test_only_the_statics_are_mounted(app: Starlette) -> None:
    mounts = [route for route in app.state.site.admin.routes if isinstance(route, Mount)]
    assert [mount.path for mount in mounts] == ["/statics"]
