"""Logins: checks a password, opens a session that the server can revoke, and resumes it.

The browser holds a random 256-bit token, the table its SHA-256: who reads the table cannot log
in, and a token this long needs no slow hash (ASVS 6.5.2).
"""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from domain.clock import now
from domain.db.unit import Unit, UnitOfWork
from domain.identity.models import User, UserSession
from domain.identity.passwords import hash_password, is_outdated, is_password
from domain.identity.repositories import (
    TicketRepository,
    UserRepository,
    UserSessionRepository,
)

_SEEN_STEP: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a login lasts.

    Args:
        idle: It ends when unused for this long.
        absolute: It ends after this long in any case.
    """

    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a login comes from.

    Args:
        ip: The client's address.
        user_agent: The browser's own description, cut to 300 characters.
    """

    ip: str | None = None
    user_agent: str | None = None


def token_hash(token: str) -> bytes:
    """Return the SHA-256 under which a token is stored."""
    return hashlib.sha256(token.encode()).digest()


async def check_password(unit: UnitOfWork, username: str, password: str) -> User | None:
    """Return the active user whose password this is, or None; both answers take equally long.

    A hash made with weaker parameters is renewed.
    """
    user = await unit.repository(UserRepository).by_username(username)
    stored = user.password_hash if user is not None and user.is_active else None
    if not await asyncio.to_thread(is_password, password, stored) or user is None:
        return None
    if stored is not None and is_outdated(stored):
        user.password_hash = await asyncio.to_thread(hash_password, password)
    return user


async def open_session(unit: UnitOfWork, user: User, lifetime: Lifetime, visitor: Visitor) -> str:
    """Open a session for `user` and return its token; it is shown to nobody again."""
    token = secrets.token_urlsafe(32)
    instant = now()
    unit.repository(UserSessionRepository).add(
        UserSession(
            user_id=user.id,
            token_hash=token_hash(token),
            issued_at=instant,
            last_seen_at=instant,
            expires_at=instant + lifetime.absolute,
            ip=visitor.ip,
            user_agent=visitor.user_agent[:300] if visitor.user_agent else None,
            confirmed_at=instant,
        )
    )
    user.last_login_at = instant
    await unit.flush()
    return token


async def resume_session(unit: UnitOfWork, token: str, lifetime: Lifetime) -> User | None:
    """Return the user of a live session, or None; notes that it was used, at most once a minute."""
    found = await resume_login(unit, token, lifetime)
    return None if found is None else found[0]


async def resume_login(
    unit: UnitOfWork, token: str, lifetime: Lifetime
) -> tuple[User, UserSession] | None:
    """Return the user and the session of a live token; notes that it was used, as above."""
    found = await find_session(unit, token_hash(token), lifetime)
    if found is not None and is_use_to_be_noted(found[1]):
        found[1].last_seen_at = now()
    return found


def is_use_to_be_noted(session: UserSession) -> bool:
    """Return whether a login was last noted to be used so long ago that it is noted again."""
    return session.last_seen_at + _SEEN_STEP <= now()


async def rotate_session(unit: UnitOfWork, token: str) -> str | None:
    """Give the live session of `token` another token and return it; the old one ends."""
    session = await unit.repository(UserSessionRepository).by_token_hash(token_hash(token))
    if session is None or session.revoked_at is not None:
        return None
    fresh = secrets.token_urlsafe(32)
    session.token_hash, session.confirmed_at = token_hash(fresh), now()
    await unit.flush()
    return fresh


async def find_session(
    unit: Unit, digest: bytes, lifetime: Lifetime
) -> tuple[User, UserSession] | None:
    """Return the live session with this token's hash and its user, or None; notes nothing.

    An open page asks again and again: that is no use of the session by a person.
    """
    found = await unit.repository(UserSessionRepository).with_user(digest)
    if found is None:
        return None
    (session, user), instant = found, now()
    is_over = session.revoked_at is not None or session.expires_at <= instant
    if is_over or session.last_seen_at + lifetime.idle <= instant or not user.is_active:
        return None
    return user, session


async def close_session(unit: UnitOfWork, token: str, *, reason: str) -> None:
    """End the session of `token`, if it is one."""
    session = await unit.repository(UserSessionRepository).by_token_hash(token_hash(token))
    if session is not None and session.revoked_at is None:
        session.revoked_at, session.revoked_reason = now(), reason


async def set_password(
    unit: UnitOfWork, user: User, password: str, *, kept: UUID | None = None
) -> None:
    """Give `user` a new password and end every login made or begun with the old one.

    Args:
        unit: A staff or system transaction.
        user: Whose password.
        password: 12 to 256 characters.
        kept: The session in which the user changes it, which goes on.

    Raises:
        InvalidData: The password is too short or too long.
    """
    user.password_hash = await asyncio.to_thread(hash_password, password)
    sessions = unit.repository(UserSessionRepository)
    await sessions.revoke_all(user, at=now(), reason="password changed", kept=kept)
    await unit.repository(TicketRepository).withdraw(user.id, at=now(), purpose=None)
