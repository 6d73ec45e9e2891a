"""Asks people who they are once more before something dangerous.

Roles, permissions, API keys and other people's access: a browser that was left open must not be
enough. Whoever typed the password in the last ten minutes is not asked.
"""

from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.office import BOTH, Handler, Office
from admin.pages import root_of
from admin.shielding import is_local_path
from admin.signing_in import SignIn, staff_of
from admin.throttling import login_claims
from admin.translating import gettext
from domain.identity.signing_in import check_password, rotate_session


def when_sure(handler: Handler) -> Handler:
    """Return a handler that asks for the password first, when it was typed long ago."""

    async def asked(request: Request) -> Response:
        if staff_of(request).is_sure:
            return await handler(request)
        here = f"{root_of(request)}/account/confirm?next={quote(_way_back(request))}"
        return RedirectResponse(here, status_code=303)

    return asked


class Confirming:
    """The page that asks.

    Args:
        office: The database and the templates.
        sign_in: Counts attempts and gives cookies.
    """

    def __init__(self, office: Office, sign_in: SignIn) -> None:
        self.office = office
        self.sign_in = sign_in

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [Route("/account/confirm", self.confirm, methods=BOTH)]

    async def confirm(self, request: Request) -> Response:
        """Ask for the password, or check it and go on."""
        if request.method != "POST":
            return self._form(request)
        form = await request.form(max_files=0, max_fields=5)
        name = staff_of(request).user.username
        claims = login_claims(request, name)
        if wait := await self.sign_in.throttle.attempt(*claims):
            return self._form(request, error=gettext("Too many attempts."), wait=wait)
        token = await self._renewed(request, name, str(form.get("password", "")))
        if token is None:
            return self._form(request, error=gettext("This is not your password."))
        await self.sign_in.throttle.forgive(claims[0])
        for claim in claims[1:]:
            await self.sign_in.throttle.give_back(claim)
        target = request.query_params.get("next", "")
        goal = target if is_local_path(target) else f"{root_of(request)}/account"
        response = RedirectResponse(goal, status_code=303)
        self.sign_in.give_cookie(response, token)
        return response

    async def _renewed(self, request: Request, name: str, password: str) -> str | None:
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            if await check_password(unit, name, password) is None:
                return None
            return await rotate_session(unit, request.cookies.get(self.sign_in.cookie, ""))

    def _form(self, request: Request, *, error: str = "", wait: int = 0) -> Response:
        status = 429 if wait else 401 if error else 200
        context = {"error": error, "wait": wait, "back": f"{root_of(request)}/account"}
        response = self.office.pages.render(request, "confirm.html", context, status=status)
        if wait:
            response.headers["retry-after"] = str(wait)
        return response


def _way_back(request: Request) -> str:
    """Return the page to come back to: this one, or the one whose form was sent."""
    if request.method in {"GET", "HEAD"}:
        return request.url.path
    came_from = urlsplit(request.headers.get("referer", "")).path
    return came_from if is_local_path(came_from) else f"{root_of(request)}/"
