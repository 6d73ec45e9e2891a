"""API keys: made once, shown once, stored as a hash, revocable."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from domain.clock import now
from domain.db.unit import Unit, UnitOfWork
from domain.errors import InvalidData
from domain.identity.models import ApiKey, User
from domain.identity.repositories import ApiKeyRepository, UserRepository
from domain.identity.signing_in import token_hash

PREFIX: Final = "tk_"
_SHOWN: Final = 8


async def create_api_key(
    unit: UnitOfWork,
    user: User,
    name: str,
    *,
    permissions: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is stored nowhere.

    Raises:
        InvalidData: The name is empty or too long, or the end lies in the past.
        AlreadyExists: The user has a key of this name.
    """
    if not 1 <= len(name) <= 100:  # noqa: PLR2004 - the rule itself
        raise InvalidData("name", name, "be 1 to 100 characters")
    if expires_at is not None and expires_at <= now():
        raise InvalidData("expires_at", expires_at.isoformat(), "lie in the future")
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        user_id=user.id,
        name=name,
        prefix=secret[: len(PREFIX) + _SHOWN],
        key_hash=token_hash(secret),
        permissions=list(permissions),
        expires_at=expires_at,
    )
    unit.repository(ApiKeyRepository).add(key)
    await unit.flush()
    return key, secret


async def authenticate(unit: UnitOfWork, secret: str) -> tuple[User, ApiKey] | None:
    """Return the user and key of a live secret, or None; notes that it was used."""
    found = await find_key(unit, token_hash(secret))
    if found is not None:
        found[1].last_used_at = now()
    return found


async def find_key(unit: Unit, digest: bytes) -> tuple[User, ApiKey] | None:
    """Return the live key with this secret's hash and its user, or None; notes nothing."""
    key = await unit.repository(ApiKeyRepository).by_key_hash(digest)
    if key is None or key.revoked_at is not None:
        return None
    if key.expires_at is not None and key.expires_at <= now():
        return None
    user = await unit.repository(UserRepository).find(key.user_id)
    return None if user is None or not user.is_active else (user, key)


async def revoke_api_key(unit: UnitOfWork, key: ApiKey) -> None:
    """End `key` now."""
    if key.revoked_at is None:
        key.revoked_at = now()
    await unit.flush()
