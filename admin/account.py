"""The account of whoever is logged in: password, second step, logins, wishes.

API keys of one's own are in `admin.keys`. What administrators do to other people's accounts is in
`admin.staffing`.
"""

import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import segno
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.confirming import when_sure
from admin.office import BOTH, GET, POST, Office
from admin.pages import root_of
from admin.signing_in import THEMES, VERDICTS, SignIn, staff_of
from admin.throttling import SECOND_STEP, login_claims
from admin.translating import gettext, marked
from admin.writing import sentence
from domain.cache.throttling import Claim
from domain.clock import now
from domain.database import Worker
from domain.errors import ConfigurationError, InvalidData, NotFound
from domain.identity.models import ApiKey, User, UserPreferences, UserSession
from domain.identity.second_factors import (
    Enrolment,
    begin_enrolment,
    finish_enrolment,
    has_second_factor,
    new_recovery_codes,
    remove_second_factor,
)
from domain.identity.signing_in import check_password, rotate_session, set_password
from domain.identity.ties import ExternalIdentity

_WRONG_PASSWORD: Final = marked("This is not your present password.")
_NO_KEYS: Final = marked(
    "A second step needs TRADEKEEP_ENCRYPTION_KEYS: ask whoever runs the server."
)
_QUIET_ZONE: Final = 4
_WISHES: Final = frozenset({"theme", "language"})


@dataclass(frozen=True, slots=True)
class Picture:
    """A QR code as one path of squares; the page draws it as SVG.

    Args:
        size: Width and height in squares.
        path: What is dark.
    """

    size: int
    path: str

    @classmethod
    def of(cls, text: str) -> "Picture":
        """Return the picture of a text."""
        rows = segno.make(text, error="m", micro=False).matrix
        dark = [
            f"M{x + _QUIET_ZONE} {y + _QUIET_ZONE}h1v1h-1z"
            for y, row in enumerate(rows)
            for x, square in enumerate(row)
            if square
        ]
        return cls(len(rows) + 2 * _QUIET_ZONE, "".join(dark))


class AccountPages:
    """Pages of one's own account.

    Args:
        office: The database and the templates.
        sign_in: Counts attempts, and gives cookies.
    """

    def __init__(self, office: Office, sign_in: SignIn) -> None:
        self.office = office
        self.sign_in = sign_in

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/account", self.show, methods=GET),
            Route("/account/password", self.password, methods=POST),
            Route("/account/second-step", when_sure(self.enrol), methods=BOTH),
            Route("/account/second-step/remove", when_sure(self.give_up), methods=POST),
            Route("/account/recovery-codes", when_sure(self.renew_codes), methods=POST),
            Route("/account/wishes", self.wishes, methods=POST),
            Route("/account/sessions/revoke-others", self.revoke_others, methods=POST),
            Route("/account/sessions/{pk}/revoke", self.revoke, methods=POST),
        ]

    async def show(self, request: Request) -> Response:
        """Show the account."""
        return await self._account(request)

    # ── password ─────────────────────────────────────────────────────────────────────────────

    async def password(self, request: Request) -> Response:
        """Change the password; every other login ends, and this one gets another token."""
        form = await request.form(max_files=0, max_fields=5)
        name = staff_of(request).user.username
        claims = login_claims(request, name)
        if await self.sign_in.throttle.attempt(*claims):
            return await self._account(
                request, {"password": gettext("Too many attempts. Wait a little.")}
            )
        present, new = str(form.get("present", "")), str(form.get("password", ""))
        try:
            async with self._writing(request) as unit:
                user = await check_password(unit, name, present)
                if user is None:
                    return await self._account(request, {"password": gettext(_WRONG_PASSWORD)})
                await set_password(unit, user, new, kept=self._session(request).id)
                token = await rotate_session(unit, self._token(request))
        except InvalidData as refused:
            return await self._account(request, {"password": sentence(refused)})
        await self.sign_in.throttle.forgive(claims[0])
        for claim in claims[1:]:
            await self.sign_in.throttle.give_back(claim)
        return self._back(request, token)

    # ── the second step ──────────────────────────────────────────────────────────────────────

    async def enrol(self, request: Request) -> Response:
        """Show what the authenticator needs, or check its first code."""
        error, codes = "", None
        try:
            if request.method == "POST":
                error, codes = await self._finish(request)
            if codes is not None:
                return self._codes(request, codes)
            async with self._writing(request) as unit:
                enrolment = await begin_enrolment(
                    unit, self.sign_in.keyring, await self._user(unit, request)
                )
        except ConfigurationError:
            raise HTTPException(503, _NO_KEYS) from None
        except InvalidData:
            return self._back(request)
        return self._enrolment(request, enrolment, error)

    async def _finish(self, request: Request) -> tuple[str, list[str] | None]:
        form = await request.form(max_files=0, max_fields=5)
        staff = staff_of(request)
        claim = Claim(SECOND_STEP, str(staff.user.id))
        if await self.sign_in.throttle.attempt(claim):
            return gettext("Too many attempts. Wait five minutes."), None
        async with self._writing(request) as unit:
            user = await self._user(unit, request)
            verdict, codes = await finish_enrolment(
                unit, self.sign_in.keyring, user, str(form.get("code", ""))
            )
            if verdict.is_good:
                await unit.user_sessions.revoke_all(
                    user, at=now(), reason="second step added", kept=self._session(request).id
                )
        if not verdict.is_good:
            return gettext(VERDICTS[verdict]), None
        await self.sign_in.throttle.forgive(claim)
        return "", codes

    def _enrolment(self, request: Request, enrolment: Enrolment, error: str) -> Response:
        groups = [enrolment.secret[at : at + 4] for at in range(0, len(enrolment.secret), 4)]
        context = {"picture": Picture.of(enrolment.uri), "secret": groups, "error": error}
        status = 422 if error else 200
        return self.office.pages.render(request, "second_step.html", context, status=status)

    async def give_up(self, request: Request) -> Response:
        """Forget the authenticator."""
        async with self._writing(request) as unit:
            await remove_second_factor(unit, staff_of(request).user.id)
        return self._back(request)

    async def renew_codes(self, request: Request) -> Response:
        """Show ten new recovery codes; the old ones end."""
        async with self._writing(request) as unit:
            user_id = staff_of(request).user.id
            if not await has_second_factor(unit, user_id):
                return self._back(request)
            codes = await new_recovery_codes(unit, user_id)
        return self._codes(request, codes)

    def _codes(self, request: Request, codes: Sequence[str]) -> Response:
        return self.office.pages.render(request, "recovery_codes.html", {"codes": codes})

    # ── logins ───────────────────────────────────────────────────────────────────────────────

    async def revoke(self, request: Request) -> Response:
        """End one of one's own logins."""
        async with self._writing(request) as unit:
            session = await unit.user_sessions.get(uuid_of(request))
            if session.user_id != staff_of(request).user.id:
                raise NotFound("session was not found")
            if session.revoked_at is None:
                session.revoked_at, session.revoked_reason = now(), "revoked by the user"
        return self._back(request)

    async def revoke_others(self, request: Request) -> Response:
        """End every login but this one."""
        async with self._writing(request) as unit:
            await unit.user_sessions.revoke_all(
                staff_of(request).user,
                at=now(),
                reason="revoked by the user",
                kept=self._session(request).id,
            )
        return self._back(request)

    # ── wishes ───────────────────────────────────────────────────────────────────────────────

    async def wishes(self, request: Request) -> Response:
        """Keep the time zone, the theme and the language."""
        form = await request.form(max_files=0, max_fields=5)
        zone, theme = str(form.get("timezone", "")), str(form.get("theme", ""))
        known = self.office.pages.languages.named(str(form.get("language", "")))
        language = known.tag if known else ""
        if zone not in zoneinfo.available_timezones():
            error = gettext("Time zone must be a name such as Europe/Berlin.")
            return await self._account(request, {"wishes": error})
        user_id = staff_of(request).user.id
        async with self._writing(request) as unit:
            (await unit.users.get(user_id)).timezone = zone
            stored = await unit.preferences.find(user_id)
            if stored is None:
                stored = unit.preferences.add(UserPreferences(user_id=user_id))
            kept = {name: value for name, value in stored.settings.items() if name not in _WISHES}
            wished = {"theme": theme if theme in THEMES else "", "language": language}
            stored.settings = kept | {name: value for name, value in wished.items() if value}
        return self._back(request)

    # ── what they share ──────────────────────────────────────────────────────────────────────

    async def _account(self, request: Request, errors: dict[str, str] | None = None) -> Response:
        user = staff_of(request).user
        async with self.office.db.snapshot(staff=staff_of(request).name) as unit:
            live = unit.user_sessions.query(
                UserSession.user_id == user.id,
                UserSession.revoked_at.is_(None),
                UserSession.expires_at > now(),
                UserSession.last_seen_at > now() - self.sign_in.lifetime.idle,
            )
            keys = unit.api_keys.query(ApiKey.user_id == user.id).order_by(ApiKey.id.desc())
            context: dict[str, Any] = {
                "sessions": await unit.user_sessions.all(live.order_by(UserSession.id.desc())),
                "keys": await unit.api_keys.all(keys.limit(100)),
                "identities": await unit.external_identities.all(
                    unit.external_identities.query(ExternalIdentity.user_id == user.id)
                ),
                "has_second_step": await has_second_factor(unit, user.id),
                "codes_left": await unit.recovery_codes.unused(user.id),
            }
        context |= {"errors": errors or {}, "own": self._session(request).id, "themes": THEMES}
        context |= {"languages": list(self.office.pages.languages)}
        context |= {"zones": sorted(zoneinfo.available_timezones()), "present": now()}
        status = 422 if errors else 200
        return self.office.pages.render(request, "account.html", context, status=status)

    def _writing(self, request: Request) -> Any:
        return self.office.db.transaction(staff=staff_of(request).name)

    async def _user(self, unit: Worker, request: Request) -> User:
        return await unit.users.get(staff_of(request).user.id)

    def _session(self, request: Request) -> UserSession:
        session = staff_of(request).session
        assert session is not None  # noqa: S101 - the gate has found one
        return session

    def _token(self, request: Request) -> str:
        return request.cookies.get(self.sign_in.cookie, "")

    def _back(self, request: Request, token: str | None = None) -> Response:
        response = RedirectResponse(f"{root_of(request)}/account", status_code=303)
        if token is not None:
            self.sign_in.give_cookie(response, token)
        return response
