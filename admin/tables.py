"""The pages of records that every table has: a record, its forms, its deletion."""

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import address, key_of
from admin.deleting import dependents_of
from admin.detailing import read_details
from admin.looking_up import labels_of, look_up
from admin.office import BOTH, GET, Office, for_writers
from admin.pages import root_of
from admin.records import RecordView
from admin.signing_in import staff_of
from admin.writing import Draft, create, save
from domain.errors import ReferenceViolation
from domain.identity.models import Role


class Tables:
    """The pages.

    Args:
        office: The database, the templates and the views.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses, which any page of its own must stand before."""
        return [
            Route("/{identity}/lookup", self.look_up, methods=GET),
            Route("/{identity}/details/{pk:path}", self.details, methods=GET),
            Route("/{identity}/create", for_writers(self.create), methods=BOTH),
            Route("/{identity}/edit/{pk:path}", for_writers(self.edit), methods=BOTH),
            Route("/{identity}/delete/{pk:path}", for_writers(self.delete), methods=BOTH),
        ]

    async def look_up(self, request: Request) -> Response:
        """Return the records whose name begins with the term, for a reference field."""
        view, term = self.office.view_of(request), request.query_params.get("q", "")
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            return JSONResponse(await look_up(unit, view, term))

    # ── records ──────────────────────────────────────────────────────────────────────────────

    async def details(self, request: Request) -> Response:
        """Show a record."""
        view, staff = self.office.view_of(request), staff_of(request)
        key = key_of(view, request)
        root = root_of(request)
        async with self.office.db.snapshot(staff=staff.name) as unit:
            details = await read_details(unit, view, key, zone=staff.user.timezone, root=root)
        context = {"view": view, "details": details, "roles": [str(role) for role in Role]}
        return self.office.pages.render(request, "details.html", context)

    async def create(self, request: Request) -> Response:
        """Show an empty form, or insert what came back."""
        view = self.office.view_of(request)
        if not view.may_create(request):
            raise HTTPException(405, f"{view.name_plural} are not made here.")
        fields = view.fields(view.creatable)
        if request.method != "POST":
            draft = Draft.empty(fields, view.defaults())
            return await self._form(request, view, draft)
        draft = Draft.submitted(fields, await _form_of(request))
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            record = await create(unit, view, draft)
            if record is None:
                await unit.session.rollback()
        if record is None:
            return await self._form(request, view, draft)
        return RedirectResponse(address(request, view, record), 303)

    async def edit(self, request: Request) -> Response:
        """Show a record's form, or write the fields that changed."""
        view = self.office.view_of(request)
        if not view.may_edit(request):
            raise HTTPException(405, f"{view.name_plural} are not edited here.")
        key, fields = key_of(view, request), view.fields(view.editable)
        if request.method != "POST":
            async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
                record = await view.rows(unit).get(key)
            return await self._form(request, view, Draft.of(fields, record))
        draft = Draft.submitted(fields, await _form_of(request))
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            is_saved = await save(unit, view, key, draft)
            if not is_saved:
                await unit.session.rollback()
        if not is_saved:
            return await self._form(request, view, draft)
        path = f"{root_of(request)}/{view.identity}/details"
        return RedirectResponse(f"{path}/{request.path_params['pk']}", 303)

    async def delete(self, request: Request) -> Response:
        """Ask whether to delete a record, or delete it."""
        view, staff = self.office.view_of(request), staff_of(request)
        if not view.may_delete(request):
            raise HTTPException(405, f"{view.name_plural} are not deleted here.")
        key = key_of(view, request)
        error = ""
        if request.method == "POST":
            try:
                async with self.office.db.transaction(staff=staff.name) as unit:
                    await view.rows(unit).remove(await view.rows(unit).get(key))
                listing = f"{root_of(request)}/{view.identity}/list"
                return RedirectResponse(listing, 303)
            except ReferenceViolation:
                error = "Other records still belong to it, so it stays."
        async with self.office.db.snapshot(staff=staff.name) as unit:
            record = await view.rows(unit).get(key)
            dependents = await dependents_of(unit, view, record)
        context = {"view": view, "title": view.title(record), "error": error}
        context |= {"dependents": dependents, "back": address(request, view, record)}
        return self.office.pages.render(
            request, "delete.html", context, status=409 if error else 200
        )

    async def _form(self, request: Request, view: RecordView, draft: Draft) -> Response:
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            draft.labels = await labels_of(unit, draft.fields, draft.texts)
        own = request.path_params.get("pk")
        back = f"{root_of(request)}/{view.identity}/" + (f"details/{own}" if own else "list")
        title = f"{'Edit' if own else 'New'} {view.name.lower()}"
        context = {"view": view, "draft": draft, "title": title, "back": back}
        status = 409 if draft.is_stale else 422 if draft.errors else 200
        return self.office.pages.render(request, "form.html", context, status=status)


async def _form_of(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=500)
