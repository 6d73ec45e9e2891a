"""Builds the application: the admin, live data, health checks, and what protects them all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from admin.doors import Doorkeeper, HouseRules
from admin.pages import Pages
from admin.shielding import HEADERS, SameOriginWrites, SecureHeaders, SmallBodies
from admin.signing_in import SignIn
from admin.site import Site
from admin.sockets import Sockets
from admin.tracing import RequestIds
from admin.translating import Languages
from domain.database import Database
from domain.identity.oidc import require_complete
from domain.ops.deploying import refuse_unsafe
from domain.ops.health import readiness
from domain.realtime import open_live
from domain.settings import Environment, Settings

_COMPRESSION: Final = 5
"""Level 9 takes twice as long for a page that is one per cent smaller."""


def create_app(
    settings: Settings | None = None,
    *,
    url: str | None = None,
    rules: HouseRules | None = None,
    locales: Sequence[Path] = (),
) -> Starlette:
    """Return the application; it opens its database when it starts and closes it when it stops.

    Args:
        settings: Default: read from the environment.
        url: Default: the settings' database, else the embedded server.
        rules: Limits of live connections.
        locales: Folders of catalogues of your own, such as ``de/LC_MESSAGES/house.mo``; what they
            say comes before what ours say.

    Raises:
        ConfigurationError: A setting is wrong, or not safe for production.
    """
    chosen = settings or Settings.load()
    refuse_unsafe(chosen, url)
    if chosen.oidc_issuer is not None:
        require_complete(chosen)
    languages = Languages(locales, default=chosen.language)
    is_https = chosen.environment is Environment.PRODUCTION

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with (
            Database(url, settings=chosen) as db,
            open_live(chosen, address=db.redis_address) as live,
        ):
            sign_in = SignIn(db, chosen, Pages(languages=languages))
            door = Doorkeeper(db, live, sign_in, rules=rules)
            app.state.db = db
            app.state.sockets = Sockets(door)
            app.state.site = site = Site(app, db, sign_in, door=door)
            async with aclosing(site), door.on_duty():
                # A server that stops lets open connections say goodbye first.
                yield {"dismiss": door.dismiss}

    return Starlette(
        routes=[
            Route("/", _home),
            Route("/livez", _alive),
            Route("/readyz", _ready),
            WebSocketRoute("/ws", _converse),
        ],
        middleware=[
            Middleware(RequestIds),
            Middleware(ProxyHeadersMiddleware, trusted_hosts=list(chosen.trusted_proxies)),
            Middleware(SecureHeaders, is_https=is_https),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(chosen.allowed_hosts)),
            Middleware(SameOriginWrites),
            Middleware(SmallBodies),
            Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=_COMPRESSION),
        ],
        exception_handlers={Exception: _failed},
        lifespan=lifespan,
    )


async def _converse(websocket: WebSocket) -> None:
    await websocket.app.state.sockets.serve(websocket)


async def _home(_: Request) -> Response:
    return RedirectResponse("/admin/")


async def _failed(_: Request, __: Exception) -> Response:
    # Starlette answers outside of the middleware, so the headers are given here.
    headers = HEADERS | {"cache-control": "no-store"}
    return PlainTextResponse("Something went wrong. It was logged.", 500, headers=headers)


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _ready(request: Request) -> Response:
    report = await readiness(request.app.state.db)
    return JSONResponse(report.as_dict(), status_code=200 if report.is_ready else 503)
