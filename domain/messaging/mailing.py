"""The channel by e-mail: one SMTP server, the standard library's client in a thread.

A second SMTP library would bring nothing but asyncio to a connection that lives for a second.
"""

import asyncio
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from domain.errors import ConfigurationError
from domain.messaging.channels import Address, Outgoing, TryLater, Undeliverable
from domain.settings import Settings

_TLS_PORT: Final = 465
_SUBMISSION_PORT: Final = 587
_PERMANENT: Final = 500


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in.

    Args:
        host: Name of the server.
        port: Its port.
        is_tls: Whether the connection begins with TLS; else STARTTLS is used where it is offered.
        sender: Address that mail comes from.
        user: Login, with a password only.
        password: Its password; sent over TLS alone.
        timeout: Seconds for each step.
    """

    host: str
    port: int
    is_tls: bool
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    timeout: float = 10.0

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return what the settings say; None when no server is set.

        Raises:
            ConfigurationError: The URL is no smtp:// or smtps:// URL, or the sender is missing.
        """
        if settings.smtp_url is None:
            return None
        parts = urlsplit(settings.smtp_url.get_secret_value())
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ConfigurationError("TRADEKEEP_SMTP_URL must be smtp://… or smtps://…")
        if not is_mail_address(settings.mail_from or ""):
            raise ConfigurationError("TRADEKEEP_MAIL_FROM must be an e-mail address")
        is_tls = parts.scheme == "smtps"
        return cls(
            host=parts.hostname,
            port=parts.port or (_TLS_PORT if is_tls else _SUBMISSION_PORT),
            is_tls=is_tls,
            sender=settings.mail_from or "",
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            timeout=settings.notification_timeout,
        )


class MailChannel:
    """Sends a notice as plain text.

    Args:
        server: Where it is handed in.
    """

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def deliver(self, notice: Outgoing, address: Address) -> None:
        """Send it.

        Raises:
            Undeliverable: The server refuses the receiver or the mail for good.
            TryLater: The server is busy or not there.
        """
        if not is_mail_address(address.target):
            raise Undeliverable("the address is not an e-mail address")
        await asyncio.to_thread(self._send, self._mail(notice, address.target))

    def _mail(self, notice: Outgoing, receiver: str) -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"] = self._server.sender, receiver
        # A line break would begin another header.
        mail["Subject"] = " ".join(notice.title.split())
        mail["Date"] = format_datetime(notice.created_at)
        # The same at every attempt: mail programs show a repetition once.
        domain = self._server.sender.rpartition("@")[2].rstrip(">")
        mail["Message-ID"] = f"<{notice.id}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(notice.body)
        return mail

    def _send(self, mail: EmailMessage) -> None:
        try:
            with self._connected() as connection:
                connection.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            raise _refusal(max(code for code, _ in error.recipients.values())) from None
        except smtplib.SMTPResponseException as error:
            raise _refusal(error.smtp_code) from None
        except (smtplib.SMTPException, OSError) as error:
            raise TryLater(f"the mail server failed ({type(error).__name__})") from None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        where = (server.host, server.port)
        secure = ssl.create_default_context()
        if server.is_tls:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                *where, timeout=server.timeout, context=secure
            )
        else:
            connection = smtplib.SMTP(*where, timeout=server.timeout)
            connection.ehlo_or_helo_if_needed()
            if connection.has_extn("starttls"):
                connection.starttls(context=secure)
            elif server.password:
                connection.close()
                raise Undeliverable("the mail server offers no TLS for the password")
        if server.password:
            connection.login(server.user, server.password)
        return connection


def is_mail_address(text: str) -> bool:
    """Return whether `text` may be an e-mail address: one, on one line.

    Example:
        >>> is_mail_address("Desk <desk@example.com>"), is_mail_address("a@b.example, c@d.example")
        (True, False)
    """
    name = parseaddr(text)[1]
    return text.isprintable() and "," not in text and 3 <= len(name) <= 254 and "@" in name[1:-1]  # noqa: PLR2004 - the limits of RFC 5321


def _refusal(code: int) -> TryLater | Undeliverable:
    reason = f"the mail server answered {code}"
    return Undeliverable(reason) if code >= _PERMANENT else TryLater(reason)
