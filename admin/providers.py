"""Logging in with an account at an identity provider, and linking such accounts to users.

How the provider is spoken to is `domain.identity.oidc`. Nobody is found by an e-mail: an account
there is a user's when the user, or an administrator, has linked it.
"""

import logging
from typing import Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.addressing import uuid_of
from admin.confirming import when_sure
from admin.office import GET, POST, Office
from admin.pages import root_of
from admin.shielding import is_local_path
from admin.signing_in import SignIn, staff_of
from admin.throttling import ADDRESS, ANYBODY, address_of
from admin.translating import gettext, marked
from domain.cache.throttling import Claim
from domain.errors import AlreadyExists, InvalidData, NotFound
from domain.identity.linking import create_from, link_identity, user_of
from domain.identity.models import User
from domain.identity.oidc import FLOW_SECONDS, Flow, Identity, OidcRefused, Provider
from domain.identity.permissions import READERS
from domain.identity.repositories import ExternalIdentityRepository

_LOG: Final = logging.getLogger("tradekeep.admin")
_LONGEST: Final = 1_000
_REFUSED: Final = marked(
    "Logging in with %(name)s did not work. Try again; if it stays so, log in with your password, "
    "or ask whoever runs Tradekeep."
)
_UNKNOWN: Final = marked(
    "Your account of %(name)s opens nothing here yet. Log in with your password and link it on "
    "your account page, or ask an administrator to link it."
)


class Providers:
    """The pages; without a provider in the settings they lead to the login page.

    Args:
        office: The database and the templates.
        sign_in: Knows the provider, counts attempts and opens sessions.
    """

    def __init__(self, office: Office, sign_in: SignIn) -> None:
        self.office = office
        self.sign_in = sign_in

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route("/login/oidc", self.begin, methods=GET),
            Route("/login/oidc/callback", self.come_back, methods=GET),
            Route("/account/provider/link", when_sure(self.link), methods=POST),
            Route("/account/provider/{pk}/remove", when_sure(self.unlink), methods=POST),
            Route("/users/{pk}/provider", when_sure(self.link_other), methods=POST),
        ]

    @property
    def cookie(self) -> str:
        """The name of the cookie of a flow."""
        return f"{self.sign_in.cookie}-oidc"

    # ── logging in ───────────────────────────────────────────────────────────────────────────

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider."""
        provider = self.sign_in.provider
        if provider is None:
            return RedirectResponse(f"{root_of(request)}/login", status_code=303)
        target = request.query_params.get("next", "")
        wanted = target if is_local_path(target) and len(target) <= _LONGEST else ""
        flow = Flow.begin("login", wanted)
        try:
            response: Response = RedirectResponse(await provider.address(flow), status_code=303)
        except OidcRefused as refused:
            return self._refused(request, provider, refused)
        self._keep(response, flow)
        return response

    async def come_back(self, request: Request) -> Response:
        """Check what the provider says, and open a session or link the account."""
        provider = self.sign_in.provider
        if provider is None:
            return RedirectResponse(f"{root_of(request)}/login", status_code=303)
        claims = (Claim(ADDRESS, address_of(request)), Claim(ANYBODY, "everybody"))
        if wait := await self.sign_in.throttle.attempt(*claims):
            return self.sign_in.refusal(request, gettext("Too many attempts."), wait=wait)
        flow = Flow(request.cookies.get(self.cookie, ""))
        try:
            identity = await provider.identity(flow, dict(request.query_params))
        except OidcRefused as refused:
            return self._refused(request, provider, refused)
        for claim in claims:
            await self.sign_in.throttle.give_back(claim)
        if flow.purpose == "link":
            response = await self._linked(request, identity)
        else:
            response = await self._entered(request, identity, flow)
        self._forget(response)
        return response

    async def _entered(self, request: Request, identity: Identity, flow: Flow) -> Response:
        async with self.sign_in.db.transaction(system="login") as unit:
            user = await user_of(unit, identity)
            domains = self.sign_in.settings.oidc_create_domains
            if user is None and domains and await _is_new(unit.external_identities, identity):
                user = await create_from(unit, identity, domains)
            if user is not None and user.role in READERS:
                return await self.sign_in.admit_proved(
                    unit,
                    request,
                    user,
                    target=flow.target,
                    is_proved_twice=identity.has_second_step,
                )
        name = self.sign_in.settings.oidc_name
        return self.sign_in.refusal(request, gettext(_UNKNOWN, name=name))

    # ── linking ──────────────────────────────────────────────────────────────────────────────

    async def link(self, request: Request) -> Response:
        """Show the way to the provider, to come back with the account to link.

        A page, not a redirect: the browser is not sent away by a form.
        """
        provider, flow = self._required(), Flow.begin("link")
        try:
            address = await provider.address(flow)
        except OidcRefused as refused:
            _LOG.warning("the identity provider was not reached: %s", refused.reason)
            raise HTTPException(503, "The identity provider cannot be reached now.") from None
        context = {"address": address, "host": urlsplit(address).hostname}
        response = self.office.pages.render(request, "provider.html", context)
        self._keep(response, flow)
        return response

    async def _linked(self, request: Request, identity: Identity) -> Response:
        staff = await self.sign_in.resume(request)
        if staff is None or staff.behind is not None or not staff.is_sure:
            late = gettext("That took too long. Log in and link it again.")
            return self.sign_in.refusal(request, late)
        done = "linked"
        with staff.acting():
            try:
                async with self.office.db.transaction(staff=staff.name) as unit:
                    await link_identity(unit, staff.user.id, identity, by=staff.name)
            except AlreadyExists:
                done = "linked-already"
        return RedirectResponse(f"{root_of(request)}/account?done={done}", status_code=303)

    async def unlink(self, request: Request) -> Response:
        """Forget one of one's own accounts at the provider."""
        staff = staff_of(request)
        async with self.office.db.transaction(staff=staff.name) as unit:
            link = await unit.external_identities.get(uuid_of(request))
            if link.user_id != staff.user.id:
                raise NotFound("account was not found")
            await unit.external_identities.remove(link)
        return RedirectResponse(f"{root_of(request)}/account?done=saved", status_code=303)

    async def link_other(self, request: Request) -> Response:
        """Link an account at the provider to another user, by its id there."""
        provider, staff = self._required(), staff_of(request)
        form = await request.form(max_files=0, max_fields=5)
        identity = Identity(provider.issuer, str(form.get("subject", "")).strip())
        try:
            async with self.office.db.transaction(staff=staff.name) as unit:
                user = await unit.users.get(uuid_of(request))
                await self._require_rank(request, user)
                await link_identity(unit, user.id, identity, by=staff.name)
        except InvalidData:
            raise HTTPException(422, "Name the account's id at the provider.") from None
        except AlreadyExists:
            raise HTTPException(409, "This account is linked already.") from None
        here = f"{root_of(request)}/users/details/{uuid_of(request)}?done=saved"
        return RedirectResponse(here, status_code=303)

    async def _require_rank(self, request: Request, user: User) -> None:
        permits = await self.sign_in.permits_of(user.role)
        if not staff_of(request).permits.covers(permits, self.sign_in.catalogue):
            raise HTTPException(403, "Nobody manages who may more than they do themselves.")

    # ── what they share ──────────────────────────────────────────────────────────────────────

    def _required(self) -> Provider:
        provider = self.sign_in.provider
        if provider is None:
            raise HTTPException(404, "No identity provider is set up.")
        return provider

    def _refused(self, request: Request, provider: Provider, refused: OidcRefused) -> Response:
        _LOG.warning("a login with the identity provider was refused: %s", refused.reason)
        response = self.sign_in.refusal(request, gettext(_REFUSED, name=provider.name))
        self._forget(response)
        return response

    def _keep(self, response: Response, flow: Flow) -> None:
        self.sign_in.set_cookie(response, self.cookie, flow.cookie, FLOW_SECONDS)

    def _forget(self, response: Response) -> None:
        response.delete_cookie(self.cookie, secure=self.sign_in.is_https, httponly=True)


async def _is_new(stored: ExternalIdentityRepository, identity: Identity) -> bool:
    """Return whether an account is nobody's: that of a locked user stays locked out."""
    return await stored.by_subject(identity.issuer, identity.subject) is None
