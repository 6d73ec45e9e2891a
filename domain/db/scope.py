"""Who acts: the role, tenant and actor that PostgreSQL enforces for one unit of work.

They live in the transaction (``set_config(..., true)``) and end with it. A read session in
autocommit has no transaction to live in, so its connection carries them until the next checkout
binds its own; `domain.db.engine` compares before every use.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from domain.db.roles import APP, DESK, STAFF
from domain.errors import InvalidData

MOST_TENANTS: Final = 1_000
"""Tenants of one limited member of staff; they travel with every BEGIN."""

_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a unit of work is part of; it goes into the history and decides nothing.

    Args:
        request_id: The request, ``X-Request-ID``.
        impersonator: The member of staff who acts in the name of the actor.
    """

    request_id: str = ""
    impersonator: str = ""


_NONE: Final = Circumstances()
_CURRENT: Final[ContextVar[Circumstances]] = ContextVar("circumstances", default=_NONE)


@contextmanager
def during(*, request_id: str = "", impersonator: str = "") -> Iterator[None]:
    """Let every unit of work that begins in this block note what it is part of.

    Args:
        request_id: The request; empty keeps the one around.
        impersonator: The member of staff behind the actor; empty keeps the one around.

    Raises:
        InvalidData: One is longer than 200 characters or holds NUL.

    Example:
        >>> with during(request_id="4f1c"):
        ...     Scope.staff("ada").circumstances.request_id
        '4f1c'
    """
    around = _CURRENT.get()
    token = _CURRENT.set(
        Circumstances(
            _named("request_id", request_id) if request_id else around.request_id,
            _named("impersonator", impersonator) if impersonator else around.impersonator,
        )
    )
    try:
        yield
    finally:
        _CURRENT.reset(token)


@dataclass(frozen=True, slots=True)
class Reach:
    """The tenants that limited staff see.

    Args:
        tenants: Whose rows they see and change.
        own: The member of staff, whose rows they see too, credentials included; None: nobody's.
    """

    tenants: frozenset[UUID]
    own: UUID | None = None

    @classmethod
    def of(cls, tenants: Iterable[UUID], own: UUID | None = None) -> Self:
        """Return the reach of these tenants.

        Raises:
            InvalidData: More than `MOST_TENANTS`, or one is no UUID.
        """
        found = frozenset(tenants)
        if len(found) > MOST_TENANTS:
            raise InvalidData(
                "tenants", len(found), f"be at most {MOST_TENANTS:,}: else all of them"
            )
        for tenant in found:
            if not isinstance(tenant, UUID):
                raise InvalidData("tenants", tenant, "be UUIDs")
        return cls(found, own)

    def sees(self, user_id: UUID | None) -> bool:
        """Return whether the rows of this user are seen."""
        return user_id is not None and (user_id in self.tenants or user_id == self.own)

    def within(self, around: "Reach | None") -> "Reach":
        """Return what of this reach lies inside of another one; None is everything."""
        if around is None:
            return self
        own = self.own if self.own == around.own else None
        return Reach(self.tenants & around.tenants, own)


_REACH: Final[ContextVar[Reach | None]] = ContextVar("reach", default=None)


@contextmanager
def limited_to(reach: Reach | None) -> Iterator[None]:
    """Let every unit of staff that begins in this block see these tenants only.

    What is opened inside cannot get out of it: blocks inside of each other narrow, and
    ``tenants=`` of a unit does too. Units of tenants and of trusted jobs are what they are.

    Args:
        reach: The tenants; None limits nothing.

    Example:
        >>> from uuid import UUID
        >>> with limited_to(Reach.of([UUID(int=1)])):
        ...     Scope.staff("ada").role
        'tradekeep_desk'
    """
    if reach is None:
        yield
        return
    token = _REACH.set(reach.within(_REACH.get()))
    try:
        yield
    finally:
        _REACH.reset(token)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a unit of work may see and who is written into its history.

    Args:
        role: The PostgreSQL role that the unit runs as.
        actor: Who is responsible: a user id, a staff name, or the reason of a trusted job.
        user_id: The tenant, for a tenant's unit.
        reach: The tenants, for a unit of limited staff.
        circumstances: What the unit is part of; two scopes that differ in it alone are equal.
    """

    role: str
    actor: str
    user_id: UUID | None = None
    reach: Reach | None = None
    circumstances: Circumstances = field(default_factory=_CURRENT.get, compare=False)

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
        """Return the scope of the admin: all tenants, every change under the name `actor`.

        Inside of `limited_to` it is the scope of those tenants.
        """
        around = _REACH.get()
        if around is not None:
            return cls(role=DESK, actor=_named("staff", actor), reach=around)
        return cls(role=STAFF, actor=_named("staff", actor))

    @classmethod
    def desk(cls, actor: str, reach: Reach) -> Self:
        """Return the scope of staff limited to some tenants; `limited_to` narrows it further."""
        within = reach.within(_REACH.get())
        return cls(role=DESK, actor=_named("staff", actor), reach=within)

    @classmethod
    def system(cls, reason: str) -> Self:
        """Return the scope of a trusted job, recorded as ``system:reason``."""
        return cls(role=STAFF, actor=f"system:{_named('system', reason)}")

    def statement(self, *, local: bool) -> str:
        """Return the SQL that binds this scope to the transaction, or to the connection."""
        ends = "true" if local else "false"
        tenant = "" if self.user_id is None else str(self.user_id)
        settings = {"role": self.role, "app.user_id": tenant, "app.actor": self.actor}
        if self.reach is not None:
            own = self.reach.own
            seen = sorted(str(item) for item in {*self.reach.tenants, *((own,) if own else ())})
            settings["app.tenants"] = f"{{{','.join(seen)}}}"
            settings["app.own_id"] = "" if own is None else str(own)
        if local:
            # Reads leave no history, and a connection that stays bound outlives the request.
            settings["app.request_id"] = self.circumstances.request_id
            settings["app.impersonator"] = self.circumstances.impersonator
        calls = (f"set_config('{key}', {_literal(text)}, {ends})" for key, text in settings.items())
        return f"SELECT {', '.join(calls)}"


def _named(field: str, text: str) -> str:
    if not text or len(text) > _LONGEST_NAME or "\x00" in text:
        raise InvalidData(field, text, "be 1 to 200 characters without NUL")
    return text


def _literal(text: str) -> str:
    # standard_conforming_strings is on in every supported server: only the quote is special.
    return "'" + text.replace("'", "''") + "'"
