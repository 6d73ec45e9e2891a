"""The admin's routes: sqladmin's registry and menu, our pages behind them.

sqladmin's own handlers for lists, forms, deletes, exports, imports, actions and files are not
routed: they write every field, follow GET links and serve files.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from sqladmin import Admin
from sqladmin._menu import ViewMenu
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from admin import (
    agents,
    alerts,
    identity,
    journal,
    market,
    messaging,
    news,
    research,
    trading,
)
from admin.addressing import address, key_of
from admin.answering import Answering
from admin.booking import Booking
from admin.dashboard import Dashboard
from admin.deleting import dependents_of
from admin.delivering import Delivering
from admin.detailing import read_details
from admin.doors import Doorkeeper
from admin.exporting import export_csv
from admin.listing import Listing, read_page
from admin.looking_up import labels_of, look_up
from admin.office import Office
from admin.pages import STATICS, KeptStatics, Pages, root_of
from admin.records import REFERENCES, RecordView
from admin.server_events import ServerEvents
from admin.signing_in import Gate, SignIn, staff_of
from admin.staffing import Staffing
from admin.writing import Draft, create, save
from domain.database import Database
from domain.errors import (
    AccessDenied,
    Conflict,
    InvalidData,
    LockTimeout,
    NotFound,
    QueryTimeout,
    ReferenceViolation,
    RejectedValue,
    TradekeepError,
    Unavailable,
)
from domain.identity.models import Role, User
from domain.settings import Settings
from domain.trading.models import Trade

_VIEWS: Final = (
    *trading.VIEWS,
    *journal.VIEWS,
    *alerts.VIEWS,
    *research.VIEWS,
    *agents.VIEWS,
    *market.VIEWS,
    *news.VIEWS,
    *identity.VIEWS,
    *messaging.VIEWS,
)
_PLAIN_WORDS: Final = {
    "Not Found": "There is no such page.",
    "Method Not Allowed": "This address does not do that.",
}
_LOG: Final = logging.getLogger("tradekeep.admin")

Handler = Callable[[Request], Awaitable[Response]]


class Site(Admin):
    """The admin at ``/admin``.

    Args:
        app: The application to mount on.
        db: An open database.
        settings: Cookies and lifetimes.
        door: Lets pages listen to live data.
    """

    def __init__(
        self, app: Starlette, db: Database, settings: Settings, *, door: Doorkeeper
    ) -> None:
        self.db = db
        self.events = ServerEvents(door)
        self.pages = Pages()
        self.sign_in = SignIn(db, settings, self.pages)
        super().__init__(app, engine=db.engine, title="Tradekeep")
        for view in _VIEWS:
            # sqladmin names a view for its model; people know the plural.
            view.identity = view.path
            self.add_view(view)
        for registered in self.records():
            REFERENCES[registered.table.fullname] = registered
        self.admin.user_middleware.append(Middleware(Gate, sign_in=self.sign_in))
        self.admin.router.routes = self._routes()
        self.admin.router.redirect_slashes = False
        self.admin.exception_handlers = {
            HTTPException: self._refused,
            NotFound: self._missing,
            InvalidData: self._invalid,
            QueryTimeout: self._slow,
            AccessDenied: self._denied,
            RejectedValue: self._unstorable,
            Conflict: self._busy,
            LockTimeout: self._busy,
            TradekeepError: self._failed,
            Exception: self._failed,
        }

    def records(self) -> list[RecordView]:
        """Return every view, in the order of the menu."""
        return [view for view in self.views if isinstance(view, RecordView)]

    def _routes(self) -> list[Any]:
        office = Office(self.db, self.pages)
        dashboard, staffing, booking = Dashboard(office), Staffing(office), Booking(office)
        answering, delivering = Answering(office), Delivering(office)
        get, post, both = ["GET"], ["POST"], ["GET", "POST"]
        return [
            Mount("/statics", KeptStatics(directory=STATICS), name="statics"),
            Route("/", self._page(dashboard.show), name="index", methods=get),
            Route("/login", self.sign_in.login, name="login", methods=both),
            Route("/logout", self.sign_in.logout, name="logout", methods=post),
            Route("/live", self.events.stream, methods=get),
            Route("/portfolio/{pk}", self._page(dashboard.portfolio), methods=get),
            Route("/users/new", self._writer(staffing.create), methods=both),
            Route("/users/{pk}/password", self._writer(staffing.password), methods=post),
            Route("/users/{pk}/role", self._writer(staffing.role), methods=post),
            Route("/users/{pk}/active", self._writer(staffing.active), methods=post),
            Route("/sessions/{pk}/revoke", self._writer(staffing.revoke_session), methods=post),
            Route("/api-keys/{pk}/revoke", self._writer(staffing.revoke_key), methods=post),
            Route("/trades/new", self._writer(booking.record), methods=both),
            Route("/trades/{pk}/correct", self._writer(booking.correct), methods=both),
            Route("/trades/{pk}/bust", self._writer(booking.bust), methods=post),
            Route("/imports/{pk}/revert", self._writer(booking.revert), methods=post),
            Route("/alerts/{pk}/status", self._writer(answering.status), methods=post),
            Route("/alert-events/{pk}/answer", self._writer(answering.answer), methods=post),
            Route("/failed-deliveries/answer/{pk}", self._writer(delivering.answer), methods=post),
            Route("/{identity}/list", self._page(self.list), name="list", methods=get),
            Route("/{identity}/export.csv", self._page(self.export), name="export", methods=get),
            Route("/{identity}/lookup", self._page(self.ajax_lookup), methods=get),
            Route("/{identity}/details/{pk:path}", self._page(self.details), methods=get),
            Route("/{identity}/create", self._writer(self.create), methods=both),
            Route("/{identity}/edit/{pk:path}", self._writer(self.edit), methods=both),
            Route("/{identity}/delete/{pk:path}", self._writer(self.delete), methods=both),
        ]

    # ── what every page shares ───────────────────────────────────────────────────────────────

    def _page(self, handler: Handler) -> Handler:
        async def page(request: Request) -> Response:
            request.scope["tradekeep.menu"] = self._entries(request)
            return await handler(request)

        return page

    def _writer(self, handler: Handler) -> Handler:
        async def page(request: Request) -> Response:
            if not staff_of(request).may_write:
                raise HTTPException(403, "Your role reads; it does not change anything.")
            return await handler(request)

        return self._page(page)

    def _entries(self, request: Request) -> Sequence[tuple[str, list[tuple[str, str, bool]]]]:
        root = root_of(request)
        current = request.url.path.removeprefix(f"{root}/").partition("/")[0]
        entries = []
        for category in self._menu.items:
            views = [item.view for item in category.children if isinstance(item, ViewMenu)]
            links = [
                (view.name_plural, f"{root}/{view.identity}/list", view.identity == current)
                for view in views
                if isinstance(view, RecordView) and (not view.is_part or view.identity == current)
            ]
            entries.append((category.name, links))
        return entries

    def view_of(self, request: Request) -> RecordView:
        """Return the view that the path names.

        Raises:
            HTTPException: 404 when there is none.
        """
        view = self._find_model_view(request.path_params["identity"])
        assert isinstance(view, RecordView)  # noqa: S101 - only these are registered
        return view

    # ── lists ────────────────────────────────────────────────────────────────────────────────

    async def list(self, request: Request) -> Response:
        """Show a page of a table."""
        view, staff = self.view_of(request), staff_of(request)
        listing = Listing(view, request.query_params, staff.user.timezone)
        pickers = view.fields(view.pickers)
        page, error, picked = None, "", {}
        try:
            async with self.db.snapshot(staff=staff.name) as unit:
                page = await read_page(unit, listing, root_of(request))
                picked = await labels_of(unit, pickers, dict(request.query_params))
        except QueryTimeout:
            error = "This combination takes too long. Narrow it by date, portfolio or instrument."
        except InvalidData as invalid:
            error = f"{invalid}."
        context: dict[str, Any] = {"view": view, "listing": listing, "page": page, "error": error}
        context |= {"filters": view.fields(view.filters), "pickers": pickers, "picked": picked}
        context["new"] = self._new_link(request, view)
        return self.pages.render(request, "list.html", context, status=400 if error else 200)

    def _new_link(self, request: Request, view: RecordView) -> str:
        """Return where a record of this kind is made, if this member of staff may."""
        staff, root = staff_of(request), root_of(request)
        if view.model is User and staff.may_manage_users:
            return f"{root}/users/new"
        if view.model is Trade and staff.may_write:
            portfolio = request.query_params.get("portfolio_id", "")
            return f"{root}/trades/new" + (f"?portfolio_id={quote(portfolio)}" if portfolio else "")
        return f"{root}/{view.identity}/create" if view.may_create(request) else ""

    async def export(self, request: Request) -> Response:
        """Stream the list as CSV, as it is filtered and ordered."""
        view = self.view_of(request)
        listing = Listing(view, request.query_params, staff_of(request).user.timezone)
        return export_csv(self.db, listing, staff_of(request).name)

    async def ajax_lookup(self, request: Request) -> Response:
        """Return the records whose name begins with the term, for a reference field."""
        view, term = self.view_of(request), request.query_params.get("q", "")
        async with self.db.snapshot(staff=staff_of(request).name) as unit:
            return JSONResponse(await look_up(unit, view, term))

    # ── records ──────────────────────────────────────────────────────────────────────────────

    async def details(self, request: Request) -> Response:
        """Show a record."""
        view, staff = self.view_of(request), staff_of(request)
        key = key_of(view, request)
        root = root_of(request)
        async with self.db.snapshot(staff=staff.name) as unit:
            details = await read_details(unit, view, key, zone=staff.user.timezone, root=root)
        context = {"view": view, "details": details, "roles": [str(role) for role in Role]}
        return self.pages.render(request, "details.html", context)

    async def create(self, request: Request) -> Response:
        """Show an empty form, or insert what came back."""
        view = self.view_of(request)
        if not view.may_create(request):
            raise HTTPException(405, f"{view.name_plural} are not made here.")
        fields = view.fields(view.creatable)
        if request.method != "POST":
            draft = Draft.empty(fields, view.defaults())
            return await self._form(request, view, draft)
        draft = Draft.submitted(fields, await _form_of(request))
        async with self.db.transaction(staff=staff_of(request).name) as unit:
            record = await create(unit, view, draft)
            if record is None:
                await unit.session.rollback()
        if record is None:
            return await self._form(request, view, draft)
        return RedirectResponse(address(request, view, record), 303)

    async def edit(self, request: Request) -> Response:
        """Show a record's form, or write the fields that changed."""
        view = self.view_of(request)
        if not view.may_edit(request):
            raise HTTPException(405, f"{view.name_plural} are not edited here.")
        key, fields = key_of(view, request), view.fields(view.editable)
        if request.method != "POST":
            async with self.db.snapshot(staff=staff_of(request).name) as unit:
                record = await view.rows(unit).get(key)
            return await self._form(request, view, Draft.of(fields, record))
        draft = Draft.submitted(fields, await _form_of(request))
        async with self.db.transaction(staff=staff_of(request).name) as unit:
            is_saved = await save(unit, view, key, draft)
            if not is_saved:
                await unit.session.rollback()
        if not is_saved:
            return await self._form(request, view, draft)
        path = f"{root_of(request)}/{view.identity}/details"
        return RedirectResponse(f"{path}/{request.path_params['pk']}", 303)

    async def delete(self, request: Request) -> Response:
        """Ask whether to delete a record, or delete it."""
        view, staff = self.view_of(request), staff_of(request)
        if not view.may_delete(request):
            raise HTTPException(405, f"{view.name_plural} are not deleted here.")
        key = key_of(view, request)
        error = ""
        if request.method == "POST":
            try:
                async with self.db.transaction(staff=staff.name) as unit:
                    await view.rows(unit).remove(await view.rows(unit).get(key))
                listing = f"{root_of(request)}/{view.identity}/list"
                return RedirectResponse(listing, 303)
            except ReferenceViolation:
                error = "Other records still belong to it, so it stays."
        async with self.db.snapshot(staff=staff.name) as unit:
            record = await view.rows(unit).get(key)
            dependents = await dependents_of(unit, view, record)
        context = {"view": view, "title": view.title(record), "error": error}
        context |= {"dependents": dependents, "back": address(request, view, record)}
        return self.pages.render(request, "delete.html", context, status=409 if error else 200)

    async def _form(self, request: Request, view: RecordView, draft: Draft) -> Response:
        async with self.db.snapshot(staff=staff_of(request).name) as unit:
            draft.labels = await labels_of(unit, draft.fields, draft.texts)
        own = request.path_params.get("pk")
        back = f"{root_of(request)}/{view.identity}/" + (f"details/{own}" if own else "list")
        title = f"{'Edit' if own else 'New'} {view.name.lower()}"
        context = {"view": view, "draft": draft, "title": title, "back": back}
        status = 409 if draft.is_stale else 422 if draft.errors else 200
        return self.pages.render(request, "form.html", context, status=status)

    # ── errors ───────────────────────────────────────────────────────────────────────────────

    def _error(self, request: Request, status: int, message: str) -> Response:
        request.scope.setdefault("tradekeep.menu", [])
        context = {"status": status, "message": message}
        return self.pages.render(request, "error.html", context, status=status)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        message = _PLAIN_WORDS.get(error.detail, error.detail)
        response = self._error(request, error.status_code, message)
        response.headers.update(error.headers or {})
        return response

    async def _missing(self, request: Request, _: Exception) -> Response:
        return self._error(request, 404, "There is no such record.")

    async def _invalid(self, request: Request, error: Exception) -> Response:
        return self._error(request, 400, f"{error}.")

    async def _denied(self, request: Request, _: Exception) -> Response:
        return self._error(request, 403, "The database does not allow this.")

    async def _unstorable(self, request: Request, _: Exception) -> Response:
        return self._error(request, 400, "The database cannot store this value.")

    async def _busy(self, request: Request, _: Exception) -> Response:
        return self._error(request, 409, "Somebody else is changing this just now. Try again.")

    async def _slow(self, request: Request, _: Exception) -> Response:
        return self._error(request, 503, "The database took too long. Try a narrower question.")

    async def _failed(self, request: Request, error: Exception) -> Response:
        _LOG.error("request failed: %s %s", request.method, request.url.path, exc_info=error)
        if isinstance(error, Unavailable):
            return self._error(request, 503, "The database cannot be reached. Try again shortly.")
        return self._error(request, 500, "Something went wrong. It was logged.")


async def _form_of(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=500)
