"""Gives every request an id, which stands in the history of what it changed and in the answer."""

import re
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from domain.clock import new_id
from domain.db.scope import during

HEADER: Final = "x-request-id"
_GIVEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


class RequestIds:
    """Takes the id that a proxy gave, where it is one, and makes one otherwise.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; every unit of work in it notes the id."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with during(request_id=request_id):
            await self._app(scope, receive, named)


def request_id_of(headers: Headers) -> str:
    """Return the id that a request came with, or a new one.

    What is no id is not taken: it would stand in the history as somebody else wrote it.
    """
    given = headers.get(HEADER, "")
    return given if _GIVEN.fullmatch(given) else str(new_id())
