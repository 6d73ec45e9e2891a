"""API keys of whoever is logged in: made, shown once, revoked."""

from datetime import datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.confirming import when_sure
from admin.days import instants_of
from admin.office import BOTH, POST, Office
from admin.pages import root_of
from admin.permissions import catalogue
from admin.signing_in import Staff, staff_of
from admin.writing import sentence
from domain.errors import AlreadyExists, InvalidData, NotFound
from domain.identity.api_keys import create_api_key, revoke_api_key


class Keys:
    """Pages of one's own keys.

    Args:
        office: The database, the templates and the views.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/account/keys/new", when_sure(self.create), methods=BOTH),
            Route("/account/keys/{pk}/revoke", self.revoke, methods=POST),
        ]

    async def create(self, request: Request) -> Response:
        """Show the form of a new key, or make it and show its secret, once."""
        texts, error = {"name": "", "permissions": "", "expires": ""}, ""
        if request.method == "POST":
            form = await request.form(max_files=0, max_fields=10)
            texts = {name: str(form.get(name, "")) for name in texts}
            try:
                return await self._make(request, texts)
            except InvalidData as refused:
                error = sentence(refused)
            except AlreadyExists:
                error = "You have a key of this name already."
        context = {"texts": texts, "error": error, "secret": "", "name": ""}
        status = 422 if error else 200
        return self.office.pages.render(request, "key.html", context, status=status)

    async def _make(self, request: Request, texts: dict[str, str]) -> Response:
        staff = staff_of(request)
        permissions = _permissions(texts["permissions"], self._held(staff))
        async with self.office.db.transaction(staff=staff.name) as unit:
            key, secret = await create_api_key(
                unit,
                await unit.users.get(staff.user.id),
                texts["name"].strip(),
                permissions=permissions,
                expires_at=_end_of(texts["expires"]),
            )
        context = {"texts": texts, "error": "", "secret": secret, "name": key.name}
        return self.office.pages.render(request, "key.html", context)

    def _held(self, staff: Staff) -> set[str]:
        return {f"{name}:{act}" for name, act in catalogue(self.office) if staff.may(name, act)}

    async def revoke(self, request: Request) -> Response:
        """End one of one's own keys."""
        staff = staff_of(request)
        async with self.office.db.transaction(staff=staff.name) as unit:
            key = await unit.api_keys.get(uuid_of(request))
            if key.user_id != staff.user.id:
                raise NotFound("key was not found")
            await revoke_api_key(unit, key)
        return RedirectResponse(f"{root_of(request)}/account", status_code=303)


def _permissions(text: str, held: set[str]) -> list[str]:
    """Return the permissions in a text, one a line; nobody gives what they do not have."""
    found = list(dict.fromkeys(text.split()))
    foreign = next((name for name in found if name not in held), None)
    if foreign is not None:
        raise InvalidData("permissions", foreign, "be permissions that you have yourself")
    return found


def _end_of(text: str) -> datetime | None:
    """Return the end of a day in UTC, None for no day."""
    if not text.strip():
        return None
    return instants_of("expires_at", text, "UTC")[1]
