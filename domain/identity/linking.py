"""Whose account here an account at a provider is: linked by issuer and subject, never by e-mail."""

import re
from typing import Final
from uuid import UUID

from domain.audit.recording import record
from domain.clock import now
from domain.db.unit import UnitOfWork
from domain.errors import AlreadyExists, InvalidData
from domain.identity.enrolling import create_user
from domain.identity.models import Role, User
from domain.identity.oidc import Identity
from domain.identity.repositories import ExternalIdentityRepository, UserRepository
from domain.identity.ties import ExternalIdentity

_LONGEST_NAME: Final = 50
_TRIES: Final = 20


async def user_of(unit: UnitOfWork, identity: Identity) -> User | None:
    """Return the active user that an identity is linked to, or None; notes that it was used."""
    stored = unit.repository(ExternalIdentityRepository)
    link = await stored.by_subject(identity.issuer, identity.subject)
    if link is None:
        return None
    user = await unit.repository(UserRepository).find(link.user_id)
    if user is None or not user.is_active:
        return None
    link.last_used_at = now()
    return user


async def link_identity(
    unit: UnitOfWork, user_id: UUID, identity: Identity, *, by: str
) -> ExternalIdentity:
    """Let a user log in with an identity.

    Args:
        unit: A transaction of staff or a trusted job.
        user_id: Whose it is here.
        identity: Who the provider says it is.
        by: Who says that they are the same.

    Raises:
        AlreadyExists: It is linked already, to this user or another one.
        InvalidData: The subject is empty or too long.
    """
    if not 0 < len(identity.subject) <= 255 or "\x00" in identity.subject:  # noqa: PLR2004 - OpenID Connect's limit
        raise InvalidData("subject", identity.subject, "be 1 to 255 characters")
    stored = unit.repository(ExternalIdentityRepository)
    if await stored.by_subject(identity.issuer, identity.subject) is not None:
        raise AlreadyExists("this account of the provider is linked already")
    link = stored.add(
        ExternalIdentity(
            user_id=user_id,
            issuer=identity.issuer,
            subject=identity.subject,
            email=identity.email or None,
            linked_by=by,
        )
    )
    await unit.flush()
    await record(
        unit, "identity-linked", table="identity.users", key=user_id, user_id=user_id,
        issuer=identity.issuer,
    )  # fmt: skip
    return link


async def create_from(
    unit: UnitOfWork, identity: Identity, domains: tuple[str, ...]
) -> User | None:
    """Make a viewer for an identity whose e-mail is verified and of one of these domains.

    Returns:
        None when nobody is made for it: without such an e-mail, or when the e-mail is an account's
        here already, which its owner links while logged in.
    """
    if not identity.is_email_verified or not is_of(identity.email, domains):
        return None
    users = unit.repository(UserRepository)
    if await users.exists(users.query(User.email == identity.email)):
        return None
    user = await create_user(unit, await _free_name(unit, identity.email), role=Role.VIEWER)
    user.email, user.name = identity.email, identity.name or None
    await unit.flush()
    await link_identity(unit, user.id, identity, by="the provider's e-mail domain")
    return user


def is_of(email: str, domains: tuple[str, ...]) -> bool:
    """Return whether an e-mail is of one of these domains, not merely of one that ends so.

    Example:
        >>> [is_of(email, ("example.com",)) for email in ("a@example.com", "a@badexample.com")]
        [True, False]
    """
    name, _, domain = email.rpartition("@")
    return bool(name) and "@" not in name and domain in {item.lower() for item in domains}


async def _free_name(unit: UnitOfWork, email: str) -> str:
    plain = re.sub(r"[^a-z0-9._-]", "-", email.partition("@")[0].lower()).lstrip("._-") or "user"
    users = unit.repository(UserRepository)
    for number in range(1, _TRIES):
        ending = "" if number == 1 else f"-{number}"
        name = plain[: _LONGEST_NAME - len(ending)] + ending
        if await users.by_username(name) is None:
            return name
    raise AlreadyExists("no user name is free for this e-mail")
