"""The pages of lists: one page of a table, its filters, its columns, its counts."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.building import MARK, Offered, built, from_form, offered, options_of
from admin.bulk import actions_of
from admin.conditions import OPERATORS, Group, written
from admin.counting import Count, count_exactly, measured
from admin.facets import Facet, facets_of
from admin.fields import label_of
from admin.listing import Listing, listing_of
from admin.looking_up import labels_of
from admin.office import GET, Office
from admin.ordering import SMALL
from admin.pages import root_of
from admin.paging import ListPage, read_page
from admin.periods import Period, periods_of
from admin.phrasing import titles_in
from admin.records import RecordView
from admin.saved_views import EVERYTHING, Tab, first_of, tabs_of
from admin.signing_in import staff_of
from admin.translating import gettext, marked
from admin.writing import explained
from domain.db.estimating import stored_rows
from domain.db.unit import Unit
from domain.errors import InvalidData, QueryTimeout
from domain.identity.models import User
from domain.identity.permissions import Action
from domain.trading.models import ImportBatch, Trade

_TOO_SLOW: Final = marked(
    "This combination takes too long. Narrow it by date, portfolio or instrument."
)


@dataclass(slots=True)
class Shown:
    """What a list page shows besides its rows; what could not be read stays empty.

    Args:
        page: The rows.
        error: Why there are none.
        picked: What the records are called that the pickers hold.
        facets: How often each word occurs, when it was asked for.
        tabs: Saved views.
        periods: Years, months and days to drill down by.
        counted: The exact number of records, when it was asked for.
        columns: What conditions may be about.
        titles: What the records are called that conditions compare with.
    """

    page: ListPage | None = None
    error: str = ""
    picked: dict[str, str] = field(default_factory=dict)
    facets: dict[str, Facet] = field(default_factory=dict)
    tabs: list[Tab] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)
    counted: Count | None = None
    columns: list[Offered] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)


class Lists:
    """Pages of tables.

    Args:
        office: The database and the templates.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/{identity}/list", self.show, name="list", methods=GET),
            Route("/{identity}/count", self.count, methods=GET),
        ]

    async def show(self, request: Request) -> Response:
        """Show a page of a table, or send a form's parameters to the address they stand for."""
        view = self.office.view_of(request)
        listing = listing_of(request, view)
        try:
            if target := _canonical(listing):
                return RedirectResponse(f"{root_of(request)}/{view.identity}/list{target}", 303)
            shown = await self._read(request, listing)
            if not request.url.query and (target := first_of(shown.tabs)):
                return RedirectResponse(f"{root_of(request)}/{view.identity}/list{target}", 303)
        except InvalidData as invalid:
            shown = Shown(error=f"{invalid}.")
        context = _context(request, listing, shown)
        status = 400 if shown.error else 200
        return self.office.pages.render(request, "list.html", context, status=status)

    async def _read(self, request: Request, listing: Listing) -> Shown:
        shown = Shown()
        try:
            async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
                shown.tabs = await tabs_of(unit, listing, staff_of(request).user.id)
                stored = await stored_rows(unit.session, listing.view.table.fullname)
                await _prepare(unit, listing, shown, stored)
                expected = await measured(unit, listing, stored)
                shown.page = await read_page(unit, listing, root_of(request), expected=expected)
                shown.periods = await periods_of(unit, listing)
            if request.query_params.get("facets"):
                shown.facets = await self._facets(request, listing)
            if request.query_params.get("count"):
                # Where counting takes too long, the estimate stays.
                with suppress(QueryTimeout):
                    shown.counted = await self._counted(request, listing)
        except QueryTimeout:
            shown.error = gettext(_TOO_SLOW)
        except InvalidData as invalid:
            shown.error = explained(invalid)
        return shown

    async def _facets(self, request: Request, listing: Listing) -> dict[str, Facet]:
        try:
            async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
                return await facets_of(unit, listing)
        except QueryTimeout:
            return {}

    async def _counted(self, request: Request, listing: Listing) -> Count:
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            return Count(await count_exactly(unit, listing), is_exact=True)

    async def count(self, request: Request) -> Response:
        """Return the exact number of records as a fragment of the page."""
        listing = listing_of(request, self.office.view_of(request))
        try:
            text, status = str(await self._counted(request, listing)), 200
        except QueryTimeout:
            text, status = gettext("more than can be counted in 15 seconds"), 503
        return self.office.pages.render(request, "count.html", {"text": text}, status=status)


def _canonical(listing: Listing) -> str:
    """Return the query that the inputs of a form stand for; empty when there are none.

    Raises:
        InvalidData: The form has too many conditions.
    """
    params = listing.params
    if params.get(MARK):
        return _bare(listing).link(where=written(from_form(params)) or None)
    if chosen := params.getlist("column"):
        return _bare(listing).link(columns=",".join(chosen))
    return ""


def _bare(listing: Listing) -> Listing:
    """Return the listing without the inputs of forms."""
    inputs = (MARK, "column", "f-", "o-", "v-", "g-")
    kept = [(name, value) for name, value in listing.kept() if not name.startswith(inputs)]
    return Listing(listing.view, type(listing.params)(kept), listing.zone)


async def _prepare(unit: Unit, listing: Listing, shown: Shown, stored: int | None) -> None:
    view = listing.view
    shown.columns = offered(view, is_small=stored is None or stored <= SMALL)
    pickers = view.fields(view.pickers)
    shown.picked = await labels_of(unit, pickers, dict(listing.params))
    shown.titles = dict(await titles_in(unit, view, listing.group))


def _context(request: Request, listing: Listing, shown: Shown) -> dict[str, Any]:
    view = listing.view
    try:
        heads = listing.heads(expected=_expected(shown))
        columns, tree, can_jump = listing.columns, built(listing.group), listing.is_in_time
    except InvalidData:
        heads, columns, tree, can_jump = [], view.columns, built(Group()), False
    return {
        "view": view,
        "listing": listing,
        "shown": shown,
        "page": shown.page,
        "error": shown.error,
        "filters": view.fields(view.filters),
        "pickers": view.fields(view.pickers),
        "heads": heads,
        "tree": tree,
        "operators": list(OPERATORS.values()),
        "column_options": options_of,
        "chooser_columns": _chooser(listing, columns),
        "can_jump": can_jump,
        "everything": EVERYTHING,
        "editing": _editing(request, view, columns),
        "actions": actions_of(request, view),
        "new": new_link(request, view),
    }


def _editing(request: Request, view: RecordView, columns: Sequence[str]) -> dict[int, str]:
    """Return the attributes that are changed in the list, by their place in its lines."""
    if not view.may_edit(request):
        return {}
    return {place: name for place, name in enumerate(columns) if name in view.list_editable}


def _expected(shown: Shown) -> int | None:
    if shown.page is None or shown.page.count is None:
        return None
    return shown.page.count.rows


def _chooser(listing: Listing, chosen: Any) -> list[tuple[str, str, bool]]:
    """Return (attribute, label, is shown) of every column: the chosen ones first."""
    rest = [name for name in listing.offered() if name not in chosen]
    return [(name, label_of(name), name in chosen) for name in (*chosen, *rest)]


def new_link(request: Request, view: RecordView) -> str:
    """Return where a record of this kind is made, if this member of staff may."""
    staff, root = staff_of(request), root_of(request)
    if view.model is User and staff.may("users", Action.CREATE):
        return f"{root}/users/new"
    if view.model in {Trade, ImportBatch} and staff.may(view.identity, Action.CREATE):
        portfolio = request.query_params.get("portfolio_id", "")
        query = f"?portfolio_id={quote(portfolio)}" if portfolio else ""
        return f"{root}/{view.identity}/new{query}"
    return f"{root}/{view.identity}/create" if view.may_create(request) else ""
