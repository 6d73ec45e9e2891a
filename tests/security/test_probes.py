"""Attacks that succeed on an admin as it comes out of the box, tried on ours.

Each test is named for its probe: U open door, C cookies and sessions, X forged requests, L
guessing, H headers, M mass assignment, T tenants, F files, E exports, I what errors tell, S stored
scripts, D malformed input, N numbers, P imports, O lost updates, B bombs, WS sockets.
"""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from domain.errors import InvalidData, NotFound, RejectedValue, TradekeepError
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.trading.importing.booking import BrokerFile, ImportReport, import_file
from domain.trading.terms import Side
from tests.admin.browsing import Page, key_of, links, send, visit
from tests.admin.conftest import browser, token_of
from tests.admin.records import CANARIES, content
from tests.security.conftest import PASSWORD, House

EVIL = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
SAME_SITE = {"sec-fetch-site": "same-site", "origin": "http://localhost:9"}


def routes(app: Starlette) -> list[Route]:
    return [route for route in app.state.site.admin.routes if isinstance(route, Route)]


def path_of(route: Route, house: House) -> str:
    portfolio = key_of(house.ada.portfolio)
    sample = {"identity": "portfolios", "pk": portfolio, "role": "viewer", "resource": "trades"}
    sample |= {"format": "csv", "tag": "de"}
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: sample[found[1]], route.path)


async def log_in(client: AsyncClient, name: str = "grace", **headers: str) -> Any:
    given = {"sec-fetch-site": "same-origin", **headers}
    data = {"username": name, "password": PASSWORD}
    return await client.post("/admin/login", data=data, headers=given)


async def import_csv(house: House, body: str, *, of: str = "bob") -> ImportReport:
    """Import a file in the plain format into Bob's portfolio, as Bob."""
    head = "date_time,side,symbol,quantity,price,currency,external_id,description\n"
    account = house.bob if of == "bob" else house.ada
    async with house.db.transaction(user=house.bob.user.id) as unit:
        portfolio = await unit.portfolios.get(account.portfolio.id)
        file = BrokerFile("csv", (head + body).encode(), "probe.csv")
        return await import_file(unit, portfolio, file)


# ── U, C: who is let in, and for how long ────────────────────────────────────────────────────────


async def test_u1_no_page_is_open(house: House) -> None:
    for route in routes(house.app):
        if route.path in {"/login", "/login/code", "/forgot", "/reset", "/words/{tag}.js"}:
            continue
        for method in route.methods or ():
            answer = await house.nobody.request(method, f"/admin{path_of(route, house)}")
            assert (answer.status_code, answer.text) == (303, ""), route.path


async def test_c1_the_cookie_tells_nothing_and_travels_over_https_only(house: House) -> None:
    sign_in = house.app.state.site.sign_in
    sign_in.is_https = True
    try:
        async with browser(house.app) as client:
            cookie = (await log_in(client)).headers["set-cookie"]
    finally:
        sign_in.is_https = False
    assert cookie.startswith("__Host-tradekeep=") and "Domain" not in cookie
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part in cookie
    value = cookie.partition("=")[2].partition(";")[0]
    assert re.fullmatch(r"[\w-]{43}", value), "a random token, no content"


async def test_c2_a_cookie_is_worthless_after_logout(house: House) -> None:
    async with browser(house.app) as client:
        await log_in(client)
        kept = client.cookies["tradekeep"]
        await send(client, "/logout")
    async with browser(house.app, cookies={"tradekeep": kept}) as thief:
        assert (await thief.get("/admin/")).status_code == 303


async def test_c3_logout_is_no_link(house: House) -> None:
    async with browser(house.app) as client:
        await log_in(client)
        assert (await client.get("/admin/logout")).status_code == 405
        assert (await client.get("/admin/")).status_code == 200


async def test_c4_nothing_from_before_the_login_survives_it(house: House) -> None:
    planted = "A" * 43
    async with browser(house.app, cookies={"tradekeep": planted}) as client:
        answer = await log_in(client)
        assert planted not in answer.headers["set-cookie"]
    async with browser(house.app, cookies={"tradekeep": planted}) as attacker:
        assert (await attacker.get("/admin/")).status_code == 303


# ── X: requests that other sites cause ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "headers", [EVIL, SAME_SITE, {"origin": "null"}], ids=["x", "same", "null"]
)
async def test_x1_no_write_follows_another_sites_form(
    house: House, headers: dict[str, str]
) -> None:
    for route in routes(house.app):
        if "POST" in (route.methods or ()):
            path = f"/admin{path_of(route, house)}"
            answer = await house.boss.post(path, data={"name": "evil"}, headers=headers)
            assert answer.status_code == 403, path
            assert "another site" in answer.text


async def test_x2_no_get_writes_anything(house: House) -> None:
    await house.boss.get("/admin/")
    before = await content(house.db)
    for route in routes(house.app):
        if "GET" in (route.methods or ()) and route.path != "/live":
            await house.boss.get(f"/admin{path_of(route, house)}")
    after = await content(house.db)
    # That a list was exported is an event of the log.
    assert {name for name, rows in after.items() if rows != before[name]} <= {"audit.entries"}


async def test_x3_nobody_is_logged_in_by_another_site(house: House) -> None:
    for headers in (EVIL, SAME_SITE):
        async with browser(house.app) as client:
            assert (await log_in(client, **headers)).status_code == 403
            assert not client.cookies


# ── L, H: guessing, headers, redirects ───────────────────────────────────────────────────────────


async def test_l1_of_two_hundred_guesses_ten_are_looked_at(house: House) -> None:
    async with browser(house.app) as client:
        statuses = [
            (
                await send(client, "/login", {"username": "ada-or-not", "password": f"guess {n}"})
            ).status_code
            for n in range(30)
        ]
        assert statuses == [401] * 10 + [429] * 20
        await house.app.state.site.sign_in.throttle.aclose()


async def test_h1_a_forged_host_is_refused_everywhere(house: House) -> None:
    for path in ("/", "/livez", "/admin/login", "/admin/trades/list", "/admin/statics/admin.css"):
        answer = await house.boss.get(path, headers={"host": "evil.example"})
        assert answer.status_code == 400 and "evil.example" not in answer.text


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example"])
async def test_h2_a_login_leads_nowhere_else(house: House, target: str) -> None:
    async with browser(house.app) as client:
        answer = await client.post(
            "/admin/login",
            params={"next": target},
            data={"username": "grace", "password": PASSWORD},
        )
    assert answer.headers["location"] == "/admin/"


async def test_h3_every_page_carries_the_headers(house: House) -> None:
    for path in ("/admin/", "/admin/login", "/admin/trades/export.csv", "/nothing"):
        headers = (await house.boss.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy
        for name in ("x-content-type-options", "referrer-policy", "cross-origin-opener-policy"):
            assert name in headers
        assert headers["cache-control"] == "no-store"


# ── M: what forms write ──────────────────────────────────────────────────────────────────────────


async def test_m1_a_users_page_shows_no_hash(house: House) -> None:
    page = await visit(house.viewer, f"/users/details/{house.ada.user.id}")
    assert str(CANARIES["password_hash"]) not in page.html and "argon2" not in page.html


async def test_m2_no_form_gives_a_role_or_a_password(house: House) -> None:
    path = f"/users/edit/{house.ada.user.id}"
    form = (await visit(house.boss, path)).form()
    assert not {"role", "password_hash", "is_active", "id", "last_login_at"} & set(form.values)
    evil = {"role": "admin", "was:role": "trader", "password_hash": "x", "was:password_hash": ""}
    answer = await send(house.boss, path, form.submitted(**evil))
    assert answer.status_code == 303
    async with house.db.read(system="probe") as unit:
        ada = await unit.users.get(house.ada.user.id)
    assert (ada.role, ada.password_hash) == (Role.TRADER, CANARIES["password_hash"])


async def test_m3_readonly_is_the_servers(house: House) -> None:
    record = links(await visit(house.boss, "/trades/list"), "/trades/details/")[0]
    answer = await send(house.boss, record.replace("/details/", "/edit/"), {"price": "1"})
    assert answer.status_code == 405


async def test_m4_fields_that_a_form_lacks_are_ignored(house: House) -> None:
    path = f"/portfolios/edit/{key_of(house.ada.portfolio)}"
    form = (await visit(house.boss, path)).form()
    evil = {"user_id": str(house.bob.user.id), "was:user_id": str(house.ada.user.id)}
    assert (await send(house.boss, path, form.submitted(**evil))).status_code == 303
    async with house.db.read(system="probe") as unit:
        assert (await unit.portfolios.get(house.ada.portfolio.id)).user_id == house.ada.user.id


# ── T: tenants; the database says no, whatever asks ──────────────────────────────────────────────


async def test_t1_another_tenants_row_is_not_read_by_id(house: House) -> None:
    async with house.db.read(user=house.bob.user.id) as unit:
        assert await unit.portfolios.find(house.ada.portfolio.id) is None


async def test_t2_another_tenants_row_is_not_deleted(house: House) -> None:
    async with house.db.transaction(user=house.bob.user.id) as unit:
        statement = text("DELETE FROM trading.portfolios WHERE id = :id")
        gone: Any = await unit.session.execute(statement, {"id": house.ada.portfolio.id})
        assert gone.rowcount == 0


async def test_t3_no_list_of_choices_offers_another_tenants_rows(house: House) -> None:
    async with house.db.read(user=house.bob.user.id) as unit:
        assert {row.user_id for row in await unit.portfolios.all()} == {house.bob.user.id}
        assert [user.id for user in await unit.users.all()] == [house.bob.user.id]


async def test_t4_another_tenants_row_is_not_accepted_as_a_parent(house: House) -> None:
    with pytest.raises(TradekeepError):
        async with house.db.transaction(user=house.bob.user.id) as unit:
            await unit.session.execute(
                text(
                    "INSERT INTO trading.equity_snapshots (user_id, portfolio_id, time, currency,"
                    " equity, cash, position_value) VALUES (:bob, :adas, now(), 'USD', 1, 1, 0)"
                ),
                {"bob": house.bob.user.id, "adas": house.ada.portfolio.id},
            )


async def test_t5_no_distinct_value_of_another_tenant_is_seen(house: House) -> None:
    async with house.db.read(user=house.bob.user.id) as unit:
        found = await unit.session.execute(
            text("SELECT DISTINCT title FROM journal.journal_entries")
        )
        assert list(found) == []


# ── F: files ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ("f1", "/portfolios/{pk}/name/download/"),
        ("f1", "/portfolios/download/{pk}/description"),
        ("f2", "/statics//etc/passwd"),
        ("f3", "/statics/../../pyproject.toml"),
        ("f3", "/statics/%2e%2e/%2e%2e/pyproject.toml"),
        ("f4", "/portfolios/{pk}/description/preview/"),
    ],
)
async def test_f1_f2_f3_f4_no_address_serves_a_file(house: House, probe: str, path: str) -> None:
    answer = await house.boss.get(f"/admin{path.format(pk=house.ada.portfolio.id)}")
    assert answer.status_code == 404, probe
    assert "[project]" not in answer.text and "root:" not in answer.text
    mounts = [route.path for route in house.app.state.site.admin.routes if isinstance(route, Mount)]
    assert mounts == ["/statics"]


# ── E, I: what leaves ────────────────────────────────────────────────────────────────────────────


async def test_e1_an_export_runs_no_formula(house: House) -> None:
    export = (await house.boss.get("/admin/trades/export.csv")).text
    assert "\"'=HYPERLINK(" in export and '"=HYPERLINK' not in export


async def test_e2_amounts_leave_with_every_digit(house: House) -> None:
    export = (await house.boss.get("/admin/trades/export.csv")).text
    assert "10.000000000000000001" in export
    points = await house.boss.get(f"/admin/charts/equity/{key_of(house.ada.portfolio)}")
    assert not re.search(r"[0-9]\.[0-9]+[,\]}]", points.text), "amounts are texts"


async def test_e3_json_holds_no_number_that_json_lacks(house: House) -> None:
    points = await house.boss.get(f"/admin/charts/equity/{key_of(house.ada.portfolio)}")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(points.text, parse_constant=refuse)


async def test_i1_an_error_shows_neither_sql_nor_values(house: House) -> None:
    form = (await visit(house.boss, "/instruments/create")).form()
    answer = await send(house.boss, "/instruments/create", form.submitted(symbol="A" * 5_000))
    assert answer.status_code == 422
    for word in ("INSERT", "SELECT", "sqlalchemy", "asyncpg", "Traceback", "CHECK ("):
        assert word not in answer.text


async def test_i2_a_refused_deletion_puts_nothing_into_the_address(house: House) -> None:
    answer = await send(house.boss, f"/portfolios/delete/{key_of(house.ada.portfolio)}")
    assert answer.status_code == 409 and "location" not in answer.headers
    assert "DELETE" not in answer.text


async def test_i3_no_parameter_puts_words_on_a_page(house: House) -> None:
    for path in ("/", "/login", "/trades/list", f"/portfolios/edit/{key_of(house.ada.portfolio)}"):
        answer = await house.boss.get(f"/admin{path}?error=Call+0900-EVIL&message=Call+0900-EVIL")
        assert "0900-EVIL" not in Page(answer.text).text, path


# ── S, D, N: what is put in ──────────────────────────────────────────────────────────────────────


async def test_s1_s2_stored_scripts_are_text(house: House) -> None:
    paths = (
        "/imports/list",
        "/alerts/list",
        "/articles/list",
        f"/users/details/{house.ada.user.id}",
    )
    pages = [await visit(house.boss, path) for path in paths]
    for page in pages:
        assert "<script>alert" not in page.html and "<b>Lovelace" not in page.html
        assert page.inline == []


@pytest.mark.parametrize(
    "path",
    [
        "/trades/details/abc",
        "/trades/details/%00",
        "/outbox/details/99999999999999999999999999",
        "/trades/list?after=%00&portfolio_id=%00",
        "/trades/list?q=%00",
        "/trades/list?from=9999-99-99",
        "/trades/list?after=e30",
        "/portfolio/%F0%9F%92%A3",
        "/instruments/lookup?q=%25%25%25",
        "/users/delete/",
    ],
)
async def test_d_malformed_addresses_are_no_server_errors(house: House, path: str) -> None:
    answer = await house.boss.get(f"/admin{path}")
    assert answer.status_code < 500, answer.text[:300]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-inf", "1e5000", "1e131072", "\uff11\uff12\uff13", "1_000"]
)
async def test_n_numbers_that_are_none_are_refused(house: House, number: str) -> None:
    form = (await visit(house.boss, "/instruments/create")).form()
    data = form.submitted(symbol="PROBE", tick_size=number)
    answer = await send(house.boss, "/instruments/create", data)
    assert answer.status_code == 422, Page(answer.text).text
    with pytest.raises((InvalidData, RejectedValue)):
        await house.bob.trade(Side.BUY, "1", "1", commission=Decimal("NaN"))


# ── P: imports ───────────────────────────────────────────────────────────────────────────────────


async def test_p1_the_same_file_twice_books_once(house: House) -> None:
    row = "2024-01-02T15:00:00Z,buy,AAPL,10,187.30,USD,p1,first\n"
    first, second = await import_csv(house, row), await import_csv(house, row)
    assert (first.rows_new, second.rows_new, second.rows_duplicate) == (1, 0, 1)


async def test_p3_p4_quoted_lines_and_odd_separators_stay_whole_or_are_reported(
    house: House,
) -> None:
    whole = 'one\u2028two\u2029; "quoted", ünï'
    quoted = whole.replace('"', '""')
    row = '2024-01-03T15:00:00Z,buy,AAPL,1,187.30,USD,{},"{}"\n'
    report = await import_csv(house, row.format("p3", quoted) + row.format("p4", "a\x0bb\x85c"))
    assert (report.rows_total, report.rows_new, report.rows_rejected) == (2, 1, 1)
    assert report.rejected[0].column == "description"
    async with house.db.read(user=house.bob.user.id) as unit:
        texts = [trade.description for trade in await unit.trades.all()]
    assert whole in texts


async def test_p5_no_import_lands_in_another_tenants_portfolio(house: House) -> None:
    with pytest.raises(NotFound):
        await import_csv(house, "2024-01-02T15:00:00Z,buy,AAPL,1,1,USD,p5,x\n", of="ada")


# ── O, B, WS ─────────────────────────────────────────────────────────────────────────────────────


async def test_o1_a_second_editor_overwrites_nothing_unseen(house: House) -> None:
    path = f"/portfolios/edit/{key_of(house.bob.portfolio)}"
    mine, theirs = [(await visit(client, path)).form() for client in (house.boss, house.manager)]
    await send(house.manager, path, theirs.submitted(description="theirs"))
    answer = await send(house.boss, path, mine.submitted(description="mine"))
    assert answer.status_code == 409 and "theirs" in answer.text
    async with house.db.read(system="probe") as unit:
        assert (await unit.portfolios.get(house.bob.portfolio.id)).description == "theirs"


async def test_b1_a_large_body_is_refused_before_it_is_read(house: House) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        for _ in range(1_000):
            read += 100_000
            yield b"x" * 100_000

    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await house.boss.post("/admin/login", content=endless(), headers=headers)
    assert answer.status_code == 413 and read < 5_000_000


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("http://localhost:9", 403)]
)
async def test_ws_another_sites_socket_is_refused(house: House, origin: str, status: int) -> None:
    token = await token_of(house.db, "grace", Role.ADMIN)
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "websocket",
        "path": "/ws",
        "raw_path": b"/ws",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"origin", origin.encode()),
            (b"cookie", f"tradekeep={token}".encode()),
        ],
        "scheme": "ws",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def note(message: Any) -> None:
        sent.append(dict(message))

    await house.app(scope, receive, note)
    assert sent[0]["type"] == "websocket.http.response.start"
    assert sent[0]["status"] == status


async def test_u_a_user_comes_without_a_password_that_somebody_knows(house: House) -> None:
    async with house.db.transaction(system="probe") as unit:
        made = await create_user(unit, "without")
    assert made.password_hash is None
