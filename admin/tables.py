"""The pages of records that every table has: a record, its forms, its deletion."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin import inlines
from admin.addressing import address, identifier, key_of, parsed_key
from admin.deleting import consequences_of
from admin.detailing import read_details
from admin.history import is_restorable, restored_draft
from admin.inlines import Group
from admin.looking_up import labels_of, look_up
from admin.office import BOTH, GET, Office, for_writers
from admin.pages import root_of
from admin.records import RecordView
from admin.signing_in import staff_of
from admin.translating import gettext, inside
from admin.writing import Draft, create, save
from domain.database import Reader
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
            board = await view.board_of(unit, details.record) if view.board else {}
        context = {"view": view, "details": details, "board": board}
        context["roles"] = [str(role) for role in Role]
        return self.office.pages.render(request, "details.html", context)

    async def create(self, request: Request) -> Response:
        """Show an empty form, or insert what came back."""
        view = self.office.view_of(request)
        if not view.may_create(request):
            raise HTTPException(
                405, gettext("%(names)s are not made here.", names=gettext(view.name_plural))
            )
        fields = view.fields(view.creatable)
        if request.method != "POST":
            draft = Draft.empty(fields, await self._beginnings(request, view))
            return await self._form(request, view, draft)
        form = await _form_of(request)
        draft = Draft.submitted(fields, form)
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            record = await create(unit, view, draft)
            if record is None:
                await unit.session.rollback()
        if record is None:
            return await self._form(request, view, draft)
        request.path_params["pk"] = identifier(view, record)
        return self._onward(request, view, str(form.get("then", "")), "created")

    async def _beginnings(self, request: Request, view: RecordView) -> Mapping[str, Any]:
        """Return what a new record starts with: the values of the one it is to be like, if any."""
        like = request.query_params.get("like")
        if not like:
            return view.defaults()
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            record = await view.rows(unit).get(parsed_key(view, like))
        return {name: getattr(record, name) for name in view.creatable}

    async def edit(self, request: Request) -> Response:
        """Show a record's form, or write the fields that changed."""
        view = self.office.view_of(request)
        if not view.may_edit(request):
            raise HTTPException(
                405,
                gettext("%(names)s are not edited here.", names=gettext(view.name_plural)),
            )
        key, fields = key_of(view, request), view.fields(view.editable)
        groups = inlines.groups_of(view, request)
        if request.method != "POST":
            async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
                record = await view.rows(unit).get(key)
                await inlines.stored(unit, groups, record)
                draft = Draft.of(fields, record)
                if "restore" in request.query_params:
                    await restored_draft(unit, view, request, draft)
                await _name_references(unit, view, draft, record)
            return self._page(request, view, (draft, record), groups)
        form = await _form_of(request)
        draft = Draft.submitted(fields, form)
        inlines.submitted(groups, form)
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            is_saved = await save(unit, view, key, draft)
            if groups and is_saved:
                parent = await view.rows(unit).get(key)
                is_saved = await inlines.save_children(unit, groups, parent)
            if not is_saved:
                await unit.session.rollback()
        if not is_saved:
            return await self._form(request, view, draft, groups)
        word = "saved" if draft.changed() or inlines.is_changed(groups) else "unchanged"
        return self._onward(request, view, str(form.get("then", "")), word)

    def _onward(self, request: Request, view: RecordView, then: str, word: str) -> Response:
        """Return where a saved form leads: to its record, the form again, or another new one."""
        own = request.path_params["pk"]
        goals = {"continue": f"edit/{own}"}
        if view.may_create(request):
            goals["another"] = "create"
        goal = goals.get(then, f"details/{own}")
        return RedirectResponse(f"{root_of(request)}/{view.identity}/{goal}?done={word}", 303)

    async def delete(self, request: Request) -> Response:
        """Ask whether to delete a record, or delete it."""
        view, staff = self.office.view_of(request), staff_of(request)
        if not view.may_delete(request):
            raise HTTPException(
                405,
                gettext("%(names)s are not deleted here.", names=gettext(view.name_plural)),
            )
        key = key_of(view, request)
        error = await self._deleted(request, view, key) if request.method == "POST" else ""
        if error is None:
            return RedirectResponse(f"{root_of(request)}/{view.identity}/list?done=deleted", 303)
        async with self.office.db.snapshot(staff=staff.name) as unit:
            record = await view.rows(unit).get(key)
            means = await consequences_of(unit, view, record)
        context = {"view": view, "title": view.title(record), "error": error, "means": means}
        context |= {"is_restorable": is_restorable(view), "back": address(request, view, record)}
        return self.office.pages.render(
            request, "delete.html", context, status=409 if error else 200
        )

    async def _record(self, request: Request, view: RecordView, unit: Reader) -> Any:
        """Return the record that the path holds; None when it holds none."""
        if "pk" not in request.path_params:
            return None
        return await view.rows(unit).get(key_of(view, request))

    async def _deleted(self, request: Request, view: RecordView, key: Any) -> str | None:
        """Delete a record; return why it stays, or None."""
        typed = " ".join(str((await _form_of(request)).get("confirm", "")).split())
        try:
            async with self.office.db.transaction(staff=staff_of(request).name) as unit:
                record = await view.rows(unit).get(key)
                means = await consequences_of(unit, view, record)
                if means.needs_name and typed != " ".join(view.title(record).split()):
                    return gettext(
                        "%(count)s records go with it: type its name to confirm.",
                        count=f"{means.number:,}",
                    )
                await view.rows(unit).remove(record)
        except ReferenceViolation:
            return gettext("Other records still belong to it, so it stays.")
        return None

    async def _form(
        self, request: Request, view: RecordView, draft: Draft, groups: Sequence[Group] = ()
    ) -> Response:
        """Return the form of a draft, beside the record as it is stored now."""
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            record = await self._record(request, view, unit)
            await _name_references(unit, view, draft, record)
        return self._page(request, view, (draft, record), groups)

    def _page(
        self,
        request: Request,
        view: RecordView,
        subject: tuple[Draft, Any],
        groups: Sequence[Group],
    ) -> Response:
        draft, record = subject
        own = request.path_params.get("pk")
        back = f"{root_of(request)}/{view.identity}/" + (f"details/{own}" if own else "list")
        title = gettext("Edit %(kind)s") if own else gettext("New %(kind)s")
        title %= {"kind": inside(view.name)}
        context = {"view": view, "draft": draft, "title": title, "back": back}
        named = "" if record is None else view.title(record)
        context |= {"record_title": named, "groups": groups}
        drafts = [draft, *(child.draft for group in groups for child in group.children)]
        is_stale, is_wrong = (any(getattr(d, n) for d in drafts) for n in ("is_stale", "errors"))
        status = 409 if is_stale else 422 if is_wrong else 200
        return self.office.pages.render(request, "form.html", context, status=status)


async def _name_references(unit: Reader, view: RecordView, draft: Draft, record: Any) -> None:
    """Give a draft the names behind its references and the currency of its amounts."""
    draft.labels = await labels_of(unit, draft.fields, draft.texts)
    draft.currency = view.currency_of(record)


async def _form_of(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=500)
