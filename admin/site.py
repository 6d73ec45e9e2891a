"""The admin's routes: sqladmin's registry and menu, our pages behind them.

sqladmin's own handlers for lists, forms, deletes, exports, imports, actions and files are not
routed: they write every field, follow GET links and serve files.
"""

from typing import Final

from sqladmin import Admin
from sqladmin._menu import ViewMenu
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route

from admin import (
    agents,
    alerts,
    audit,
    identity,
    journal,
    market,
    messaging,
    news,
    research,
    trading,
)
from admin.account import AccountPages
from admin.answering import Answering
from admin.attaching import Attaching
from admin.booking import Booking
from admin.broker_files import BrokerFiles
from admin.bulk import Bulk
from admin.cells import Cells
from admin.confirming import Confirming
from admin.dashboard import Dashboard
from admin.delivering import Delivering
from admin.doors import Doorkeeper
from admin.exporting import Exporting
from admin.history import Histories
from admin.importing import Importing
from admin.keys import Keys
from admin.limiting import Limiting, kept_from_desks, kept_from_viewers
from admin.lists import Lists
from admin.office import BOTH, GET, POST, Office
from admin.pages import STATICS, KeptStatics, MenuArea, root_of
from admin.permissions import PermissionPages, catalogue
from admin.permits import GUARDED, PLACES, AsSeen, guarded
from admin.providers import Providers
from admin.racing import Race
from admin.records import REFERENCES, RecordView
from admin.refusals import Refusals
from admin.resetting import Resetting
from admin.reviewing import Review
from admin.saved_views import SavedViews
from admin.searching import Search
from admin.series import Series
from admin.server_events import ServerEvents
from admin.signing_in import Gate, SignIn, staff_of
from admin.staffing import Staffing
from admin.tables import Tables
from admin.translating import gettext, marked
from admin.viewing import Viewing, in_person
from domain.database import Database

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
    *audit.VIEWS,
)
_GROUPS: Final = (
    Dashboard,
    Search,
    Review,
    Race,
    Series,
    Booking,
    Answering,
    Attaching,
    Delivering,
    BrokerFiles,
    Histories,
    SavedViews,
    Bulk,
    Cells,
    Lists,
    Exporting,
    Importing,
    Tables,
)
"""Groups of pages; what any table has stands behind the pages that some have of their own."""

_PAGES: Final = {
    "Journal": ((marked("Review"), "review"),),
    "Agents": ((marked("Race"), "race"),),
    "Identity": ((marked("Permissions"), "permissions"),),
}
"""Pages that are no tables: label and path, by the area of the menu that they stand in."""


class Site(Admin):
    """The admin at ``/admin``.

    Args:
        app: The application to mount on.
        db: An open database.
        sign_in: Login and logout.
        door: Lets pages listen to live data.
    """

    def __init__(self, app: Starlette, db: Database, sign_in: SignIn, *, door: Doorkeeper) -> None:
        self.db = db
        self.events = ServerEvents(door)
        self.pages = sign_in.pages
        self.sign_in = sign_in
        super().__init__(app, engine=db.engine, title="Tradekeep")
        for view in _VIEWS:
            # sqladmin names a view for its model; people know the plural.
            view.identity = view.path
            self.add_view(view)
        for registered in self.records():
            REFERENCES[registered.table.fullname] = registered
        sign_in.guarded = GUARDED | {
            view.identity for view in self.records() if view.is_for_administrators
        }
        sign_in.kept_from_desks = kept_from_desks(self.records())
        sign_in.kept_from_viewers = kept_from_viewers(self.records())
        gate = Middleware(Gate, sign_in=self.sign_in, menu=self.menu)
        self.admin.user_middleware.append(gate)
        self.admin.router.routes = self._routes()
        self.admin.router.redirect_slashes = False
        self.admin.exception_handlers = dict(Refusals(self.pages).handlers())

    async def aclose(self) -> None:
        """Finish what is under way."""
        await self.resetting.aclose()
        await self.sign_in.throttle.aclose()
        if self.sign_in.provider is not None:
            await self.sign_in.provider.aclose()

    def records(self) -> list[RecordView]:
        """Return every view, in the order of the menu."""
        return [view for view in self.views if isinstance(view, RecordView)]

    def _routes(self) -> list[BaseRoute]:
        views = AsSeen({view.identity: view for view in self.records()})
        office = Office(self.db, self.pages, views)
        self.sign_in.catalogue = tuple(catalogue(office))
        self.resetting = Resetting(office, self.sign_in)
        people = (
            self.resetting,
            Confirming(office, self.sign_in),
            AccountPages(office, self.sign_in),
            Keys(office),
            PermissionPages(office, self.sign_in),
            Staffing(office, self.resetting),
            Limiting(office, self.sign_in),
            Viewing(office, self.sign_in),
            Providers(office, self.sign_in),
        )
        return [
            Mount("/statics", KeptStatics(directory=STATICS), name="statics"),
            Route("/words/{tag}.js", self.pages.words, methods=GET),
            Route("/login", self.sign_in.login, name="login", methods=BOTH),
            Route("/login/code", self.sign_in.code, methods=BOTH),
            Route("/logout", self.sign_in.logout, name="logout", methods=POST),
            _guarded(Route("/live", self.events.stream, methods=GET)),
            *(_guarded(route) for group in people for route in group.routes()),
            *(_guarded(route) for group in _GROUPS for route in group(office).routes()),
        ]

    def menu(self, request: Request) -> list[MenuArea]:
        """Return the areas with the tables that stand in each."""
        root = root_of(request)
        current = request.url.path.removeprefix(f"{root}/").partition("/")[0]
        areas: list[MenuArea] = []
        for category in self._menu.items:
            views = [item.view for item in category.children if isinstance(item, ViewMenu)]
            links = [
                (
                    gettext(view.name_plural),
                    f"{root}/{view.identity}/list",
                    view.identity == current,
                )
                for view in views
                if isinstance(view, RecordView)
                and view.may_read(request)
                and (not view.is_part or view.identity == current)
            ]
            pages = [
                (gettext(label), f"{root}/{path}", path == current)
                for label, path in _PAGES.get(category.name, ())
                if staff_of(request).may(*PLACES[f"/{path}"])
            ]
            if links or pages:
                areas.append((category.name, [*pages, *links]))
        return areas


def _guarded(route: BaseRoute) -> BaseRoute:
    if not isinstance(route, Route):
        return route
    handler = in_person(route.path, guarded(route.path, route.endpoint))
    return Route(route.path, handler, name=route.name, methods=list(route.methods or ()))
