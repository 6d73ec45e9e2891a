"""What every group of pages works with: the database, the templates and the views of tables."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from admin.pages import Pages
from admin.permits import AsSeen
from admin.records import RecordView
from admin.signing_in import staff_of
from domain.database import Database

GET: Final = ("GET",)
POST: Final = ("POST",)
BOTH: Final = ("GET", "POST")

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Office:
    """What pages need.

    Args:
        db: An open database.
        pages: Renders templates.
        views: The view of each table, by its part of the address.
    """

    db: Database
    pages: Pages
    views: AsSeen[RecordView]

    def view_of(self, request: Request) -> RecordView:
        """Return the view that the path names.

        Raises:
            HTTPException: 404 when there is none, 403 when this role may not read it.
        """
        name = request.path_params["identity"]
        view: RecordView | None = self.views.get(name)
        if view is None:
            if any(other.identity == name for other in self.views.everything()):
                raise HTTPException(403, "Your role does not allow this.")
            raise HTTPException(404, "There is no such table.")
        return view


def for_writers(handler: Handler) -> Handler:
    """Return `handler` for members of staff who may change things; others get a 403."""

    async def guarded(request: Request) -> Response:
        if not staff_of(request).may_write:
            raise HTTPException(403, "Your role reads; it does not change anything.")
        return await handler(request)

    return guarded
