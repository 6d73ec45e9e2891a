"""Who is there: the login pages, the cookies, and the gate in front of every other page.

Everything is refused that is not login, reset, statics or health, unless a live session of a
member of staff comes with the request. A login that still lacks its second step is no session: it
is a ticket of five minutes in a cookie of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from admin.pages import MenuArea, Pages, root_of
from admin.permits import asking
from admin.shielding import is_local_path
from admin.throttling import SECOND_STEP, address_of, login_claims
from admin.translating import gettext, marked, speaking
from domain.audit.recording import record
from domain.cache.keys import Keyspace
from domain.cache.throttling import Claim, Throttle
from domain.clock import now
from domain.database import Database, Worker
from domain.db.scope import Reach, during, limited_to
from domain.db.unit import Unit, UnitOfWork
from domain.errors import ConfigurationError
from domain.identity.cached import permits_of
from domain.identity.encryption import Keyring, keyring_of
from domain.identity.models import Role, TicketPurpose, User, UserSession
from domain.identity.oidc import provider_of
from domain.identity.permissions import READERS, Permits
from domain.identity.reaching import reach_of
from domain.identity.second_factors import Verdict, check_code, has_second_factor
from domain.identity.signing_in import (
    Lifetime,
    Visitor,
    check_password,
    close_session,
    find_session,
    is_use_to_be_noted,
    open_session,
    resume_login,
    token_hash,
)
from domain.identity.tickets import LIVES, holder_of, issue_ticket, use_ticket
from domain.identity.viewing import end_viewing, viewed_by, viewing_until
from domain.settings import Environment, Settings

SURE_FOR: Final = timedelta(minutes=10)
"""How long after people proved who they are dangerous actions do not ask again."""

THEMES: Final = ("light", "dark")

VERDICTS: Final = {
    Verdict.WRONG: marked("This code is wrong."),
    Verdict.USED: marked("This code was used already. Wait for the next one."),
    Verdict.OTHER_TIME: marked(
        "This code belongs to another time: the clock of your authenticator is wrong. "
        "Let it set its time automatically, then try again."
    ),
}
"""What people are told of a code that does not open."""

_NOTHING: Final = Permits(Role.SERVICE)
_REFUSED: Final = marked("User name or password is wrong.")
_OPEN: Final = (
    "/login", "/login/code", "/login/oidc", "/login/oidc/callback", "/forgot", "/reset",
)  # fmt: skip
_OPEN_FOLDERS: Final = ("/statics/", "/words/")
_IN_PERSON: Final = ("/logout", "/account/stop-viewing")
"""Pages for whoever looks as somebody else, not for whom they look as."""
_NO_KEYS: Final = "TRADEKEEP_ENCRYPTION_KEYS must be set for second steps of logins"


@dataclass(frozen=True, slots=True)
class Staff:
    """The member of staff behind a request.

    Args:
        user: The account.
        session: The login.
        theme: light or dark; empty: as the browser wants.
        language: The tag of the chosen language; empty: as the browser wants.
        permits: What the role may do.
        reach: The tenants that are seen; None: all.
        behind: The member of staff who looks as `user`; None: `user` is there in person.
    """

    user: User
    session: UserSession | None = None
    theme: str = ""
    language: str = ""
    permits: Permits = field(default=_NOTHING)
    reach: Reach | None = None
    behind: "Staff | None" = None

    @property
    def name(self) -> str:
        """The name under which changes are recorded."""
        return self.user.username

    def may(self, resource: str, action: str) -> bool:
        """Return whether the role may do this."""
        return self.permits.allows(resource, action)

    @property
    def may_write(self) -> bool:
        """Whether the role may change anything at all."""
        return self.permits.writes_anything

    @property
    def may_manage_users(self) -> bool:
        """Whether the role may make users."""
        return self.permits.allows("users", "create")

    @property
    def viewing_until(self) -> datetime | None:
        """Until when somebody looks as `user`; None: `user` is there in person."""
        return viewing_until(self.session) if self.behind and self.session else None

    @property
    def hears_all(self) -> bool:
        """Whether what happens to all tenants is told."""
        return self.reach is None and self.hears_others

    @property
    def hears_others(self) -> bool:
        """Whether what happens to the tenants that are seen is told.

        It holds values of every table: a role from which anything is kept hears nothing of it.
        """
        is_staff = self.user.role in READERS
        return is_staff and self.may("live", "read") and not self.permits.is_narrowed

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Let everything in this block be asked, seen and recorded as this member of staff.

        The one place that limits a request: units of staff that begin inside see the tenants of
        `reach`, whichever page opens them.
        """
        behind = self.behind.name if self.behind else ""
        with asking(self.permits), limited_to(self.reach), during(impersonator=behind):
            yield

    @property
    def is_sure(self) -> bool:
        """Whether the person proved a short while ago who they are."""
        confirmed = self.session.confirmed_at if self.session else None
        return confirmed is not None and now() - confirmed <= SURE_FOR


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
        self.settings = settings
        self.throttle = Throttle(db.redis_address, Keyspace(settings.cache_prefix))
        self.provider = provider_of(settings)
        """The identity provider that people may log in with."""
        pages.offer(self.provider.name if self.provider else "")
        self.guarded: frozenset[str] = frozenset()
        """Resources in which only administrators write by default; the site says which."""
        self.kept_from_desks: frozenset[tuple[str, str]] = frozenset()
        """What staff limited to some tenants may not do, whatever their role; the site says it."""
        self.kept_from_viewers: frozenset[tuple[str, str]] = frozenset()
        """What nobody does who looks as somebody else; the site says it."""
        self.catalogue: tuple[tuple[str, str], ...] = ()
        """Every permission, as the site has them."""
        self.is_https = settings.environment is Environment.PRODUCTION
        self.lifetime = Lifetime(
            idle=timedelta(minutes=settings.session_idle_minutes),
            absolute=timedelta(hours=settings.session_hours),
        )

    @property
    def cookie(self) -> str:
        """The cookie's name; ``__Host-`` pins it to this host over HTTPS."""
        return "__Host-tradekeep" if self.is_https else "tradekeep"

    @property
    def step_cookie(self) -> str:
        """The name of the cookie between the two steps of a login."""
        return f"{self.cookie}-step"

    @property
    def keyring(self) -> Keyring:
        """The keys that authenticators' secrets are encrypted with.

        Raises:
            ConfigurationError: There are none.
        """
        keys = keyring_of(self.settings)
        if keys is None:
            raise ConfigurationError(_NO_KEYS)
        return keys

    # ── the first step ───────────────────────────────────────────────────────────────────────

    async def login(self, request: Request) -> Response:
        """Show the form, or check it and open a session or the second step."""
        target = request.query_params.get("next", "")
        if request.method != "POST":
            return self._form(request, target)
        form = await request.form(max_files=0, max_fields=10)
        username, password = str(form.get("username", "")), str(form.get("password", ""))
        claims = login_claims(request, username)
        if wait := await self.throttle.attempt(*claims):
            return self._form(request, target, error=gettext("Too many attempts."), wait=wait)
        response = await self._enter(request, username, password)
        if response is None:
            return self._form(request, target, error=gettext(_REFUSED))
        account, *others = claims
        await self.throttle.forgive(account)
        for claim in others:
            await self.throttle.give_back(claim)
        return response

    async def _enter(self, request: Request, username: str, password: str) -> Response | None:
        # PostgreSQL knows no NUL: such a name must look as unknown as any other.
        username = username.replace("\x00", "\N{REPLACEMENT CHARACTER}")
        async with self.db.transaction(system="login") as unit:
            user = await check_password(unit, username, password)
            if user is None or user.role not in READERS:
                known = user or await unit.users.by_username(username)
                await _note(unit, "login-failed", known, address_of(request))
                return None
            if await has_second_factor(unit, user.id):
                ticket = await issue_ticket(unit, user, TicketPurpose.SECOND_STEP, by="login")
                return self._to_second_step(request, ticket)
            token = await self.admit(unit, request, user)
        return self.welcome(request, token)

    async def admit_proved(
        self, unit: Worker, request: Request, user: User, *, target: str, is_proved_twice: bool
    ) -> Response:
        """Let somebody in whom an identity provider has proved; a second step of ours is asked.

        Args:
            unit: A transaction of a trusted job.
            request: The request.
            user: Who it is here.
            target: Where they wanted; a foreign page is not gone to.
            is_proved_twice: Whether the provider's second step stands for ours.
        """
        if not is_proved_twice and await has_second_factor(unit, user.id):
            ticket = await issue_ticket(unit, user, TicketPurpose.SECOND_STEP, by="provider")
            return self._to_second_step(request, ticket, target)
        return self.welcome(request, await self.admit(unit, request, user), target)

    async def admit(self, unit: Worker, request: Request, user: User) -> str:
        """Open a session for whoever has proved to be `user`, in place of the browser's old one."""
        visitor = Visitor(ip=address_of(request), user_agent=request.headers.get("user-agent"))
        if old := request.cookies.get(self.cookie):
            await close_session(unit, old, reason="replaced by a new login")
        await _note(unit, "login", user, address_of(request))
        return await open_session(unit, user, self.lifetime, visitor)

    def welcome(self, request: Request, token: str, target: str | None = None) -> Response:
        """Return the way to where the visitor wanted, with the session's cookie."""
        target = request.query_params.get("next", "") if target is None else target
        goal = target if is_local_path(target) else f"{root_of(request)}/"
        response = RedirectResponse(goal, status_code=303)
        self.give_cookie(response, token)
        if self.step_cookie in request.cookies:
            response.delete_cookie(self.step_cookie, secure=self.is_https, httponly=True)
        return response

    def give_cookie(self, response: Response, token: str) -> None:
        """Let the browser keep a session's token."""
        seconds = int(self.lifetime.absolute.total_seconds())
        self.set_cookie(response, self.cookie, token, seconds)

    def set_cookie(self, response: Response, name: str, token: str, seconds: int) -> None:
        """Let the browser keep a text that no script and no other site gets."""
        response.set_cookie(
            name, token, max_age=seconds, httponly=True, samesite="lax", secure=self.is_https
        )

    # ── the second step ──────────────────────────────────────────────────────────────────────

    def _to_second_step(self, request: Request, ticket: str, target: str | None = None) -> Response:
        target = request.query_params.get("next", "") if target is None else target
        query = f"?next={quote(target)}" if is_local_path(target) else ""
        response = RedirectResponse(f"{root_of(request)}/login/code{query}", status_code=303)
        seconds = int(LIVES[TicketPurpose.SECOND_STEP].total_seconds())
        self.set_cookie(response, self.step_cookie, ticket, seconds)
        return response

    async def code(self, request: Request) -> Response:
        """Ask for the code of the authenticator, or check it and open the session."""
        target, ticket = request.query_params.get("next", ""), self._ticket(request)
        if request.method != "POST":
            return self._code_form(request, target)
        form = await request.form(max_files=0, max_fields=10)
        async with self.db.transaction(system="login") as unit:
            user = await holder_of(unit, ticket, TicketPurpose.SECOND_STEP)
        if user is None:
            return self._form(request, target, error=gettext("That took too long. Log in again."))
        if wait := await self.throttle.attempt(Claim(SECOND_STEP, str(user.id))):
            return self._code_form(request, target, error=gettext("Too many attempts."), wait=wait)
        verdict, response = await self._second_step(request, ticket, str(form.get("code", "")))
        if response is None:
            return self._code_form(request, target, error=gettext(VERDICTS[verdict]))
        await self.throttle.forgive(Claim(SECOND_STEP, str(user.id)))
        return response

    async def _second_step(
        self, request: Request, ticket: str, code: str
    ) -> tuple[Verdict, Response | None]:
        async with self.db.transaction(system="login") as unit:
            user = await holder_of(unit, ticket, TicketPurpose.SECOND_STEP)
            if user is None or user.role not in READERS:
                return Verdict.WRONG, None
            verdict = await check_code(unit, self.keyring, user.id, code)
            if not verdict.is_good:
                await _note(unit, "login-failed", user, address_of(request))
                return verdict, None
            await use_ticket(unit, ticket, TicketPurpose.SECOND_STEP)
            token = await self.admit(unit, request, user)
        return verdict, self.welcome(request, token)

    def _ticket(self, request: Request) -> str:
        return request.cookies.get(self.step_cookie, "")

    # ── afterwards ───────────────────────────────────────────────────────────────────────────

    async def logout(self, request: Request) -> Response:
        """End the session."""
        if token := request.cookies.get(self.cookie):
            staff = staff_of(request)
            async with self.db.transaction(staff=staff.name) as unit:
                key = staff.user.id
                if staff.session is not None:
                    await end_viewing(unit, staff.session.id, staff.user, reason="logout")
                await close_session(unit, token, reason="logout")
                await record(unit, "logout", table="identity.users", key=key, user_id=key)
        response = RedirectResponse(f"{root_of(request)}/login", status_code=303)
        response.delete_cookie(self.cookie, secure=self.is_https, httponly=True)
        return response

    async def resume(self, request: Request) -> Staff | None:
        """Return who the cookie belongs to, if its session lives."""
        token = request.cookies.get(self.cookie)
        if not token:
            return None
        async with self.db.read(system="session") as unit:
            found = await find_session(unit, token_hash(token), self.lifetime)
            if found is None or found[0].role not in READERS:
                return None
            staff = await self.standing(unit, *found)
            wishes = await unit.preferences.find(found[0].id)
        await self._note_use(token, staff, *found)
        chosen = {} if wishes is None else wishes.settings
        theme, language = str(chosen.get("theme", "")), str(chosen.get("language", ""))
        return replace(staff, theme=theme if theme in THEMES else "", language=language)

    async def _note_use(self, token: str, staff: Staff, user: User, session: UserSession) -> None:
        """Write that the login was used, and that looking as somebody else is over, when it is."""
        is_over = session.viewing_id is not None and staff.behind is None
        if not is_over and not is_use_to_be_noted(session):
            return
        async with self.db.transaction(system="session") as unit:
            await resume_login(unit, token, self.lifetime)
            if is_over:
                await end_viewing(unit, session.id, user, reason="time or rights were over")

    # ── who stands there ─────────────────────────────────────────────────────────────────────

    async def standing(self, unit: Unit, user: User, session: UserSession | None = None) -> Staff:
        """Return what a user may do and sees here: the one answer, for pages and for live data.

        Args:
            unit: A unit of a trusted job.
            user: Who logged in, or whose key it is.
            session: The login; one may look as somebody else.
        """
        staff = await self._in_person(unit, user, session)
        viewed = None if session is None else await viewed_by(unit, session)
        if viewed is None or not await self.may_view_as(staff, viewed):
            return staff
        if viewed.role in READERS:
            seen = await self._in_person(unit, viewed, session)
            reach = seen.reach and Reach(seen.reach.tenants | {viewed.id})
            permits = seen.permits.without(self.kept_from_viewers)
            return replace(seen, permits=permits, reach=reach, behind=staff)
        permits = (await self.permits_of(Role.VIEWER)).without(
            self.kept_from_desks | self.kept_from_viewers, is_reading=True
        )
        return Staff(viewed, session, permits=permits, reach=Reach.of([viewed.id]), behind=staff)

    async def _in_person(self, unit: Unit, user: User, session: UserSession | None) -> Staff:
        permits, reach = await self.permits_of(user.role), await reach_of(unit, user)
        if reach is not None:
            permits = permits.without(self.kept_from_desks)
        return Staff(user, session, permits=permits, reach=reach)

    async def may_view_as(self, staff: Staff, user: User) -> bool:
        """Return whether a member of staff, there in person, may look as this user.

        Never as themselves, a locked account, or somebody who may more than they do.
        """
        if staff.behind or staff.reach or not staff.may("users", "impersonate"):
            return False
        if user.id == staff.user.id or not user.is_active:
            return False
        return staff.permits.covers(await self.permits_of(user.role), self.catalogue)

    async def permits_of(self, role: Role) -> Permits:
        """Return what a role may do, from the cache."""
        return await permits_of(self.db.cached(), role, self.guarded)

    def refusal(self, request: Request, error: str, *, wait: int = 0) -> Response:
        """Return the login page with what is wrong."""
        return self._form(request, "", error=error, wait=wait)

    def _form(
        self, request: Request, target: str, *, error: str | None = None, wait: int = 0
    ) -> Response:
        return self._answer(request, "login.html", target, (error, wait))

    def _code_form(
        self, request: Request, target: str, *, error: str | None = None, wait: int = 0
    ) -> Response:
        return self._answer(request, "code.html", target, (error, wait))

    def _answer(
        self, request: Request, name: str, target: str, refusal: tuple[str | None, int]
    ) -> Response:
        error, wait = refusal
        status = 429 if wait else 401 if error else 200
        context = {"error": error, "wait": wait, "next": target if is_local_path(target) else ""}
        response = self.pages.render(request, name, context, status=status)
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
    """Lets members of staff through, and everybody to login, reset and statics.

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
        request = Request(scope, receive)
        if path in _OPEN or path.startswith(_OPEN_FOLDERS):
            await self._answer(request, "", send)
            return
        staff = await self._sign_in.resume(request)
        if staff is None:
            await self._to_login(request)(scope, receive, send)
            return
        if path in _IN_PERSON and staff.behind is not None:
            staff = staff.behind
        scope["tradekeep.staff"] = staff
        scope["tradekeep.menu"] = self._menu
        with staff.acting():
            await self._answer(request, staff.language, send)

    async def _answer(self, request: Request, own: str, send: Send) -> None:
        """Pass the request on in its language."""
        accepted = request.headers.get("accept-language", "")
        chosen = self._sign_in.pages.languages.chosen(own, accepted)
        request.scope["tradekeep.language"] = chosen
        with speaking(chosen):
            await self._app(request.scope, request.receive, send)

    def _to_login(self, request: Request) -> Response:
        login = f"{root_of(request)}/login"
        if request.method not in {"GET", "HEAD"}:
            return RedirectResponse(login, status_code=303)
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{login}?next={quote(wanted)}", status_code=303)
