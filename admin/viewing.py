"""Seeing the admin as somebody else does: to help them, and never to act in secret.

The login of the member of staff says as whom it looks; `admin.signing_in` decides with every
request whether it (still) may. Everything written meanwhile has both names in the history.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.confirming import when_sure
from admin.office import POST, Office
from admin.pages import root_of
from admin.signing_in import SignIn, staff_of
from domain.errors import Conflict
from domain.identity.permissions import READERS
from domain.identity.viewing import begin_viewing, end_viewing

_IN_PERSON: Final = ("/account", "/permissions", "/users/", "/sessions/", "/api-keys/")
"""Beginnings of the routes about access: nobody goes there as somebody else."""

_OF_STAFF: Final = "tradekeep.staff"
_READING: Final = frozenset({"GET", "HEAD"})


class Viewing:
    """The pages.

    Args:
        office: The database and the templates.
        sign_in: Knows who may look as whom.
    """

    def __init__(self, office: Office, sign_in: SignIn) -> None:
        self.office = office
        self.sign_in = sign_in

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/users/{pk}/view-as", when_sure(self.begin), methods=POST),
            Route("/account/stop-viewing", self.stop, methods=POST),
        ]

    async def begin(self, request: Request) -> Response:
        """Look as a user from now on, for half an hour at most."""
        staff = staff_of(request)
        session = staff.session
        async with self.office.db.transaction(staff=staff.name) as unit:
            user = await unit.users.get(uuid_of(request))
            if session is None or not await self.sign_in.may_view_as(staff, user):
                raise HTTPException(403, "You may not see Tradekeep as this user.")
            try:
                await begin_viewing(unit, session.id, staff.user, user)
            except Conflict:
                raise HTTPException(409, "You see Tradekeep as somebody else already.") from None
        return RedirectResponse(f"{root_of(request)}/", status_code=303)

    async def stop(self, request: Request) -> Response:
        """Be oneself again, on the page of the user as whom one looked."""
        staff = staff_of(request)
        session = staff.session
        goal = f"{root_of(request)}/"
        if session is not None and session.viewing_id is not None:
            goal = f"{root_of(request)}/users/details/{session.viewing_id}"
            async with self.office.db.transaction(staff=staff.name) as unit:
                await end_viewing(unit, session.id, staff.user, reason="stopped")
        return RedirectResponse(goal, status_code=303)


def in_person(
    path: str, handler: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler of a page as it answers those who look as somebody else.

    Pages about access refuse them, and to look as a tenant is to read.
    """

    async def answered(request: Request) -> Response:
        # Pages in front of the login have nobody behind them.
        if _OF_STAFF in request.scope and (staff := staff_of(request)).behind is not None:
            if path.startswith(_IN_PERSON):
                raise HTTPException(403, "Stop seeing Tradekeep as somebody else first.")
            if staff.user.role not in READERS and request.method not in _READING:
                raise HTTPException(403, "You see this as a tenant: nothing can be changed.")
        return await handler(request)

    return answered
