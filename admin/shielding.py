"""What every response carries and every request must pass: headers, origin and size.

Pure ASGI, outside of routing, so that no page can forget it.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
HEADERS: Final = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_TOO_LARGE: Final = "This form is too large."
UPLOAD_BYTES: Final = 64_000_000
"""The largest file that is taken in."""
_UPLOADS: Final = re.compile(r"/admin/(imports/new|[a-z-]+/upload)")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})


class SecureHeaders:
    """Adds the security headers; pages are never stored, statics say for themselves.

    Args:
        app: The application.
        is_https: Tell browsers to stay on HTTPS.
    """

    def __init__(self, app: ASGIApp, *, is_https: bool) -> None:
        self._app = app
        self._headers = dict(HEADERS)
        if is_https:
            self._headers["strict-transport-security"] = "max-age=31536000; includeSubDomains"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the response's headers."""

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, complete)


class SmallBodies:
    """Refuses a body that is larger than any form, or than any file where files are sent to.

    Args:
        app: The application.
        limit: Bytes of a form.
        upload_limit: Bytes of a form with a file.
    """

    def __init__(
        self, app: ASGIApp, *, limit: int = 1_000_000, upload_limit: int = UPLOAD_BYTES + 100_000
    ) -> None:
        self._app = app
        self._limits = {False: limit, True: upload_limit}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; what reads more of its body than the limit gets a 413."""
        limit = self._limits[bool(_UPLOADS.fullmatch(scope.get("path", "")))]
        announced = Headers(scope=scope).get("content-length", "0") if "headers" in scope else "0"
        if not announced.isdecimal() or int(announced[:18]) > limit:
            await PlainTextResponse(_TOO_LARGE, 413)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, counted, send)


class SameOriginWrites:
    """Refuses a write that another site's page caused.

    Browsers say with ``Sec-Fetch-Site`` where a request comes from, and older ones with
    ``Origin``; a page cannot forge either. A client that sends neither is no browser.
    Source: OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Fetch Metadata".
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS:
            headers = Headers(scope=scope)
            if not _is_own(headers):
                refusal = PlainTextResponse("This form was sent from another site.", 403)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_own(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OWN_SITES
    return headers.get("origin") is None or is_own_origin(headers)


def is_own_origin(headers: Headers) -> bool:
    """Return whether ``Origin`` is there and names the host that is asked."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == headers.get("host", "")


def is_local_path(target: str) -> bool:
    """Return whether `target` is a path of this site, safe to redirect to.

    Refuses other sites in every spelling browsers accept: a second slash or a backslash after the
    first one, control characters, schemes.
    """
    if not target.startswith("/") or target.startswith(("//", "/\\")) or "\\" in target:
        return False
    return all(ord(char) > ord(" ") and ord(char) != 127 for char in target)  # noqa: PLR2004 - DEL
