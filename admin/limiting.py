"""Which tenants a member of staff sees: the page on which it is chosen.

What limited staff may not do at all is said here too; what they see is PostgreSQL's to enforce.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of, uuid_or_none
from admin.confirming import when_sure
from admin.office import BOTH, Office
from admin.pages import root_of
from admin.permits import BESIDES
from admin.records import RecordView
from admin.signing_in import SignIn, staff_of
from admin.writing import sentence
from domain.database import Reader
from domain.errors import InvalidData
from domain.identity.models import TenantScope, User
from domain.identity.permissions import READING, Action
from domain.identity.reaching import choose_tenants
from domain.schema import DESK_RIGHTS, DESK_RULES

_NEEDS: Final = {
    Action.READ: "SELECT",
    Action.EXPORT: "SELECT",
    Action.CREATE: "INSERT",
    Action.EDIT: "UPDATE",
    Action.DELETE: "DELETE",
}
_WRITES: Final = ("INSERT", "UPDATE", "DELETE")
_KEPT_PAGES: Final = ("permissions",)


def kept_from_desks(views: Iterable[RecordView]) -> frozenset[tuple[str, str]]:
    """Return what limited staff may not do: what the database would refuse them anyway.

    People are theirs to see and nobody's to change; of credentials they have their own, which
    stand on their account page.
    """
    kept = {(page, action) for page in _KEPT_PAGES for action in BESIDES[page]}
    for view in views:
        rights = "" if view.table.fullname in DESK_RULES.credentials else _rights(view)
        for action in view.actions():
            needed = (_NEEDS[Action(action)],) if action in _NEEDS else _WRITES
            if not any(word in rights for word in needed):
                kept.add((view.identity, action))
    return frozenset(kept)


def _rights(view: RecordView) -> str:
    return "SELECT" if view.model is User else DESK_RIGHTS[view.table.fullname]


def kept_from_viewers(views: Iterable[RecordView]) -> frozenset[tuple[str, str]]:
    """Return what nobody does while they look as somebody else: everything about access."""
    kept = {(page, action) for page in _KEPT_PAGES for action in BESIDES[page]}
    for view in views:
        if view.is_for_administrators or view.table.fullname in DESK_RULES.credentials:
            kept |= {(view.identity, item) for item in view.actions() if item not in READING}
    return frozenset(kept)


class Limiting:
    """The page. Only staff who see all tenants come here, and nobody chooses for themselves.

    Args:
        office: The database and the templates.
        sign_in: Knows what roles may.
    """

    def __init__(self, office: Office, sign_in: SignIn) -> None:
        self.office = office
        self.sign_in = sign_in

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [Route("/users/{pk}/tenants", when_sure(self.choose), methods=BOTH)]

    async def choose(self, request: Request) -> Response:
        """Show which tenants somebody sees, or keep another choice."""
        staff, error = staff_of(request), ""
        async with self.office.db.snapshot(staff=staff.name) as unit:
            user = await unit.users.get(uuid_of(request))
            await self._require_rank(request, user)
            chosen = await _chosen(unit, user)
        if request.method == "POST":
            try:
                await self._keep(request)
                there = f"{root_of(request)}/users/details/{user.id}?done=saved"
                return RedirectResponse(there, status_code=303)
            except InvalidData as refused:
                error = sentence(refused)
        context = {"user": user, "chosen": chosen, "error": error, "scopes": list(TenantScope)}
        status = 422 if error else 200
        return self.office.pages.render(request, "tenants.html", context, status=status)

    async def _keep(self, request: Request) -> None:
        form = await request.form(max_files=0, max_fields=1_010)
        texts = [str(text) for text in form.getlist("keep") + form.getlist("add")]
        tenants = [_tenant(text) for text in texts if text.strip()]
        is_all = form.get("scope") == TenantScope.ALL
        if is_all and any(str(text).strip() for text in form.getlist("add")):
            raise InvalidData("tenants", "added", "be added to chosen tenants, not to all")
        if form.get("scope") not in set(TenantScope):
            raise InvalidData("scope", str(form.get("scope", "")), "be all or chosen")
        staff = staff_of(request)
        async with self.office.db.transaction(staff=staff.name) as unit:
            user = await unit.users.get(uuid_of(request))
            await choose_tenants(unit, user, None if is_all else tenants, by=staff.name)

    async def _require_rank(self, request: Request, user: User) -> None:
        staff = staff_of(request)
        if staff.reach is not None or user.id == staff.user.id:
            raise HTTPException(403, "Nobody chooses the tenants that they see themselves.")
        permits = await self.sign_in.permits_of(user.role)
        if not staff.permits.covers(permits, self.sign_in.catalogue):
            raise HTTPException(403, "Nobody manages who may more than they do themselves.")


async def _chosen(unit: Reader, user: User) -> list[User]:
    rows = await unit.staff_tenants.of(user.id)
    users = await unit.users.many(row.tenant_id for row in rows)
    return sorted(users.values(), key=lambda tenant: tenant.username)


def _tenant(text: str) -> UUID:
    found = uuid_or_none(text)
    if found is None:
        raise InvalidData("tenants", text, "be the id of a user")
    return found
