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
    identity,
    journal,
    market,
    messaging,
    news,
    research,
    trading,
)
from admin.answering import Answering
from admin.booking import Booking
from admin.broker_files import BrokerFiles
from admin.bulk import Bulk
from admin.cells import Cells
from admin.dashboard import Dashboard
from admin.delivering import Delivering
from admin.doors import Doorkeeper
from admin.exporting import Exporting
from admin.importing import Importing
from admin.lists import Lists
from admin.office import BOTH, GET, POST, Office
from admin.pages import STATICS, KeptStatics, MenuArea, Pages, root_of
from admin.records import REFERENCES, RecordView
from admin.refusals import Refusals
from admin.saved_views import SavedViews
from admin.server_events import ServerEvents
from admin.signing_in import Gate, SignIn
from admin.staffing import Staffing
from admin.tables import Tables
from domain.database import Database
from domain.settings import Settings

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
_GROUPS: Final = (
    Dashboard,
    Staffing,
    Booking,
    Answering,
    Delivering,
    BrokerFiles,
    SavedViews,
    Bulk,
    Cells,
    Lists,
    Exporting,
    Importing,
    Tables,
)
"""Groups of pages; an address that any table has stands behind those of its own."""


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
        gate = Middleware(Gate, sign_in=self.sign_in, menu=self.menu)
        self.admin.user_middleware.append(gate)
        self.admin.router.routes = self._routes()
        self.admin.router.redirect_slashes = False
        self.admin.exception_handlers = dict(Refusals(self.pages).handlers())

    def records(self) -> list[RecordView]:
        """Return every view, in the order of the menu."""
        return [view for view in self.views if isinstance(view, RecordView)]

    def _routes(self) -> list[BaseRoute]:
        views = {view.identity: view for view in self.records()}
        office = Office(self.db, self.pages, views)
        return [
            Mount("/statics", KeptStatics(directory=STATICS), name="statics"),
            Route("/login", self.sign_in.login, name="login", methods=BOTH),
            Route("/logout", self.sign_in.logout, name="logout", methods=POST),
            Route("/live", self.events.stream, methods=GET),
            *(route for group in _GROUPS for route in group(office).routes()),
        ]

    def menu(self, request: Request) -> list[MenuArea]:
        """Return the areas with the tables that stand in each."""
        root = root_of(request)
        current = request.url.path.removeprefix(f"{root}/").partition("/")[0]
        areas: list[MenuArea] = []
        for category in self._menu.items:
            views = [item.view for item in category.children if isinstance(item, ViewMenu)]
            links = [
                (view.name_plural, f"{root}/{view.identity}/list", view.identity == current)
                for view in views
                if isinstance(view, RecordView) and (not view.is_part or view.identity == current)
            ]
            areas.append((category.name, links))
        return areas
