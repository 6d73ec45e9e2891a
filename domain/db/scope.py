"""Who acts: the role, tenant and actor that PostgreSQL enforces for one unit of work.

They live in the transaction (``set_config(..., true)``) and end with it. A read session in
autocommit has no transaction to live in, so its connection carries them until the next checkout
binds its own; `domain.db.engine` compares before every use.
"""

from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from domain.db.roles import APP, STAFF
from domain.errors import InvalidData

_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """What a unit of work may see and who is written into its history.

    Args:
        role: The PostgreSQL role that the unit runs as.
        actor: Who is responsible: a user id, a staff name, or the reason of a trusted job.
        user_id: The tenant, for a tenant's unit.
    """

    role: str
    actor: str
    user_id: UUID | None = None

    @classmethod
    def tenant(cls, user_id: UUID) -> Self:
        """Return the scope of one tenant: row-level security shows its rows only.

        Raises:
            InvalidData: `user_id` is not a UUID.
        """
        if not isinstance(user_id, UUID):
            raise InvalidData("user", user_id, "be a UUID")
        return cls(role=APP, actor=str(user_id), user_id=user_id)

    @classmethod
    def staff(cls, actor: str) -> Self:
        """Return the scope of the admin: all tenants, every change under the name `actor`."""
        return cls(role=STAFF, actor=_named("staff", actor))

    @classmethod
    def system(cls, reason: str) -> Self:
        """Return the scope of a trusted job, recorded as ``system:reason``."""
        return cls(role=STAFF, actor=f"system:{_named('system', reason)}")

    def statement(self, *, local: bool) -> str:
        """Return the SQL that binds this scope to the transaction, or to the connection."""
        ends = "true" if local else "false"
        tenant = "" if self.user_id is None else str(self.user_id)
        settings = {"role": self.role, "app.user_id": tenant, "app.actor": self.actor}
        calls = (f"set_config('{key}', {_literal(text)}, {ends})" for key, text in settings.items())
        return f"SELECT {', '.join(calls)}"


def _named(field: str, text: str) -> str:
    if not text or len(text) > _LONGEST_NAME or "\x00" in text:
        raise InvalidData(field, text, "be 1 to 200 characters without NUL")
    return text


def _literal(text: str) -> str:
    # standard_conforming_strings is on in every supported server: only the quote is special.
    return "'" + text.replace("'", "''") + "'"
