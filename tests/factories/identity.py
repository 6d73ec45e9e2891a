"""People."""

from domain.database import Worker
from domain.identity.models import Role, User


async def make_user(unit: Worker, username: str = "ada", role: Role = Role.TRADER) -> User:
    user = unit.users.add(User(username=username, role=role))
    await unit.flush()
    return user
