"""One's own account: password, second step, logins, keys, wishes; and the way back in."""

import asyncio
import email
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from email import policy
from unittest.mock import patch

import pytest
from httpx2 import ASGITransport, AsyncClient, Response
from pydantic import SecretStr
from starlette.applications import Starlette

from admin import signing_in
from admin.app import create_app
from domain import Database
from domain.clock import now
from domain.identity import one_time, second_factors, tickets
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.settings import Settings
from tests.admin.browsing import Page, key_of, send, visit
from tests.admin.conftest import browser, user_named
from tests.messaging.servers import SmtpServer, smtp_server

MOMENT = now()
PASSWORD = "correct horse battery staple"
OTHER = "staple battery horse correct"
KEYS = "k1:" + "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are judged at one instant: no test may sit on the edge of a step."""
    monkeypatch.setattr(second_factors, "now", lambda: MOMENT)


@pytest.fixture
async def post() -> AsyncIterator[SmtpServer]:
    async with smtp_server() as made:
        yield made


@pytest.fixture
async def app(migrated_database: str, post: SmtpServer) -> AsyncIterator[Starlette]:
    settings = Settings(
        statement_timeout=20,
        pool_size=4,
        encryption_keys=SecretStr(KEYS),
        smtp_url=SecretStr(f"smtp://127.0.0.1:{post.port}"),
        mail_from="desk@example.com",
        trusted_proxies=("10.0.0.0/8",),
    )
    application = create_app(settings, url=migrated_database)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def ada(app: Starlette, db: Database) -> AsyncIterator[AsyncClient]:
    """Somebody who logged in with a password."""
    async with db.transaction(system="test") as unit:
        await create_user(unit, "ada", password=PASSWORD, role=Role.VIEWER)
    async with browser(app) as client:
        assert (await log_in(client, "ada")).status_code == 303
        yield client


async def log_in(client: AsyncClient, name: str, password: str = PASSWORD) -> Response:
    return await send(client, "/login", {"username": name, "password": password})


def code_of(secret: str, *, steps: int = 0) -> str:
    return one_time.code_at(secret, one_time.step_of(MOMENT) + steps)


async def enrol(client: AsyncClient) -> tuple[str, list[str]]:
    """Add a second step with the code of the step before this one."""
    page = await visit(client, "/account/second-step")
    (secret,) = re.findall(r"((?:[A-Z2-7]{4} ){7}[A-Z2-7]{4})", page.text)
    secret = secret.replace(" ", "")
    shown = await send(client, "/account/second-step", {"code": code_of(secret, steps=-1)})
    codes = re.findall(r"(?:[0-9A-Z]{4}-){5}[0-9A-Z]{4}", shown.text)
    assert shown.status_code == 200 and len(codes) == 10, Page(shown.text).text
    return secret, codes


# ── password and logins ──────────────────────────────────────────────────────────────────────────


async def test_a_new_password_needs_the_present_one_and_ends_every_other_login(
    app: Starlette, ada: AsyncClient
) -> None:
    async with browser(app) as elsewhere:
        await log_in(elsewhere, "ada")
        for present, new, words in (
            ("wrong password!", OTHER, "not your present password"),
            (PASSWORD, "short", "12 to 256 characters"),
        ):
            refused = await send(ada, "/account/password", {"present": present, "password": new})
            assert refused.status_code == 422 and words in Page(refused.text).text
        before = ada.cookies["tradekeep"]
        changed = await send(ada, "/account/password", {"present": PASSWORD, "password": OTHER})
        assert changed.status_code == 303
        assert ada.cookies["tradekeep"] != before, "the token rotates"
        assert (await ada.get("/admin/account")).status_code == 200
        assert (await elsewhere.get("/admin/account")).status_code == 303
        async with browser(app, cookies={"tradekeep": before}) as thief:
            assert (await thief.get("/admin/account")).status_code == 303
        assert (await log_in(elsewhere, "ada")).status_code == 401
        assert (await log_in(elsewhere, "ada", OTHER)).status_code == 303


async def test_people_see_their_own_logins_and_end_them(
    app: Starlette, db: Database, ada: AsyncClient
) -> None:
    async with browser(app, headers={"user-agent": "Other browser"}) as elsewhere:
        await log_in(elsewhere, "ada")
        page = await visit(ada, "/account")
        assert "Other browser" in page.text and page.text.count("this one") == 1
        async with db.transaction(system="test") as unit:
            await create_user(unit, "eve", password=PASSWORD, role=Role.VIEWER)
        async with browser(app) as eve:
            await log_in(eve, "eve")
            (path,) = [
                form.action.removeprefix("/admin")
                for form in page.forms
                if re.search(r"sessions/[0-9a-f-]{36}/revoke", form.action)
            ]
            assert (await send(eve, path)).status_code == 404, "nobody ends another's login"
        assert (await elsewhere.get("/admin/")).status_code == 200
        await send(ada, path)
        assert (await elsewhere.get("/admin/")).status_code == 303
        await log_in(elsewhere, "ada")
        await send(ada, "/account/sessions/revoke-others")
        assert (await elsewhere.get("/admin/")).status_code == 303
        assert (await ada.get("/admin/")).status_code == 200


async def test_the_time_zone_and_the_theme_are_kept_with_the_account(
    db: Database, ada: AsyncClient
) -> None:
    refused = await send(ada, "/account/wishes", {"timezone": "Mars/Olympus", "theme": "dark"})
    assert refused.status_code == 422 and "Europe/Berlin" in refused.text
    await send(ada, "/account/wishes", {"timezone": "Asia/Tokyo", "theme": "dark"})
    page = await visit(ada, "/account")
    assert 'data-theme="dark"' in page.html
    assert (await user_named(db, "ada")).timezone == "Asia/Tokyo"
    await send(ada, "/account/wishes", {"timezone": "UTC", "theme": "pink"})
    assert "data-theme=" not in (await visit(ada, "/account")).html


# ── the second step ──────────────────────────────────────────────────────────────────────────────


async def test_with_a_second_step_the_password_alone_opens_nothing(
    app: Starlette, db: Database, ada: AsyncClient
) -> None:
    secret, codes = await enrol(ada)
    async with browser(app) as client:
        first = await send(
            client, "/login?next=/admin/trades/list", {"username": "ada", "password": PASSWORD}
        )
        assert first.headers["location"] == "/admin/login/code?next=%2Fadmin%2Ftrades%2Flist" or (
            first.headers["location"] == "/admin/login/code?next=/admin/trades/list"
        )
        assert "tradekeep" not in client.cookies
        half = client.cookies["tradekeep-step"]
        async with browser(app, cookies={"tradekeep": half}) as thief:
            assert (await thief.get("/admin/")).status_code == 303, "half a login is no session"
        form = Page((await client.get(first.headers["location"])).text).form()
        wrong = await send(client, form.action.removeprefix("/admin"), {"code": "abcdef"})
        assert wrong.status_code == 401 and "wrong" in Page(wrong.text).text
        late = await send(client, "/login/code", {"code": code_of(secret, steps=-9)})
        assert "clock of your authenticator" in Page(late.text).text
        right = await send(client, form.action.removeprefix("/admin"), {"code": code_of(secret)})
        assert right.headers["location"] == "/admin/trades/list"
        assert (await client.get("/admin/")).status_code == 200
    async with browser(app, cookies={"tradekeep-step": half}) as replay:
        again = await send(replay, "/login/code", {"code": codes[0]})
        assert again.status_code == 401 and "Log in again" in Page(again.text).text
    async with browser(app) as client:
        await log_in(client, "ada")
        used = await send(client, "/login/code", {"code": code_of(secret)})
        assert "used already" in Page(used.text).text
        assert (await send(client, "/login/code", {"code": codes[0]})).status_code == 303


async def test_codes_are_not_guessed_and_the_half_login_ends(
    app: Starlette, ada: AsyncClient
) -> None:
    secret, codes = await enrol(ada)
    async with browser(app) as client:
        await log_in(client, "ada")
        for _ in range(5):
            assert (await send(client, "/login/code", {"code": "abcdef"})).status_code == 401
        slowed = await send(client, "/login/code", {"code": code_of(secret)})
        assert slowed.status_code == 429 and 0 < int(slowed.headers["retry-after"]) <= 301
    async with browser(app) as client:
        await log_in(client, "ada")
        with patch.object(tickets, "now", lambda: now() + timedelta(minutes=6)):
            ended = await send(client, "/login/code", {"code": codes[0]})
        assert ended.status_code == 401 and "took too long" in Page(ended.text).text


async def test_recovery_codes_are_shown_once_and_renewed(ada: AsyncClient) -> None:
    _, codes = await enrol(ada)
    page = await visit(ada, "/account")
    assert "10 recovery codes are left" in page.text
    assert not [code for code in codes if code in page.html]
    fresh = await send(ada, "/account/recovery-codes")
    assert len(re.findall(r"(?:[0-9A-Z]{4}-){5}[0-9A-Z]{4}", fresh.text)) == 10
    await send(ada, "/account/second-step/remove")
    assert "Add a second step" in (await visit(ada, "/account")).text
    assert (await send(ada, "/account/recovery-codes")).status_code == 303


async def test_adding_a_second_step_ends_logins_that_were_made_without(
    app: Starlette, ada: AsyncClient
) -> None:
    async with browser(app) as elsewhere:
        await log_in(elsewhere, "ada")
        await enrol(ada)
        assert (await elsewhere.get("/admin/")).status_code == 303
        assert (await ada.get("/admin/")).status_code == 200


async def test_an_administrator_forgets_the_authenticator_of_who_lost_it(
    app: Starlette, db: Database, ada: AsyncClient
) -> None:
    await enrol(ada)
    async with db.transaction(system="test") as unit:
        await create_user(unit, "boss", password=PASSWORD, role=Role.ADMIN)
    ada_id = key_of(await user_named(db, "ada"))
    async with browser(app) as boss:
        await log_in(boss, "boss")
        assert (await send(boss, f"/users/{ada_id}/second-step")).status_code == 303
    assert (await ada.get("/admin/")).status_code == 303, "their logins end"
    assert (await log_in(ada, "ada")).headers["location"] == "/admin/"


async def test_without_encryption_keys_the_page_says_what_is_missing(
    migrated_database: str, db: Database
) -> None:
    application = create_app(Settings(), url=migrated_database)
    async with db.transaction(system="test") as unit:
        await create_user(unit, "ada", password=PASSWORD, role=Role.VIEWER)
    async with application.router.lifespan_context(application), browser(application) as client:
        await log_in(client, "ada")
        page = await visit(client, "/account/second-step", status=503)
        assert "TRADEKEEP_ENCRYPTION_KEYS" in page.text


# ── dangerous things ask again ───────────────────────────────────────────────────────────────────


async def test_after_ten_minutes_dangerous_pages_ask_for_the_password_once_more(
    ada: AsyncClient,
) -> None:
    with patch.object(signing_in, "SURE_FOR", timedelta(0)):
        asked = await ada.get("/admin/account/keys/new")
        assert asked.headers["location"] == "/admin/account/confirm?next=/admin/account/keys/new"
        refused = await send(ada, "/account/keys/new", {"name": "bot"})
        assert refused.headers["location"].startswith("/admin/account/confirm?next=")
    wrong = await send(ada, "/account/confirm", {"password": "wrong password!"})
    assert wrong.status_code == 401 and "not your password" in Page(wrong.text).text
    before = ada.cookies["tradekeep"]
    path = asked.headers["location"].removeprefix("/admin")
    sure = await send(ada, path, {"password": PASSWORD})
    assert sure.headers["location"] == "/admin/account/keys/new"
    assert ada.cookies["tradekeep"] != before
    await visit(ada, "/account/keys/new")
    evil = await send(ada, "/account/confirm?next=//evil.example", {"password": PASSWORD})
    assert evil.headers["location"] == "/admin/account"


async def test_a_key_is_shown_once_and_revoked_by_its_owner_alone(
    app: Starlette, db: Database, ada: AsyncClient
) -> None:
    made = await send(ada, "/account/keys/new", {"name": "bot", "expires": "2099-12-31"})
    (secret,) = re.findall(r"tk_[\w-]{43}", made.text)
    page = await visit(ada, "/account")
    assert "bot" in page.text and "read only" in page.text and secret not in page.html
    async with db.read(system="test") as unit:
        (key,) = await unit.api_keys.all()
    for data, words in (
        ({"name": "bot"}, "of this name already"),
        ({"name": ""}, "1 to 100 characters"),
        ({"name": "x", "expires": "2020-01-01"}, "lie in the future"),
        ({"name": "x", "expires": "tomorrow"}, "be a day"),
    ):
        refused = await send(ada, "/account/keys/new", data)
        assert refused.status_code == 422 and words in Page(refused.text).text
    async with db.transaction(system="test") as unit:
        await create_user(unit, "eve", password=PASSWORD, role=Role.ADMIN)
    async with browser(app) as eve:
        await log_in(eve, "eve")
        assert (await send(eve, f"/account/keys/{key.id}/revoke")).status_code == 404
    await send(ada, f"/account/keys/{key.id}/revoke")
    assert "revoked" in (await visit(ada, "/account")).text


# ── the way back in ──────────────────────────────────────────────────────────────────────────────


def link_in(mail: bytes) -> str:
    text = email.message_from_bytes(mail, policy=policy.default).get_content()
    (link,) = re.findall(r"http://localhost/admin(/reset\?token=[\w-]+)", text)
    return str(link)


async def test_a_forgotten_password_is_mailed_a_link_and_every_name_is_answered_alike(
    app: Starlette, db: Database, ada: AsyncClient, post: SmtpServer
) -> None:
    async with db.transaction(system="test") as unit:
        (await unit.users.named("ada")).email = "ada@example.com"
        await create_user(unit, "mute", password=PASSWORD, role=Role.VIEWER)
    async with browser(app) as client:
        answers = [
            await send(client, "/forgot", {"username": name})
            for name in ("ada", "mute", "stranger", "\x00", "x" * 9_000)
        ]
        assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
        for _ in range(200):
            if post.mails:
                break
            await asyncio.sleep(0.02)
        (mail,) = post.mails
        assert b"To: ada@example.com" in mail
        path = link_in(mail)
        token = path.partition("=")[2]
        short = await send(client, "/reset", {"token": token, "password": "short"})
        assert short.status_code == 422 and token in short.text, "the link stays good"
        done = await send(client, "/reset", {"token": token, "password": OTHER})
        assert done.headers["location"] == "/admin/login"
        assert (await ada.get("/admin/")).status_code == 303, "every login ends"
        for again in (await client.get(f"/admin{path}"), await send(client, path)):
            assert again.status_code == 410 and "not good any more" in Page(again.text).text
        assert (await log_in(client, "ada", OTHER)).status_code == 303
    async with db.read(system="test") as unit:
        notices = await unit.notifications.all()
    assert not [notice for notice in notices if token in notice.body], "no stored notice has it"


async def test_a_reset_is_asked_for_five_times_a_day(app: Starlette, ada: AsyncClient) -> None:
    async with browser(app) as client:
        statuses = [
            (await send(client, "/forgot", {"username": "ada"})).status_code for _ in range(6)
        ]
    assert statuses == [200] * 5 + [429]


async def test_an_administrator_starts_a_reset_and_sees_no_link_that_was_mailed(
    app: Starlette, db: Database, ada: AsyncClient, post: SmtpServer
) -> None:
    async with db.transaction(system="test") as unit:
        await create_user(unit, "boss", password=PASSWORD, role=Role.ADMIN)
    path = f"/users/{key_of(await user_named(db, 'ada'))}/reset"
    async with browser(app) as boss:
        await log_in(boss, "boss")
        shown = await send(boss, path)
        (first,) = re.findall(r"/reset\?token=[\w-]+", shown.text)
        async with db.transaction(system="test") as unit:
            (await unit.users.named("ada")).email = "ada@example.com"
        mailed = await send(boss, path)
        assert "token=" not in mailed.text and "was mailed" in Page(mailed.text).text
        assert (await boss.get(f"/admin{first}")).status_code == 410, "the newest link counts"
    async with db.transaction(system="test") as unit:
        (await unit.users.named("ada")).is_active = False
    assert (await ada.get(f"/admin{link_in(post.mails[0])}")).status_code == 410


# ── where they come from ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("peer", "seen"), [("10.1.2.3", "203.0.113.9"), ("198.51.100.7", "198.51.100.7")]
)
async def test_only_a_trusted_proxy_says_where_a_visitor_comes_from(
    app: Starlette, db: Database, ada: AsyncClient, peer: str, seen: str
) -> None:
    transport = ASGITransport(app, client=(peer, 1234))
    forged = {"x-forwarded-for": "192.0.2.1, 203.0.113.9"}
    async with AsyncClient(
        transport=transport, base_url="http://localhost", headers=forged
    ) as client:
        await log_in(client, "ada")
    async with db.read(system="test") as unit:
        newest = max(await unit.user_sessions.all(), key=lambda session: session.issued_at)
    assert newest.ip == seen
