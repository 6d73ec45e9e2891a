"""Lists that people save under a name: saved, renamed, shared, opened first, deleted."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.listing import Listing
from admin.office import POST, Office
from admin.pages import root_of
from admin.records import RecordView
from admin.signing_in import staff_of
from domain.database import Repositories, Worker
from domain.errors import AlreadyExists, InvalidData
from domain.identity.models import SavedView

EVERYTHING: Final = "all"
"""The tab of the list as it is without any saved view."""

_LONGEST_NAME: Final = 60
_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class Tab:
    """A saved view above its list.

    Args:
        saved: The view.
        link: The list as it was saved.
        is_current: Whether the page shows it.
        is_own: Whether this member of staff saved it.
    """

    saved: SavedView
    link: str
    is_current: bool
    is_own: bool


async def tabs_of(unit: Repositories, listing: Listing, user_id: UUID) -> list[Tab]:
    """Return the saved views that a member of staff sees above a list."""
    current = listing.params.get("view", "")
    return [
        Tab(saved, link_of(saved), str(saved.id) == current, saved.user_id == user_id)
        for saved in await unit.saved_views.of(user_id, listing.view.identity)
    ]


def link_of(saved: SavedView) -> str:
    """Return the query that opens a saved view."""
    return f"?{saved.query}&view={saved.id}" if saved.query else f"?view={saved.id}"


def first_of(tabs: Sequence[Tab]) -> str:
    """Return the query of the view that the list opens with; empty without one."""
    return next((tab.link for tab in tabs if tab.is_own and tab.saved.is_default), "")


class SavedViews:
    """What people do with their views.

    Args:
        office: The database and the views of tables.
    """

    def __init__(self, office: Office) -> None:
        self.office = office

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/{identity}/views", self.save, methods=POST),
            Route("/{identity}/views/{pk}", self.change, methods=POST),
        ]

    async def save(self, request: Request) -> Response:
        """Save the list that the form stands on under a new name."""
        view, user = self.office.view_of(request), staff_of(request).user
        form = await request.form(max_files=0, max_fields=10)
        query = _query(request, view, str(form.get("query", "")))
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            seen = await unit.saved_views.of(user.id, view.identity)
            own = [item for item in seen if item.user_id == user.id]
            if len(own) >= _MOST:
                raise InvalidData("name", len(own), f"be one of at most {_MOST} saved views")
            saved = SavedView(
                user_id=user.id,
                view=view.identity,
                name=_name(str(form.get("name", ""))),
                query=query,
                is_shared=bool(form.get("is_shared")),
                position=len(own),
            )
            unit.saved_views.add(saved)
            await _flush(unit, saved.name)
        return self._to(request, link_of(saved))

    async def change(self, request: Request) -> Response:
        """Change a view of one's own: the button says how."""
        form = await request.form(max_files=0, max_fields=10)
        change = self._changes().get(str(form.get("do", "")))
        if change is None:
            raise HTTPException(400, "A view is updated, renamed, shared, opened first or deleted.")
        async with self.office.db.transaction(staff=staff_of(request).name) as unit:
            saved = await unit.saved_views.get(uuid_of(request))
            if saved.user_id != staff_of(request).user.id:
                raise HTTPException(403, "Only who saved a view changes it.")
            texts = {name: str(value) for name, value in form.items()}
            texts["query"] = _query(request, self.office.view_of(request), texts.get("query", ""))
            target = await change(unit, saved, texts)
        return self._to(request, target)

    def _changes(self) -> dict[str, Callable[[Worker, SavedView, dict[str, str]], Awaitable[str]]]:
        return {
            "update": _update,
            "rename": _rename,
            "share": _share,
            "first": _first,
            "delete": _delete,
        }

    def _to(self, request: Request, query: str) -> Response:
        identity = request.path_params["identity"]
        return RedirectResponse(f"{root_of(request)}/{identity}/list{query}", 303)


async def _update(unit: Worker, saved: SavedView, texts: dict[str, str]) -> str:
    saved.query = texts["query"]
    await unit.flush()
    return link_of(saved)


async def _rename(unit: Worker, saved: SavedView, texts: dict[str, str]) -> str:
    saved.name = _name(texts.get("name", ""))
    await _flush(unit, saved.name)
    return link_of(saved)


async def _share(unit: Worker, saved: SavedView, _: dict[str, str]) -> str:
    saved.is_shared = not saved.is_shared
    await unit.flush()
    return link_of(saved)


async def _first(unit: Worker, saved: SavedView, _: dict[str, str]) -> str:
    if saved.is_default:
        saved.is_default = False
        await unit.flush()
    else:
        await unit.saved_views.make_default(saved)
    return link_of(saved)


async def _delete(unit: Worker, saved: SavedView, _: dict[str, str]) -> str:
    await unit.saved_views.remove(saved)
    await unit.flush()
    return f"?view={EVERYTHING}"


async def _flush(unit: Worker, name: str) -> None:
    try:
        await unit.flush()
    except AlreadyExists:
        raise InvalidData("name", name, "differ from your other views of this list") from None


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not 1 <= len(name) <= _LONGEST_NAME or "\x00" in name:
        raise InvalidData("name", name, f"have 1 to {_LONGEST_NAME} characters")
    return name


def _query(request: Request, view: RecordView, text: str) -> str:
    """Return the query without cursors and names of other views.

    Raises:
        InvalidData: The list does not understand it.
    """
    listing = Listing.of_text(view, text.removeprefix("?"), staff_of(request).user.timezone)
    listing.validate()
    return listing.link(view=None, facets=None).removeprefix("?")
