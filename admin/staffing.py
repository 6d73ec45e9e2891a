"""Users in the admin: who may make them, give roles, start resets and end logins.

Nobody chooses another person's password (ASVS 6.4.6): an administrator starts a reset, and the
person who gets the link chooses.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.confirming import when_sure
from admin.office import BOTH, POST, Office
from admin.pages import root_of
from admin.permissions import catalogue
from admin.resetting import Resetting
from admin.signing_in import staff_of
from admin.translating import gettext
from admin.writing import sentence
from domain.clock import now
from domain.errors import ConstraintViolation, InvalidData
from domain.identity.api_keys import revoke_api_key
from domain.identity.enrolling import create_user
from domain.identity.models import Role
from domain.identity.second_factors import remove_second_factor


class Staffing:
    """Pages about people. Only administrators make users and give roles.

    Args:
        office: The database and the templates.
        resetting: Makes links with which people choose a new password.
    """

    def __init__(self, office: Office, resetting: Resetting) -> None:
        self.office = office
        self.resetting = resetting

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/users/new", when_sure(self.create), methods=BOTH),
            Route("/users/{pk}/reset", when_sure(self.reset), methods=POST),
            Route("/users/{pk}/second-step", when_sure(self.forget), methods=POST),
            Route("/users/{pk}/role", when_sure(self.role), methods=POST),
            Route("/users/{pk}/active", self.active, methods=POST),
            Route("/sessions/{pk}/revoke", self.revoke_session, methods=POST),
            Route("/api-keys/{pk}/revoke", when_sure(self.revoke_key), methods=POST),
        ]

    async def create(self, request: Request) -> Response:
        """Show the form of a new user, or make the user."""
        texts, error = {"username": "", "role": str(Role.USER)}, ""
        if request.method == "POST":
            form = await request.form(max_files=0, max_fields=20)
            texts = {name: str(form.get(name, "")) for name in ("username", "role")}
            try:
                await self._require_rank(request, _role(texts["role"]))
                async with self.office.db.transaction(staff=staff_of(request).name) as unit:
                    user = await create_user(unit, texts["username"], role=_role(texts["role"]))
                return RedirectResponse(f"{root_of(request)}/users/details/{user.id}", 303)
            except InvalidData as refused:
                error = sentence(refused)
            except ConstraintViolation:
                error = gettext("This name is taken, or it does not begin with a letter or digit.")
        context = {"texts": texts, "error": error, "roles": [str(role) for role in Role]}
        return self.office.pages.render(request, "user.html", context, status=422 if error else 200)

    async def reset(self, request: Request) -> Response:
        """Start a password reset: the link is mailed, or shown this once to be handed over."""
        by = staff_of(request).name
        async with self.office.db.read(staff=by) as unit:
            user = await unit.users.get(uuid_of(request))
        await self._require_rank(request, user.role)
        link, is_mailed = await self.resetting.start(request, user, by=by)
        context = {"user": user, "link": link, "is_mailed": is_mailed}
        return self.office.pages.render(request, "reset_link.html", context)

    async def forget(self, request: Request) -> Response:
        """Forget the authenticator of somebody who lost it; their logins end."""
        self._require_other(request)
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            user = await unit.users.get(uuid_of(request))
            await self._require_rank(request, user.role)
            await remove_second_factor(unit, user.id)
            await unit.user_sessions.revoke_all(user, at=now(), reason="second step removed")
        return self._back(request)

    async def role(self, request: Request) -> Response:
        """Give a user another role, which ends their logins; nobody changes their own."""
        self._require_other(request)
        form = await request.form(max_files=0, max_fields=20)
        role = _role(str(form.get("role", "")))
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            user = await unit.users.get(uuid_of(request))
            await self._require_rank(request, user.role, role)
            if user.role is not role:
                user.role = role
                await unit.user_sessions.revoke_all(user, at=now(), reason="role changed")
        return self._back(request)

    async def active(self, request: Request) -> Response:
        """Lock or unlock an account; a locked one's logins end."""
        self._require_other(request)
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            user = await unit.users.get(uuid_of(request))
            await self._require_rank(request, user.role)
            user.is_active = not user.is_active
            if not user.is_active:
                await unit.user_sessions.revoke_all(user, at=now(), reason="account locked")
        return self._back(request)

    async def revoke_session(self, request: Request) -> Response:
        """End a login."""
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            session = await unit.user_sessions.get(uuid_of(request))
            if session.revoked_at is None:
                session.revoked_at = now()
                session.revoked_reason = f"revoked by {staff_of(request).name}"
        return self._back(request, "sessions")

    async def revoke_key(self, request: Request) -> Response:
        """End an API key."""
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            await revoke_api_key(unit, await unit.api_keys.get(uuid_of(request)))
        return self._back(request, "api-keys")

    def _back(self, request: Request, identity: str = "users") -> Response:
        path = f"{root_of(request)}/{identity}/details/{uuid_of(request)}"
        return RedirectResponse(path, 303)

    async def _require_rank(self, request: Request, *roles: Role) -> None:
        """Refuse to touch who may more than oneself, and to give what one does not have."""
        own, everything = staff_of(request).permits, catalogue(self.office)
        for role in roles:
            if not own.covers(await self.resetting.sign_in.permits_of(role), everything):
                raise HTTPException(403, "Nobody manages who may more than they do themselves.")

    def _require_other(self, request: Request) -> None:
        if staff_of(request).user.id == uuid_of(request):
            raise HTTPException(403, "Nobody changes their own role or locks themselves out.")


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise InvalidData("role", text, f"be one of {', '.join(Role)}") from None
