"""Makes users."""

import asyncio

from domain.db.unit import UnitOfWork
from domain.errors import AlreadyExists, InvalidData
from domain.identity.models import Role, User, UserPreferences
from domain.identity.passwords import hash_password
from domain.identity.repositories import UserPreferencesRepository, UserRepository


async def create_user(
    unit: UnitOfWork, username: str, *, password: str | None = None, role: Role = Role.USER
) -> User:
    """Make a user with default preferences.

    Args:
        unit: A staff or system transaction.
        username: Letters, digits, dot, dash or underscore; stored in lower case.
        password: 12 to 256 characters; None for a user that logs in with keys only.
        role: What the user may do.

    Raises:
        InvalidData: The name or password breaks its rule.
        AlreadyExists: The name is taken.
    """
    name = username.strip().lower()
    if not name or not all(char.isascii() and (char.isalnum() or char in "._-") for char in name):
        raise InvalidData("username", username, "be letters, digits, dot, dash or underscore")
    users = unit.repository(UserRepository)
    if await users.by_username(name) is not None:
        raise AlreadyExists(f"user {name!r} exists already")
    hashed = None if password is None else await asyncio.to_thread(hash_password, password)
    user = users.add(User(username=name, password_hash=hashed, role=role))
    await unit.flush()
    unit.repository(UserPreferencesRepository).add(UserPreferences(user_id=user.id))
    await unit.flush()
    return user
