"""What authentication asks on every request, cached: logins, API keys, accounts.

Keys are the stored hashes; tokens and secrets never reach the cache. Revoking, locking and changes
of roles are seen by the very next check. What the clock ends is checked on every read.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.cache import Audience, CachedReader, Rows, Tier, cached
from domain.cache.selecting import all_as, first_as, select_as
from domain.clock import now
from domain.db.unit import ReadUnit
from domain.identity.models import (
    ApiKey,
    Effect,
    Role,
    RolePermission,
    User,
    UserSession,
)
from domain.identity.permissions import Permits, Rule
from domain.identity.signing_in import Lifetime, token_hash


class Account(msgspec.Struct, frozen=True):
    """Who somebody is and what he may do."""

    id: UUID
    username: str
    role: Role
    is_active: bool
    base_currency: str
    timezone: str


class Login(msgspec.Struct, frozen=True):
    """A login, live or not."""

    user_id: UUID
    last_seen_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def is_live(self, lifetime: Lifetime) -> bool:
        """Return whether it counts now."""
        instant = now()
        return (
            self.revoked_at is None
            and instant < self.expires_at
            and instant < self.last_seen_at + lifetime.idle
        )


class ApiKeyFacts(msgspec.Struct, frozen=True):
    """An API key, live or not; no permission: read only."""

    id: UUID
    user_id: UUID
    permissions: tuple[str, ...]
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def is_live(self) -> bool:
        """Whether it counts now."""
        return self.revoked_at is None and (self.expires_at is None or now() < self.expires_at)


class RoleRule(msgspec.Struct, frozen=True):
    """Where a role differs from its defaults."""

    resource: str
    action: str
    field: str
    effect: Effect

    def as_rule(self) -> Rule:
        """Return it as `Permits` wants it."""
        return Rule(self.resource, self.action, self.field, self.effect)


class Caller(msgspec.Struct, frozen=True):
    """The account behind an API key, and what the key may do; no permission: read only."""

    account: Account
    permissions: tuple[str, ...]


@cached(
    tier=Tier.SESSION,
    audience=Audience.SYSTEM,
    stale_by=[
        Rows(User, user_id="id").ignoring("last_login_at", "password_hash", "version", "updated_at")
    ],
)
async def account(unit: ReadUnit, user_id: UUID) -> Account | None:
    """Return who somebody is."""
    return await first_as(unit, Account, select_as(Account, User).where(User.id == user_id))


@cached(
    tier=Tier.SESSION,
    audience=Audience.SYSTEM,
    stale_by=[Rows(UserSession, digest="token_hash")],
)
async def login(unit: ReadUnit, digest: bytes) -> Login | None:
    """Return the login whose token has this SHA-256."""
    statement = select_as(Login, UserSession).where(UserSession.token_hash == digest)
    return await first_as(unit, Login, statement)


@cached(
    tier=Tier.SESSION,
    audience=Audience.SYSTEM,
    stale_by=[Rows(ApiKey, digest="key_hash").ignoring("last_used_at", "updated_at")],
)
async def api_key(unit: ReadUnit, digest: bytes) -> ApiKeyFacts | None:
    """Return the API key with this SHA-256."""
    statement = select_as(ApiKeyFacts, ApiKey).where(ApiKey.key_hash == digest)
    return await first_as(unit, ApiKeyFacts, statement)


@cached(
    tier=Tier.SESSION,
    audience=Audience.SYSTEM,
    stale_by=[Rows(RolePermission, role="role").ignoring("created_at", "updated_at")],
)
async def role_rules(unit: ReadUnit, role: Role) -> tuple[RoleRule, ...]:
    """Return where a role differs from its defaults."""
    statement = select_as(RoleRule, RolePermission).where(RolePermission.role == role)
    return await all_as(unit, RoleRule, statement)


async def account_of_session(
    reader: CachedReader, token: str, lifetime: Lifetime
) -> Account | None:
    """Return the active account of a live login, or None.

    It does not note that the login was used: `domain.identity.signing_in.resume_session` does, and
    a login that is only checked here ends after `Lifetime.idle`.
    """
    found = await reader.get(login, token_hash(token))
    if found is None or not found.is_live(lifetime):
        return None
    return await _active(reader, found.user_id)


async def caller_of_api_key(reader: CachedReader, secret: str) -> Caller | None:
    """Return who calls with a live API key, or None; does not note that the key was used."""
    found = await reader.get(api_key, token_hash(secret))
    if found is None or not found.is_live:
        return None
    owner = await _active(reader, found.user_id)
    return None if owner is None else Caller(owner, found.permissions)


async def _active(reader: CachedReader, user_id: UUID) -> Account | None:
    found = await reader.get(account, user_id)
    return found if found is not None and found.is_active else None


async def permits_of(
    reader: CachedReader, role: Role, guarded: frozenset[str] = frozenset()
) -> Permits:
    """Return what a role may do.

    Args:
        reader: A cached reader.
        role: The role.
        guarded: Resources in which only administrators write by default.
    """
    if role is Role.ADMIN:
        return Permits(role, guarded=guarded)
    rules = await reader.get(role_rules, role)
    return Permits.of(role, (rule.as_rule() for rule in rules), guarded)
