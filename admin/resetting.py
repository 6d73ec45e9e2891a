"""Password resets: asked for by who forgot it, or started by an administrator.

The link holds a token of 256 bits that is good once, for an hour; the table holds its hash. It is
mailed directly and never stored with the notices, which staff can read.
"""

import asyncio
import logging
from typing import Any, Final

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from admin.office import BOTH, Office
from admin.pages import root_of
from admin.signing_in import SignIn
from admin.throttling import RESET_ACCOUNT, RESET_ADDRESS, account_claim, address_of
from admin.translating import gettext, marked
from admin.writing import sentence
from domain.cache.throttling import Claim
from domain.clock import new_id, now
from domain.errors import InvalidData
from domain.identity.encryption import keyring_of
from domain.identity.models import TicketPurpose, User
from domain.identity.notifying import StoredAddresses
from domain.identity.tickets import holder_of, issue_ticket, reset_password
from domain.messaging.channels import Address, Outgoing, TryLater, Undeliverable
from domain.messaging.mailing import MailChannel, MailServer

_LOG: Final = logging.getLogger("tradekeep.admin")
_EMAIL: Final = "email"
_TITLE: Final = marked("Choose a new password")
_BODY: Final = marked(
    "Somebody, hopefully you, wants to give your account %(name)s a new password.\n\n"
    "%(link)s\n\n"
    "The link is good once, within an hour. If it was not you, do nothing: your password stays.\n"
)
_GONE: Final = marked("This link is not good any more. Ask for another one.")


class Resetting:
    """The pages of people who cannot log in.

    Args:
        office: The database and the templates.
        sign_in: Counts attempts, and knows the settings.
    """

    def __init__(self, office: Office, sign_in: SignIn) -> None:
        self.office = office
        self.sign_in = sign_in
        self._sending: set[asyncio.Task[None]] = set()

    def routes(self) -> list[BaseRoute]:
        """Return the addresses; nobody is logged in on them."""
        return [
            Route("/forgot", self.forgot, name="forgot", methods=BOTH),
            Route("/reset", self.reset, name="reset", methods=BOTH),
        ]

    async def aclose(self) -> None:
        """Wait for the mails that are under way; each step has its own limit."""
        await asyncio.gather(*self._sending, return_exceptions=True)

    @property
    def mail(self) -> MailChannel | None:
        """The way to send mail, when one is configured."""
        server = MailServer.of(self.sign_in.settings)
        return None if server is None else MailChannel(server)

    async def forgot(self, request: Request) -> Response:
        """Ask who forgot the password, or mail a link; the answer is the same for every name."""
        if request.method != "POST":
            return self._page(request, "forgot.html", {"is_sent": False, "wait": 0})
        form = await request.form(max_files=0, max_fields=5)
        name = str(form.get("username", ""))
        claims = (account_claim(name, RESET_ACCOUNT), Claim(RESET_ADDRESS, address_of(request)))
        wait = await self.sign_in.throttle.attempt(*claims)
        if not wait:
            # In the background: the time of the answer says nothing either.
            task = asyncio.create_task(self._mail_link(self._link(request), name))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        context = {"is_sent": not wait, "wait": wait}
        return self._page(request, "forgot.html", context, status=429 if wait else 200)

    async def reset(self, request: Request) -> Response:
        """Ask for the new password, or set it."""
        form = await request.form(max_files=0, max_fields=5) if request.method == "POST" else {}
        token = str(form.get("token") or request.query_params.get("token", ""))
        error = ""
        try:
            async with self.office.db.transaction(system="password reset") as unit:
                if request.method != "POST":
                    user = await holder_of(unit, token, TicketPurpose.PASSWORD_RESET)
                else:
                    user = await reset_password(unit, token, str(form.get("password", "")))
        except InvalidData as refused:
            error = sentence(refused)
        else:
            if user is None:
                return self._page(
                    request, "reset.html", {"token": "", "error": gettext(_GONE)}, status=410
                )
            if request.method == "POST":
                return RedirectResponse(f"{root_of(request)}/login", status_code=303)
        context = {"token": token, "error": error}
        return self._page(request, "reset.html", context, status=422 if error else 200)

    async def start(self, request: Request, user: User, *, by: str) -> tuple[str, bool]:
        """Return a link for `user`, and whether it was mailed; a mailed link is shown to nobody."""
        async with self.office.db.transaction(staff=by) as unit:
            token = await issue_ticket(unit, user, TicketPurpose.PASSWORD_RESET, by=by)
            address = await self._addresses.of(unit, user.id, _EMAIL)
        link = str(self._link(request).include_query_params(token=token))
        if self.mail is None or address is None:
            return link, False
        is_sent = await self._send(address, user.username, link)
        return ("", True) if is_sent else (link, False)

    @property
    def _addresses(self) -> StoredAddresses:
        return StoredAddresses(keyring_of(self.sign_in.settings))

    def _link(self, request: Request) -> URL:
        return URL(str(request.base_url)).replace(path=f"{root_of(request)}/reset", query="")

    async def _mail_link(self, link: URL, name: str) -> None:
        async with self.office.db.transaction(system="forgotten password") as unit:
            user = await unit.users.by_username(name)
            if user is None or not user.is_active or self.mail is None:
                return
            address = await self._addresses.of(unit, user.id, _EMAIL)
            if address is None:
                return
            token = await issue_ticket(unit, user, TicketPurpose.PASSWORD_RESET, by="forgotten")
        await self._send(address, user.username, str(link.include_query_params(token=token)))

    async def _send(self, address: Address, name: str, link: str) -> bool:
        notice = Outgoing(
            id=new_id(),
            kind="password_reset",
            severity="info",
            title=gettext(_TITLE),
            body=gettext(_BODY, name=name, link=link),
            created_at=now(),
        )
        assert self.mail is not None  # noqa: S101 - asked by the callers
        try:
            await self.mail.deliver(notice, address)
        except (Undeliverable, TryLater) as error:
            _LOG.warning("a password reset was not mailed: %s", type(error).__name__)
            return False
        return True

    def _page(
        self, request: Request, name: str, context: dict[str, Any], *, status: int = 200
    ) -> Response:
        return self.office.pages.render(request, name, context, status=status)
