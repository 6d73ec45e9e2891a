"""Who is there: the login page, the cookie, and the gate in front of every other page.

Everything is refused that is not login, statics or health, unless a live session of a member of
staff comes with the request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from admin.pages import MenuArea, Pages, root_of
from admin.shielding import is_local_path
from admin.throttling import Throttle
from domain.audit.recording import record
from domain.database import Database
from domain.db.unit import UnitOfWork
from domain.identity.models import Role, User
from domain.identity.signing_in import (
    Lifetime,
    Visitor,
    check_password,
    close_session,
    open_session,
    resume_session,
)
from domain.settings import Environment, Settings

WRITERS: Final = frozenset({Role.ADMIN, Role.MANAGER})
READERS: Final = WRITERS | {Role.ANALYST, Role.VIEWER}
"""Roles that enter the admin; traders, users and services use the library."""

_REFUSED: Final = "User name or password is wrong."


@dataclass(frozen=True, slots=True)
class Staff:
    """The member of staff behind a request.

    Args:
        user: The account.
    """

    user: User

    @property
    def name(self) -> str:
        """The name under which changes are recorded."""
        return self.user.username

    @property
    def may_write(self) -> bool:
        """Whether the role may change anything."""
        return self.user.role in WRITERS

    @property
    def may_manage_users(self) -> bool:
        """Whether the role may make users and give roles."""
        return self.user.role is Role.ADMIN


def staff_of(request: Request) -> Staff:
    """Return who sent this request; the gate has put it there."""
    staff = request.scope["tradekeep.staff"]
    assert isinstance(staff, Staff)  # noqa: S101 - the gate lets nobody else through
    return staff


class SignIn:
    """Login and logout.

    Args:
        db: Where users and sessions are.
        settings: Lifetimes and whether cookies demand HTTPS.
        pages: Renders the form.
    """

    def __init__(self, db: Database, settings: Settings, pages: Pages) -> None:
        self.db = db
        self.pages = pages
        self.throttle = Throttle()
        self.is_https = settings.environment is Environment.PRODUCTION
        self.lifetime = Lifetime(
            idle=timedelta(minutes=settings.session_idle_minutes),
            absolute=timedelta(hours=settings.session_hours),
        )

    @property
    def cookie(self) -> str:
        """The cookie's name; ``__Host-`` pins it to this host over HTTPS."""
        return "__Host-tradekeep" if self.is_https else "tradekeep"

    async def login(self, request: Request) -> Response:
        """Show the form, or check it and open a session."""
        target = request.query_params.get("next", "")
        if request.method != "POST":
            return self._form(request, target)
        form = await request.form(max_files=0, max_fields=10)
        username, password = str(form.get("username", "")), str(form.get("password", ""))
        ip = request.client.host if request.client else ""
        names = (f"user:{username.strip().lower()[:60]}", f"ip:{ip}")
        if wait := self.throttle.wait_seconds(*names):
            return self._form(request, target, error="Too many attempts.", wait=wait)
        self.throttle.attempt(*names)
        token = await self._open(request, username, password)
        if token is None:
            return self._form(request, target, error=_REFUSED)
        self.throttle.succeeded(*names)
        goal = target if is_local_path(target) else f"{root_of(request)}/"
        response = RedirectResponse(goal, status_code=303)
        response.set_cookie(
            self.cookie,
            token,
            max_age=int(self.lifetime.absolute.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=self.is_https,
        )
        return response

    async def _open(self, request: Request, username: str, password: str) -> str | None:
        ip = request.client.host if request.client else None
        visitor = Visitor(ip=ip, user_agent=request.headers.get("user-agent"))
        # PostgreSQL knows no NUL: such a name must look as unknown as any other.
        username = username.replace("\x00", "\N{REPLACEMENT CHARACTER}")
        async with self.db.transaction(system="login") as unit:
            user = await check_password(unit, username, password)
            known = user or await unit.users.by_username(username)
            is_let_in = user is not None and user.role in READERS
            await _note(unit, "login" if is_let_in else "login-failed", known, ip)
            if user is None or not is_let_in:
                return None
            if old := request.cookies.get(self.cookie):
                await close_session(unit, old, reason="replaced by a new login")
            return await open_session(unit, user, self.lifetime, visitor)

    async def logout(self, request: Request) -> Response:
        """End the session."""
        if token := request.cookies.get(self.cookie):
            staff = staff_of(request)
            async with self.db.transaction(staff=staff.name) as unit:
                await close_session(unit, token, reason="logout")
                key = staff.user.id
                await record(unit, "logout", table="identity.users", key=key, user_id=key)
        response = RedirectResponse(f"{root_of(request)}/login", status_code=303)
        response.delete_cookie(self.cookie, secure=self.is_https, httponly=True)
        return response

    async def resume(self, request: Request) -> Staff | None:
        """Return who the cookie belongs to, if its session lives."""
        token = request.cookies.get(self.cookie)
        if not token:
            return None
        async with self.db.transaction(system="session") as unit:
            user = await resume_session(unit, token, self.lifetime)
        return None if user is None or user.role not in READERS else Staff(user)

    def _form(
        self, request: Request, target: str, *, error: str | None = None, wait: int = 0
    ) -> Response:
        status = 429 if wait else 401 if error else 200
        context = {"error": error, "wait": wait, "next": target if is_local_path(target) else ""}
        response = self.pages.render(request, "login.html", context, status=status)
        if wait:
            response.headers["retry-after"] = str(wait)
        return response


async def _note(unit: UnitOfWork, action: str, user: User | None, ip: str | None) -> None:
    """Write an attempt into the history.

    The name of nobody may be a password in the wrong field: it is not written down.
    """
    details: dict[str, Any] = {"ip": ip} if ip else {}
    if user is None:
        await record(unit, action, table="identity.users", **details)
        return
    details["name"] = user.username
    await record(unit, action, table="identity.users", key=user.id, user_id=user.id, **details)


class Gate:
    """Lets members of staff through, and everybody to login and statics.

    Args:
        app: The admin.
        sign_in: Knows the sessions.
        menu: Returns what a page offers beside its content.
    """

    def __init__(
        self, app: ASGIApp, *, sign_in: SignIn, menu: Callable[[Request], list[MenuArea]]
    ) -> None:
        self._app = app
        self._sign_in = sign_in
        self._menu = menu

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its staff, or send it to the login page."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == "/login" or path.startswith("/statics/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        staff = await self._sign_in.resume(request)
        if staff is None:
            await self._to_login(request)(scope, receive, send)
            return
        scope["tradekeep.staff"] = staff
        scope["tradekeep.menu"] = self._menu
        await self._app(scope, receive, send)

    def _to_login(self, request: Request) -> Response:
        login = f"{root_of(request)}/login"
        if request.method not in {"GET", "HEAD"}:
            return RedirectResponse(login, status_code=303)
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{login}?next={quote(wanted)}", status_code=303)
