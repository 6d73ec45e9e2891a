"""Passwords, logins, API keys and encrypted tokens."""

import base64
from datetime import timedelta
from unittest.mock import patch

import pytest

from domain import Database
from domain.clock import now
from domain.errors import AlreadyExists, ConfigurationError, InvalidData
from domain.identity import signing_in
from domain.identity.api_keys import authenticate, create_api_key, revoke_api_key
from domain.identity.encryption import Keyring, Tokens, read_tokens, rotate_tokens, store_tokens
from domain.identity.enrolling import create_user
from domain.identity.models import Role, UserSession
from domain.identity.passwords import hash_password, is_password
from domain.identity.signing_in import (
    Lifetime,
    Visitor,
    check_password,
    close_session,
    open_session,
    resume_session,
    set_password,
)

LIFETIME = Lifetime(idle=timedelta(minutes=30), absolute=timedelta(hours=12))
PASSWORD = "correct horse battery staple"
OLD_KEY = base64.b64encode(b"a" * 32).decode()
NEW_KEY = base64.b64encode(b"b" * 32).decode()


async def enrolled(db: Database, name: str = "ada") -> None:
    async with db.transaction(system="test") as unit:
        await create_user(unit, name, password=PASSWORD, role=Role.ADMIN)


def test_only_the_exact_password_opens() -> None:
    stored = hash_password(PASSWORD)
    assert is_password(PASSWORD, stored)
    assert not is_password(PASSWORD + " ", stored)
    assert not is_password(PASSWORD, None)
    assert not is_password(PASSWORD, "not a hash")
    assert PASSWORD not in stored


@pytest.mark.parametrize("password", ["short", "x" * 257])
def test_a_password_of_wrong_length_is_refused_without_being_shown(password: str) -> None:
    with pytest.raises(InvalidData, match="12 to 256 characters") as caught:
        hash_password(password)
    assert password not in str(caught.value)


async def test_a_login_lasts_until_it_is_closed(db: Database) -> None:
    await enrolled(db)
    async with db.transaction(system="login") as unit:
        user = await check_password(unit, "ADA", PASSWORD)
        assert user is not None
        token = await open_session(unit, user, LIFETIME, Visitor(ip="127.0.0.1"))
        assert await check_password(unit, "ada", "wrong password!") is None
        assert await check_password(unit, "nobody", PASSWORD) is None
    async with db.transaction(system="request") as unit:
        assert (await resume_session(unit, token, LIFETIME)) is not None
        assert (await resume_session(unit, token + "x", LIFETIME)) is None
        stored = (await unit.user_sessions.all())[0]
        assert token.encode() not in stored.token_hash
        await close_session(unit, token, reason="logout")
        assert (await resume_session(unit, token, LIFETIME)) is None


@pytest.mark.parametrize(("later", "alive"), [(29, True), (31, False), (60 * 13, False)])
async def test_a_login_ends_when_idle_or_old(db: Database, later: int, alive: bool) -> None:
    await enrolled(db)
    async with db.transaction(system="login") as unit:
        user = await unit.users.named("ada")
        token = await open_session(unit, user, LIFETIME, Visitor())
    with patch.object(signing_in, "now", lambda: now() + timedelta(minutes=later)):
        async with db.transaction(system="request") as unit:
            assert (await resume_session(unit, token, LIFETIME) is not None) is alive


async def test_a_new_password_or_a_locked_account_ends_every_login(db: Database) -> None:
    await enrolled(db)
    async with db.transaction(system="login") as unit:
        user = await unit.users.named("ada")
        token = await open_session(unit, user, LIFETIME, Visitor())
        await set_password(unit, user, "another long password")
        assert await resume_session(unit, token, LIFETIME) is None
        second = await open_session(unit, user, LIFETIME, Visitor())
        user.is_active = False
        await unit.flush()
        assert await resume_session(unit, second, LIFETIME) is None
        assert await check_password(unit, "ada", "another long password") is None
        assert await unit.user_sessions.count(
            unit.user_sessions.query(UserSession.revoked_reason == "password changed")
        )


async def test_a_user_name_is_taken_once_in_any_case(db: Database) -> None:
    await enrolled(db)
    with pytest.raises(AlreadyExists):
        async with db.transaction(system="test") as unit:
            await create_user(unit, "Ada")
    with pytest.raises(InvalidData, match="letters, digits"):
        async with db.transaction(system="test") as unit:
            await create_user(unit, "ada lovelace")


async def test_an_api_key_is_shown_once_and_stops_when_revoked_or_over(db: Database) -> None:
    await enrolled(db)
    async with db.transaction(system="test") as unit:
        user = await unit.users.named("ada")
        key, secret = await create_api_key(unit, user, "bot")
        assert secret.startswith(key.prefix)
        assert secret.encode() not in key.key_hash
        found = await authenticate(unit, secret)
        assert found is not None and found[0].id == user.id
        assert await authenticate(unit, secret[:-1]) is None
        await revoke_api_key(unit, key)
        assert await authenticate(unit, secret) is None
        with pytest.raises(InvalidData, match="expires_at"):
            await create_api_key(unit, user, "old", expires_at=now() - timedelta(1))


async def test_tokens_are_encrypted_bound_to_their_row_and_rotated(db: Database) -> None:
    await enrolled(db)
    old = Keyring.parse(f"k1:{OLD_KEY}")
    both = Keyring.parse(f"k2:{NEW_KEY},k1:{OLD_KEY}")
    tokens = Tokens(access="access-secret", refresh="refresh-secret", expires_at=now())
    async with db.transaction(system="test") as unit:
        user = await unit.users.named("ada")
        stored = await store_tokens(unit, old, tokens, user_id=user.id, provider="tastytrade")
        assert b"access-secret" not in stored.access_token_enc
        assert read_tokens(both, stored).refresh == "refresh-secret"
        assert await rotate_tokens(unit, both) == 1
        assert (stored.key_id, await rotate_tokens(unit, both)) == ("k2", 0)
        assert read_tokens(both, stored).access == "access-secret"
        with pytest.raises(ConfigurationError, match="k2"):
            read_tokens(old, stored)
        stored.provider = "moved"
        with pytest.raises(InvalidData, match="belong to its row"):
            read_tokens(both, stored)
        await unit.session.rollback()


@pytest.mark.parametrize("text", ["", "k1", "k1:AAAA", f"k1:{OLD_KEY},k1:{NEW_KEY}", "k 1:x"])
def test_a_wrong_keyring_is_refused_without_showing_a_key(text: str) -> None:
    with pytest.raises(ConfigurationError, match="TRADEKEEP_ENCRYPTION_KEYS") as caught:
        Keyring.parse(text)
    assert OLD_KEY not in str(caught.value)
