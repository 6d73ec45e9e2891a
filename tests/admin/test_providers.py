"""Logging in with an account at an identity provider, and every way to cheat at it."""

import builtins
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest
from httpx2 import AsyncClient
from starlette.applications import Starlette

from admin.app import create_app
from domain import Database
from domain.clock import now
from domain.errors import ConfigurationError
from domain.identity import linking as oidc_linking
from domain.identity import oidc
from domain.identity.models import Role, SecondFactor
from domain.identity.oidc import Flow
from domain.ops.deploying import check_settings
from domain.settings import Settings
from tests.admin.browsing import Page, send, visit
from tests.admin.conftest import browser, token_of, user_named
from tests.identity.provider import CLIENT, SECRET, IdentityProvider, serving

COOKIE = "tradekeep-oidc"
CALLBACK = "http://localhost/admin/login/oidc/callback"
UNKNOWN = "opens nothing here yet"
FAILED = "did not work"


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[IdentityProvider]:
    found = IdentityProvider()
    async with serving(found):
        yield found


@pytest.fixture
def provider(running: IdentityProvider) -> IdentityProvider:
    running.forget()
    return running


def settings_for(provider: IdentityProvider, **more: Any) -> Settings:
    return Settings(
        pool_size=2,
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
        oidc_redirect_uri=CALLBACK,
        oidc_name="Example",
        **more,
    )


@pytest.fixture
async def desk(
    provider: IdentityProvider, migrated_database: str, request: pytest.FixtureRequest
) -> AsyncIterator[Starlette]:
    more = getattr(request, "param", {})
    application = create_app(settings_for(provider, **more), url=migrated_database)
    async with application.router.lifespan_context(application):
        yield application


async def go(client: AsyncClient, provider: IdentityProvider, target: str = "") -> str:
    """Begin to log in and return with what address the provider sends the browser back."""
    begun = await client.get(f"/admin/login/oidc{f'?next={target}' if target else ''}")
    assert begun.status_code == 303, begun.text
    return await provider.consent(begun.headers["location"])


async def link(db: Database, username: str, subject: str, issuer: str, role: Role) -> None:
    await token_of(db, username, role)
    async with db.transaction(system="test") as unit:
        user = await unit.users.named(username)
        identity = oidc.Identity(issuer, subject, "ada@example.com")
        await oidc_linking.link_identity(unit, user.id, identity, by="test")


async def is_in(client: AsyncClient) -> bool:
    return (await client.get("/admin/account")).status_code == 200


# ── how it should be ─────────────────────────────────────────────────────────────────────────────


async def test_people_link_their_account_and_log_in_with_it_from_then_on(
    desk: Starlette, db: Database, provider: IdentityProvider
) -> None:
    token = await token_of(db, "ada", Role.MANAGER)
    async with browser(desk, cookies={"tradekeep": token}) as inside:
        assert "Link an account of Example" in (await visit(inside, "/account")).text
        page = Page((await send(inside, "/account/provider/link")).text)
        (address,) = [item for item in page.addresses if item.startswith(provider.issuer)]
        done = await inside.get(await provider.consent(address))
        assert done.headers["location"] == "/admin/account?done=linked"
        assert "ada@example.com" in (await visit(inside, "/account?done=linked")).text
    async with browser(desk) as client:
        assert "Continue with Example" in (await visit(client, "/login")).text
        back = await go(client, provider, "/admin/trades/list")
        answer = await client.get(back)
        assert answer.headers["location"] == "/admin/trades/list"
        assert await is_in(client)
        assert COOKIE not in client.cookies, "the flow is over"
        cookies = [*answer.headers.get_list("set-cookie")]
        assert all("HttpOnly" in text and "ame" in text for text in cookies if "tradekeep=" in text)
    async with db.read(system="test") as unit:
        (kept,) = await unit.external_identities.all()
        actions = {entry.action for entry in await unit.audit_entries.all()}
    assert (kept.issuer, kept.subject, kept.linked_by) == (provider.issuer, "abc-1", "ada")
    assert kept.last_used_at is not None and {"login", "identity-linked"} <= actions
    async with browser(desk, cookies={"tradekeep": token}) as inside:
        await send(inside, f"/account/provider/{kept.id}/remove")
    async with browser(desk) as client:
        assert UNKNOWN in (await client.get(await go(client, provider))).text


async def test_an_administrator_links_an_account_and_nobody_is_found_by_an_email(
    desk: Starlette, db: Database, provider: IdentityProvider
) -> None:
    await token_of(db, "ada", Role.VIEWER)
    async with db.transaction(system="test") as unit:
        (await unit.users.named("ada")).email = "ada@example.com"
    async with browser(desk) as client:
        answer = await client.get(await go(client, provider))
        assert answer.status_code == 401 and UNKNOWN in answer.text and not await is_in(client)
    ada = await user_named(db, "ada")
    boss = await token_of(db, "boss", Role.ADMIN)
    async with browser(desk, cookies={"tradekeep": boss}) as inside:
        assert "Id at Example" in (await visit(inside, f"/users/details/{ada.id}")).text
        path = f"/users/{ada.id}/provider"
        assert (await send(inside, path, {"subject": " "})).status_code == 422
        assert (await send(inside, path, {"subject": "abc-1"})).status_code == 303
        assert (await send(inside, path, {"subject": "abc-1"})).status_code == 409
    async with browser(desk) as client:
        assert (await client.get(await go(client, provider))).status_code == 303
        assert await is_in(client)
    manager = await token_of(db, "grace", Role.MANAGER)
    async with browser(desk, cookies={"tradekeep": manager}) as inside:
        assert (await send(inside, path, {"subject": "xyz"})).status_code == 403


async def test_keys_that_are_changed_are_asked_for_again(
    desk: Starlette, db: Database, provider: IdentityProvider
) -> None:
    await link(db, "ada", "abc-1", provider.issuer, Role.VIEWER)
    kept = desk.state.site.sign_in.provider._keys
    async with browser(desk) as client:
        await client.get(await go(client, provider))
        assert await is_in(client)
        provider.rotate()
        assert FAILED in (await client.get(await go(client, provider))).text, (
            "at most once a minute"
        )
        kept = desk.state.site.sign_in.provider._keys
        kept.asked_at -= 61
        assert (await client.get(await go(client, provider))).status_code == 303
    assert provider.asked.count("keys") == 2 and provider.asked.count("description") == 1


@pytest.mark.parametrize("desk", [{"oidc_create_domains": "example.com"}], indirect=True)
async def test_accounts_are_made_for_verified_emails_of_named_domains_only(
    desk: Starlette, db: Database, provider: IdentityProvider
) -> None:
    await token_of(db, "eve", Role.ADMIN)
    async with db.transaction(system="test") as unit:
        (await unit.users.named("eve")).email = "eve@example.com"
    tries: list[tuple[dict[str, Any], bool]] = [
        ({"sub": "1", "email_verified": False}, False),
        ({"sub": "2", "email_verified": "true"}, False),
        ({"sub": "3", "email": "x@badexample.com"}, False),
        ({"sub": "4", "email": "x@example.com@evil.example"}, False),
        ({"sub": "5", "email": "Eve@example.com"}, False),
        ({"sub": "6", "email": None}, False),
        ({"sub": "7", "email": "Eve@EXAMPLE.com", "email_verified": False}, False),
        ({"sub": "8"}, True),
        ({"sub": "9", "email": "ada@mail.example.com"}, False),
    ]
    for person, is_made in tries:
        provider.person = {"email": "Ada@Example.com", "email_verified": True, **person}
        async with browser(desk) as client:
            answer = await client.get(await go(client, provider))
            assert (answer.status_code == 303) is is_made, person
            assert await is_in(client) is is_made
    ada = await user_named(db, "ada")
    assert (ada.role, ada.email, ada.password_hash) == (Role.VIEWER, "ada@example.com", None)
    async with db.transaction(system="test") as unit:
        (await unit.users.named("ada")).is_active = False
    provider.person = {"sub": "8", "email": "new@example.com", "email_verified": True}
    async with browser(desk) as client:
        assert UNKNOWN in (await client.get(await go(client, provider))).text, "locked stays locked"
    provider.person, provider.in_userinfo = {"sub": "10"}, {"sub": "10", "email": "bob@example.com"}
    provider.in_userinfo["email_verified"] = True
    desk.state.site.sign_in.provider._metadata.asked_at -= 4_000
    async with browser(desk) as client:
        assert (await client.get(await go(client, provider))).status_code == 303
        provider.person = {"sub": "11"}
        assert FAILED in (await client.get(await go(client, provider))).text, "told of another one"


@pytest.mark.parametrize(
    ("desk", "counts"), [({}, False), ({"oidc_second_step_counts": True}, True)], indirect=["desk"]
)
async def test_a_second_step_here_is_asked_unless_the_providers_counts(
    desk: Starlette, db: Database, provider: IdentityProvider, *, counts: bool
) -> None:
    await link(db, "ada", "abc-1", provider.issuer, Role.VIEWER)
    async with db.transaction(system="test") as unit:
        user = await unit.users.named("ada")
        unit.second_factors.add(
            SecondFactor(user_id=user.id, secret_enc=b"x", key_id="k", confirmed_at=now())
        )
    for amr, is_asked in (([], True), (["pwd"], True), (["pwd", "mfa"], not counts)):
        provider.person["amr"] = amr
        async with browser(desk) as client:
            answer = await client.get(await go(client, provider, "/admin/race"))
            assert ("/login/code?next=" in answer.headers["location"]) is is_asked, amr
            assert await is_in(client) is not is_asked


# ── attacks ──────────────────────────────────────────────────────────────────────────────────────

LIES = {
    "another nonce": {"nonce": "guessed"},
    "no nonce": {"nonce": None},
    "for another client": {"aud": "other"},
    "for several, given to another": {"aud": [CLIENT, "other"], "azp": "other"},
    "for several, given to nobody": {"aud": [CLIENT, "other"]},
    "of another issuer": {"iss": "https://evil.example"},
    "expired": {"exp": int(time.time()) - 61},
    "endless": {"exp": None},
    "never begun": {"iat": None},
    "of the future": {"iat": int(time.time()) + 3_600},
    "not yet": {"nbf": int(time.time()) + 3_600},
    "with another access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    "of nobody": {"sub": ""},
    "of a number": {"sub": 7},
    "with a boolean for a time": {"exp": True},
}


async def test_tokens_that_are_not_exactly_right_open_nothing(
    desk: Starlette, db: Database, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    await link(db, "ada", "abc-1", provider.issuer, Role.ADMIN)
    desk.state.site.sign_in.throttle = Patient()
    caplog.set_level(logging.DEBUG)
    for lie, changes in LIES.items():
        provider.twist = lambda claims, changes=changes: claims.update(changes)
        async with browser(desk) as client:
            answer = await client.get(await go(client, provider))
            assert answer.status_code == 401 and FAILED in answer.text, lie
            assert not await is_in(client) and "token" not in Page(answer.text).text, lie
    provider.twist = dict
    for sign in (
        provider.unsigned,
        provider.signed_with_the_public_key,
        provider.signed_by_somebody_else,
        lambda _: "not.a.token",
        lambda _: "",
    ):
        provider.sign = sign
        async with browser(desk) as client:
            assert FAILED in (await client.get(await go(client, provider))).text, sign
            assert not await is_in(client)
    reasons = {record.getMessage() for record in caplog.records if "refused" in record.getMessage()}
    assert len(reasons) >= 10
    assert not [text for text in caplog.messages if SECRET in text or "eyJ" in text]


async def test_answers_of_other_browsers_providers_and_times_open_nothing(
    desk: Starlette, db: Database, provider: IdentityProvider
) -> None:
    await link(db, "ada", "abc-1", provider.issuer, Role.ADMIN)
    desk.state.site.sign_in.throttle = Patient()
    async with browser(desk) as victim, browser(desk) as attacker:
        back = await go(attacker, provider)
        for client in (victim,):
            assert FAILED in (await client.get(back)).text, "without a flow of one's own"
            await go(client, provider)
            assert FAILED in (await client.get(back)).text, "the state is another browser's"
            assert not await is_in(client)
        kept = attacker.cookies[COOKIE]
        assert (await attacker.get(back)).status_code == 303
        attacker.cookies.clear()
        attacker.cookies[COOKIE] = kept
        assert FAILED in (await attacker.get(back)).text, "a code is good once"
        assert not await is_in(attacker)

        back = await go(victim, provider)
        assert FAILED in (await victim.get(f"{back}&iss=https://evil.example")).text
        back = await go(victim, provider)
        for path in (back.partition("&")[0], f"{back.partition('?')[0]}?error=access_denied",
                     back.replace("code=", "kode=")):  # fmt: skip
            assert FAILED in (await victim.get(path)).text
        provider.answer = {"iss": provider.issuer}
        back = await go(victim, provider)
        with patch.object(oidc, "now", lambda: now() + timedelta(minutes=11)):
            assert FAILED in (await victim.get(back)).text, "too late"
        assert (await victim.get(await go(victim, provider))).status_code == 303


async def test_a_flow_that_was_tampered_with_is_none_and_leads_to_no_other_site(
    desk: Starlette, db: Database, provider: IdentityProvider
) -> None:
    await link(db, "ada", "abc-1", provider.issuer, Role.ADMIN)
    async with browser(desk) as client:
        for target in ("https://evil.example", "//evil.example", "/\\evil.example"):
            answer = await client.get(await go(client, provider, target))
            assert answer.headers["location"] == "/admin/"
    flow = Flow.begin("login", "/admin/race")
    assert (flow.purpose, flow.target, flow.is_live) == ("login", "/admin/race", True)
    begun, random, *rest = flow.cookie.split(".")
    later = Flow(".".join([str(int(begun) + 900), random, *rest]))
    linking = Flow(flow.cookie.replace("login", "link"))
    assert len({item.state for item in (flow, later, linking)}) == 3
    assert len({flow.state, flow.nonce, flow.verifier, flow.challenge}) == 4
    for cookie in ("", "x", "1.2.3", "9" * 400, "\u0661.x.login.", f"{begun}.short.login."):
        assert not (Flow(cookie).is_live and Flow(cookie).purpose), cookie


async def test_linking_needs_whoever_began_it_and_who_is_sure(
    desk: Starlette, db: Database, provider: IdentityProvider
) -> None:
    token = await token_of(db, "ada", Role.ADMIN)
    async with browser(desk, cookies={"tradekeep": token}) as inside, browser(desk) as attacker:
        assert (await inside.get("/admin/account/provider/link")).status_code == 405
        cross = {"sec-fetch-site": "cross-site"}
        answer = await inside.post("/admin/account/provider/link", headers=cross)
        assert answer.status_code == 403
        page = Page((await send(inside, "/account/provider/link")).text)
        (address,) = [item for item in page.addresses if item.startswith(provider.issuer)]
        assert parse_qs(urlsplit(address).query)["prompt"] == ["select_account"]
        attacker.cookies[COOKIE] = inside.cookies[COOKIE]
        assert (await attacker.get(await provider.consent(address))).status_code == 401
        async with db.transaction(system="test") as unit:
            for session in await unit.user_sessions.all():
                session.confirmed_at = None
        assert (await inside.get(await provider.consent(address))).status_code == 401
    async with db.read(system="test") as unit:
        assert await unit.external_identities.count() == 0


class Patient:
    """Counts nothing: what is tested is not the throttle."""

    async def attempt(self, *_: object) -> int:
        return 0

    async def give_back(self, *_: object) -> None:
        return None

    async def aclose(self) -> None:
        return None


# ── how it is set up ─────────────────────────────────────────────────────────────────────────────


async def test_providers_that_contradict_themselves_are_not_used(
    desk: Starlette, provider: IdentityProvider
) -> None:
    for wrong in (
        {"issuer": "https://evil.example"},
        {"token_endpoint": "ftp://127.0.0.1/token"},
        {"jwks_uri": ""},
    ):
        provider.described = wrong
        async with browser(desk) as client:
            answer = await client.get("/admin/login/oidc")
            assert answer.status_code == 401 and FAILED in answer.text, wrong


async def test_half_a_provider_or_a_missing_library_is_said_at_start(
    provider: IdentityProvider, nobody: AsyncClient
) -> None:
    assert (await nobody.get("/admin/login/oidc")).headers["location"] == "/admin/login"
    assert "Continue with" not in (await visit(nobody, "/login")).text
    whole = settings_for(provider)
    for name in ("oidc_client_id", "oidc_redirect_uri"):
        with pytest.raises(ConfigurationError, match=f"TRADEKEEP_{name.upper()}"):
            create_app(whole.model_copy(update={name: None}))
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "joserfc":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    with (
        patch.object(builtins, "__import__", without),
        pytest.raises(ConfigurationError, match=r"install tradekeep\[oidc\]"),
    ):
        create_app(whole)


def test_what_is_not_safe_about_a_provider_has_an_id(provider: IdentityProvider) -> None:
    unsafe = settings_for(provider, oidc_create_domains=("gmail.com", "example.com"))
    found = {item.id for item in check_settings(unsafe, None)}
    assert {"SEC017", "SEC018"} <= found and "SEC019" not in found
    safe = Settings(
        oidc_issuer="https://login.example.com",
        oidc_client_id="x",
        oidc_redirect_uri="https://desk.example.com/admin/login/oidc/callback",
    )
    ids = {item.id for item in check_settings(safe, None)}
    assert "SEC019" in ids and not {"SEC017", "SEC018"} & ids
