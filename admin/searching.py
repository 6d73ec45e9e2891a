"""Search over everything: pages, tables and records by name, or any record by its id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Uuid, literal, select, text, union_all
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import identifier, uuid_or_none
from admin.office import GET, Office
from admin.pages import root_of
from admin.records import RecordView
from admin.signing_in import staff_of
from admin.translating import gettext
from domain.database import Reader
from domain.errors import QueryTimeout

_EACH: Final = 5
_LONGEST: Final = 100
_SHORTEST: Final = 2
"""One letter is the beginning of too much."""


@dataclass(frozen=True, slots=True)
class Found:
    """A place that was found.

    Args:
        kind: What it is: ``Page``, or the name of its table.
        text: What it is called.
        link: Where it is.
    """

    kind: str
    text: str
    link: str


class Search:
    """The pages.

    Args:
        office: The database, the templates and the views.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/search", self.show, methods=GET),
            Route("/search.json", self.offer, methods=GET),
        ]

    async def show(self, request: Request) -> Response:
        """Show what was found."""
        term = request.query_params.get("q", "")
        context = {"term": term, "found": await self._find(request, term)}
        return self.office.pages.render(request, "search.html", context)

    async def offer(self, request: Request) -> Response:
        """Return what was found, for the command palette."""
        found = await self._find(request, request.query_params.get("q", ""))
        return JSONResponse(
            [{"kind": item.kind, "text": item.text, "link": item.link} for item in found]
        )

    async def _find(self, request: Request, term: str) -> list[Found]:
        wanted = term.strip()
        pages = _pages(request, wanted)
        if not _SHORTEST <= len(wanted) <= _LONGEST or "\x00" in wanted:
            return pages
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            await unit.session.execute(text("SET LOCAL statement_timeout = 1000"))
            try:
                return [*pages, *await self._records(unit, root_of(request), wanted)]
            except QueryTimeout:
                return pages

    async def _records(self, unit: Reader, root: str, wanted: str) -> list[Found]:
        if (key := uuid_or_none(wanted)) is not None:
            return await self._with_id(unit, root, key)
        found: list[Found] = []
        for view in self.office.views.values():
            if view.is_found_by_name:
                found += await _named(unit, view, root, wanted)
        # A record of just this name is meant more often than one whose text mentions it.
        return sorted(found, key=lambda item: not item.text.lower().startswith(wanted.lower()))

    async def _with_id(self, unit: Reader, root: str, key: UUID) -> list[Found]:
        views = [view for view in self.office.views.values() if _has_id(view)]
        statement = union_all(
            *(
                select(literal(view.identity)).where(view.mapper.primary_key[0] == key)
                for view in views
            )
        )
        identities = await unit.session.scalars(statement)
        return [
            Found(gettext(self.office.views[name].name), str(key), f"{root}/{name}/details/{key}")
            for name in identities
        ]


async def _named(unit: Reader, view: RecordView, root: str, wanted: str) -> list[Found]:
    statement = view.base(unit).where(view.search_condition(wanted))
    records = await view.rows(unit).all(statement.order_by(view.search[0]).limit(_EACH))
    return [_found(view, record, root) for record in records]


def _found(view: RecordView, record: Any, root: str) -> Found:
    link = f"{root}/{view.identity}/details/{identifier(view, record)}"
    return Found(gettext(view.name), view.option(record), link)


def _pages(request: Request, wanted: str) -> list[Found]:
    """Return the entries of the menu whose label holds every word of `wanted`."""
    menu: Sequence[Any] = request.scope["tradekeep.menu"](request)
    words = wanted.lower().split()
    entries = [(gettext("Dashboard"), f"{root_of(request)}/")]
    entries += [(label, link) for _, links in menu for label, link, _ in links]
    return [
        Found(gettext("Page"), label, link)
        for label, link in entries
        if all(word in label.lower() for word in words)
    ]


def _has_id(view: RecordView) -> bool:
    key = view.mapper.primary_key
    return len(key) == 1 and isinstance(key[0].type, Uuid)
