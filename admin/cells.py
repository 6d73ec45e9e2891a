"""One field of one record, changed in its list: fragments of a page, written as forms write."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from admin.addressing import key_of
from admin.fields import Field
from admin.looking_up import labels_of
from admin.naming import names_of
from admin.office import BOTH, Office, for_writers
from admin.pages import root_of
from admin.records import RecordView
from admin.rendering import show
from admin.signing_in import staff_of
from admin.writing import Draft, save


class Cells:
    """The fragments.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [Route("/{identity}/cells/{pk:path}", for_writers(self.cell), methods=BOTH)]

    async def cell(self, request: Request) -> Response:
        """Give the field as it is stored now, or write what came back and give its cell."""
        view, field = self._field(request)
        key = key_of(view, request)
        if request.method != "POST":
            async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
                draft = Draft.of([field], await view.rows(unit).get(key))
            return await self._form(request, draft)
        draft = Draft.submitted([field], await request.form(max_files=0, max_fields=10))
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            is_saved = await save(unit, view, key, draft)
            if not is_saved:
                await unit.session.rollback()
        if not is_saved:
            return await self._form(request, draft)
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            record = await view.rows(unit).get(key)
            names = await names_of(unit, view, [record], [field.name])
        value = getattr(record, field.name)
        known = not isinstance(value, dict | list) and (field.name, value) in names
        shown = (
            names.cell(field.name, value, root_of(request))
            if known
            else show(value, field.name, staff_of(request).user.timezone)
        )
        return self.office.pages.render(request, "cell.html", {"cell": shown})

    def _field(self, request: Request) -> tuple[RecordView, Field]:
        view, name = self.office.view_of(request), request.query_params.get("field", "")
        if name not in view.list_editable or not view.may_edit(request):
            raise HTTPException(405, "This is not changed in the list.")
        return view, view.fields([name])[0]

    async def _form(self, request: Request, draft: Draft) -> Response:
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            draft.labels = await labels_of(unit, draft.fields, draft.texts)
        status = 409 if draft.is_stale else 422 if draft.errors else 200
        return self.office.pages.render(request, "cell_form.html", {"draft": draft}, status=status)
