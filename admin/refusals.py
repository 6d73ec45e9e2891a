"""What people see instead of a page: each error in plain words, never what the database said."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from admin.pages import Pages
from admin.translating import gettext, language, marked, speaking
from admin.writing import explained
from domain.errors import (
    AccessDenied,
    Conflict,
    InvalidData,
    LockTimeout,
    NotFound,
    QueryTimeout,
    RejectedValue,
    TradekeepError,
    Unavailable,
)

_PLAIN_WORDS: Final = {
    "Not Found": marked("There is no such page."),
    "Method Not Allowed": marked("This address does not do that."),
}
_LOG: Final = logging.getLogger("tradekeep.admin")


class Refusals:
    """Error pages.

    Args:
        pages: Renders them.
    """

    def __init__(self, pages: Pages) -> None:
        self.pages = pages

    def handlers(self) -> Mapping[Any, Any]:
        """Return the handler of each error."""
        return {
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

    def _error(self, request: Request, status: int, message: str) -> Response:
        # Some errors are answered outside of the gate, which has closed the language again.
        with speaking(request.scope.get("tradekeep.language", language())):
            context = {"status": status, "message": gettext(message)}
        return self.pages.render(request, "error.html", context, status=status)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        message = _PLAIN_WORDS.get(error.detail, error.detail)
        response = self._error(request, error.status_code, message)
        response.headers.update(error.headers or {})
        return response

    async def _missing(self, request: Request, _: Exception) -> Response:
        return self._error(request, 404, marked("There is no such record."))

    async def _invalid(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, InvalidData)  # noqa: S101 - registered for it
        return self._error(request, 400, explained(error))

    async def _denied(self, request: Request, _: Exception) -> Response:
        return self._error(request, 403, marked("The database does not allow this."))

    async def _unstorable(self, request: Request, _: Exception) -> Response:
        return self._error(request, 400, marked("The database cannot store this value."))

    async def _busy(self, request: Request, _: Exception) -> Response:
        return self._error(
            request, 409, marked("Somebody else is changing this just now. Try again.")
        )

    async def _slow(self, request: Request, _: Exception) -> Response:
        return self._error(
            request, 503, marked("The database took too long. Try a narrower question.")
        )

    async def _failed(self, request: Request, error: Exception) -> Response:
        _LOG.error("request failed: %s %s", request.method, request.url.path, exc_info=error)
        if isinstance(error, Unavailable):
            return self._error(
                request, 503, marked("The database cannot be reached. Try again shortly.")
            )
        return self._error(request, 500, marked("Something went wrong. It was logged."))
