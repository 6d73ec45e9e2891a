"""The pages on which administrators say what roles may: tables by actions, and field by field."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.confirming import when_sure
from admin.fields import label_of
from admin.office import BOTH, GET, Office
from admin.pages import root_of
from admin.permits import BESIDES
from admin.records import RecordView
from admin.signing_in import SignIn, staff_of
from admin.translating import gettext, word
from domain.errors import AccessDenied
from domain.identity.models import Effect, Role
from domain.identity.permissions import FIELD, READERS, Permits, Rule, set_rules

EDITABLE_ROLES: Final = tuple(role for role in Role if role in READERS and role is not Role.ADMIN)
FIELD_EFFECTS: Final = (Effect.EDITABLE, Effect.READONLY, Effect.HIDDEN)

_COMMON: Final = ("read", "export", "create", "edit", "delete")
_MOST_FIELDS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Line:
    """A resource in the matrix.

    Args:
        resource: Its name in permissions.
        label: What people read.
        area: Where it stands in the menu.
        actions: What may be done there at all.
        fields: How many of its fields have a rule of their own.
        is_table: Whether it has fields at all.
    """

    resource: str
    label: str
    area: str
    actions: Sequence[str]
    fields: int = 0
    is_table: bool = True

    @property
    def others(self) -> Sequence[str]:
        """The actions that not every table has."""
        return [action for action in self.actions if action not in _COMMON]


def catalogue(office: Office) -> list[tuple[str, str]]:
    """Return every permission: each resource with each of its actions."""
    views: Iterable[RecordView] = office.views.everything()
    found = [(view.identity, action) for view in views for action in view.actions()]
    return found + [(name, action) for name, actions in BESIDES.items() for action in actions]


class PermissionPages:
    """The pages.

    Args:
        office: The database, the templates and the views.
        sign_in: Knows what roles may.
    """

    def __init__(self, office: Office, sign_in: SignIn) -> None:
        self.office = office
        self.sign_in = sign_in

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/permissions", self.overview, methods=GET),
            Route("/permissions/{role}", when_sure(self.matrix), methods=BOTH),
            Route("/permissions/{role}/{resource}", when_sure(self.fields), methods=BOTH),
        ]

    async def overview(self, request: Request) -> Response:
        """Show what each role may, side by side."""
        roles = [Role.ADMIN, *EDITABLE_ROLES]
        found = {role: await self.sign_in.permits_of(role) for role in roles}
        context = {"lines": self._lines(), "roles": roles, "found": found, "common": _COMMON}
        context["editable"] = [role for role in EDITABLE_ROLES if self._may_edit(request, role)]
        return self.office.pages.render(request, "permissions.html", context)

    async def matrix(self, request: Request) -> Response:
        """Show what a role may as boxes to tick, or keep what changed."""
        role = self._role(request)
        permits = await self.sign_in.permits_of(role)
        if request.method == "POST":
            form = await request.form(max_files=0, max_fields=_MOST_FIELDS)
            ticked = {str(name) for name in form if form[name] == "yes"}
            rendered = {*str(form.get("was:", "")).split()}
            changed = ticked ^ rendered
            rules = [
                Rule(resource, action, "", _effect(f"{resource}:{action}" in ticked))
                for resource, action in catalogue(self.office)
                if f"{resource}:{action}" in changed
            ]
            await self._keep(request, role, rules)
            return RedirectResponse(f"{root_of(request)}/permissions/{role}", 303)
        lines = self._lines(permits)
        held = [f"{name}:{action}" for name, action in self._held(permits)]
        context = {"role": role, "lines": lines, "permits": permits, "common": _COMMON}
        context |= {"own": staff_of(request).permits, "was": " ".join(held)}
        return self.office.pages.render(request, "role.html", context)

    async def fields(self, request: Request) -> Response:
        """Show how far a role gets with each field of a table, or keep what changed."""
        role, view = self._role(request), self._view(request)
        permits = await self.sign_in.permits_of(role)
        names = [name for name in view.visible() if not view.is_key(name)]
        if request.method == "POST":
            form = await request.form(max_files=0, max_fields=_MOST_FIELDS)
            rules = [
                Rule(view.identity, FIELD, name, _field_effect(str(form[name])))
                for name in names
                if name in form and form[name] != form.get(f"was:{name}")
            ]
            await self._keep(request, role, rules)
            return RedirectResponse(f"{root_of(request)}/permissions/{role}", 303)
        written = {*view.editable, *view.creatable}
        lines = [
            (name, label_of(name), view.help_of(name), permits.field_effect(view.identity, name),
             name in written)
            for name in names
        ]  # fmt: skip
        context = {"role": role, "table": view, "lines": lines, "effects": FIELD_EFFECTS}
        return self.office.pages.render(request, "role_fields.html", context)

    # ── what they share ──────────────────────────────────────────────────────────────────────

    async def _keep(self, request: Request, role: Role, rules: Sequence[Rule]) -> None:
        staff = staff_of(request)
        try:
            async with self.office.db.transaction(staff=staff.name) as unit:
                await set_rules(unit, staff.permits, role, rules, guarded=self.sign_in.guarded)
        except AccessDenied as refused:
            raise HTTPException(403, f"{str(refused).capitalize()}.") from None

    def _role(self, request: Request) -> Role:
        name = request.path_params["role"]
        if name not in set(EDITABLE_ROLES):
            raise HTTPException(404, "There is no such role, or it may everything.")
        role = Role(name)
        if not self._may_edit(request, role):
            raise HTTPException(403, "Nobody changes what their own role may.")
        return role

    def _may_edit(self, request: Request, role: Role) -> bool:
        staff = staff_of(request)
        return staff.may("permissions", "edit") and staff.user.role is not role

    def _view(self, request: Request) -> RecordView:
        for view in self.office.views.everything():
            if view.identity == request.path_params["resource"]:
                return view
        raise HTTPException(404, "There is no such table.")

    def _lines(self, permits: Permits | None = None) -> list[Line]:
        views: Iterable[RecordView] = self.office.views.everything()
        counted: Mapping[str, int] = {}
        if permits is not None:
            about = [name for (name, action, _) in permits.rules if action == FIELD]
            counted = {name: about.count(name) for name in about}
        lines = [
            Line(name, word(name).capitalize(), gettext("Pages"), actions, is_table=False)
            for name, actions in BESIDES.items()
        ]
        return lines + [
            Line(
                view.identity,
                gettext(view.name_plural),
                gettext(view.category),
                view.actions(),
                counted.get(view.identity, 0),
            )
            for view in views
        ]

    def _held(self, permits: Permits) -> list[tuple[str, str]]:
        return [item for item in catalogue(self.office) if permits.allows(*item)]


def _effect(is_allowed: bool) -> Effect:  # noqa: FBT001 - a box that is ticked or not
    return Effect.ALLOW if is_allowed else Effect.DENY


def _field_effect(text: str) -> Effect:
    try:
        effect = Effect(text)
    except ValueError:
        effect = Effect.ALLOW
    if effect not in FIELD_EFFECTS:
        raise HTTPException(400, "A field is editable, readonly or hidden.")
    return effect
