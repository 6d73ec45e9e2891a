"""Seeing the admin as somebody else does: begun, ended, and over by itself after a while.

It is kept in the login of the member of staff who looks, so ending that login ends it too. Who may
look as whom is decided in `admin.standing`, anew with every request.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.audit.recording import record
from domain.clock import now
from domain.db.unit import Unit, UnitOfWork
from domain.errors import Conflict, InvalidData
from domain.identity.models import User, UserSession
from domain.identity.repositories import UserRepository, UserSessionRepository

VIEWING_FOR: Final = timedelta(minutes=30)
"""How long somebody looks at most; who wants longer begins again."""


def viewing_until(session: UserSession) -> datetime | None:
    """Return until when a login looks as somebody else, None when it does not (any more)."""
    if session.viewing_since is None:
        return None
    end = session.viewing_since + VIEWING_FOR
    return end if now() < end else None


async def viewed_by(unit: Unit, session: UserSession) -> User | None:
    """Return the active user as whom a login looks now, or None."""
    if session.viewing_id is None or viewing_until(session) is None:
        return None
    user = await unit.repository(UserRepository).find(session.viewing_id)
    return user if user is not None and user.is_active else None


async def begin_viewing(unit: UnitOfWork, session_id: UUID, viewer: User, user: User) -> None:
    """Let a login look as `user` from now on, and write so into the user's history.

    Args:
        unit: A transaction of the viewer.
        session_id: The viewer's login.
        viewer: Who looks.
        user: As whom.

    Raises:
        InvalidData: It is the viewer, or an account that is locked.
        Conflict: The login looks as somebody already.
    """
    if user.id == viewer.id:
        raise InvalidData("user", user.username, "be somebody else")
    if not user.is_active:
        raise InvalidData("user", user.username, "be no locked account")
    session = await unit.repository(UserSessionRepository).get(session_id)
    if session.viewing_id is not None:
        raise Conflict("this login looks as somebody already: end that first")
    session.viewing_id, session.viewing_since = user.id, now()
    await unit.flush()
    await _note(unit, "view-as-began", user.id, viewer.username)


async def end_viewing(unit: UnitOfWork, session_id: UUID, viewer: User, *, reason: str) -> None:
    """Let a login look as itself again; does nothing when it does.

    Args:
        unit: A transaction of the viewer, or of a trusted job when time ended it.
        session_id: The viewer's login.
        viewer: Who looked.
        reason: Why it ends.
    """
    session = await unit.repository(UserSessionRepository).lock(session_id)
    if session is None or session.viewing_id is None:
        return
    viewed = session.viewing_id
    session.viewing_id = session.viewing_since = None
    await unit.flush()
    await _note(unit, "view-as-ended", viewed, viewer.username, reason=reason)


async def _note(unit: UnitOfWork, action: str, user_id: UUID, viewer: str, **more: str) -> None:
    about = {"viewer": viewer, **more}
    await record(unit, action, table="identity.users", key=user_id, user_id=user_id, **about)
