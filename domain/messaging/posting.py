"""Channels by HTTP: signed webhooks, Discord, Slack.

Webhooks are signed as Standard Webhooks says (https://www.standardwebhooks.com), so receivers
have libraries for it. Redirects are not followed: they would go past what the user typed.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2

from domain.clock import as_utc, now
from domain.errors import InvalidData
from domain.messaging.channels import Address, Outgoing, TryLater, Undeliverable
from domain.messaging.public_hosts import PublicHosts
from domain.settings import Settings

LONGEST_PAUSE: Final = timedelta(hours=1)
"""A receiver that wants to be left alone for longer is asked again after this."""

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how such keys begin
_BUSY: Final = frozenset({408, 409, 425, 429})
_LONGEST_CHAT: Final = 1_900
_MARKED: Final = frozenset({"warning", "critical"})


def http_client(settings: Settings) -> httpx2.AsyncClient:
    """Return a client that reaches public hosts only, follows nothing and keeps nothing."""
    return httpx2.AsyncClient(
        transport=PublicHosts(allow_private=settings.allow_private_webhooks),
        timeout=settings.notification_timeout,
        follow_redirects=False,
        trust_env=False,
        headers={"user-agent": "tradekeep"},
    )


class WebhookChannel:
    """Posts a notice as JSON, signed when the user gave a key.

    Args:
        client: From `http_client`.
    """

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def deliver(self, notice: Outgoing, address: Address) -> None:
        """Post it.

        Raises:
            Undeliverable: The receiver refuses it, or the address is no public https URL.
            TryLater: The receiver is busy or not there.
        """
        content = {
            "id": str(notice.id),
            "kind": notice.kind,
            "severity": notice.severity,
            "title": notice.title,
            "body": notice.body,
            "data": notice.data,
            "createdAt": notice.created_at.isoformat(),
        }
        body = json.dumps(content, ensure_ascii=False).encode()
        headers = {"webhook-id": str(notice.id)}
        if address.signing_key is not None:
            headers |= signature_headers(address.signing_key, str(notice.id), body, at=now())
        await _post(self._client, address.target, body, headers)


class DiscordChannel:
    """Posts a notice to a Discord webhook; it can mention nobody."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def deliver(self, notice: Outgoing, address: Address) -> None:
        """Post it; see `WebhookChannel.deliver`."""
        content = {"content": _chat_text(notice, bold="**"), "allowed_mentions": {"parse": []}}
        await _post(self._client, address.target, json.dumps(content).encode(), {})


class SlackChannel:
    """Posts a notice to a Slack webhook; it can mention nobody."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def deliver(self, notice: Outgoing, address: Address) -> None:
        """Post it; see `WebhookChannel.deliver`."""
        text = _chat_text(notice, bold="*")
        for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(character, entity)
        await _post(self._client, address.target, json.dumps({"text": text}).encode(), {})


def signature_headers(key: str, message_id: str, body: bytes, *, at: datetime) -> dict[str, str]:
    """Return the headers by which a receiver knows who sent a body, and when.

    Args:
        key: As the user gave it; ``whsec_`` and base64, or any text.
        message_id: The notice's id.
        body: What is sent.
        at: When, aware.

    Source: Standard Webhooks, symmetric signatures: HMAC-SHA256 of ``id.timestamp.body``.

    Example:
        >>> at = datetime.fromisoformat("2024-11-15T21:12:01+00:00")
        >>> signature_headers("whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf",
        ...     b'{"event_type":"ping","data":{"success":true}}', at=at)["webhook-signature"]
        'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0='
    """
    timestamp = str(int(as_utc(at).timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(_key_bytes(key), signed, hashlib.sha256).digest()
    return {
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _key_bytes(key: str) -> bytes:
    if not key.startswith(_SECRET_PREFIX):
        return key.encode()
    try:
        return base64.b64decode(key.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        raise InvalidData("signing_key", _SECRET_PREFIX, "be whsec_ and base64") from None


async def _post(
    client: httpx2.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]
) -> None:
    sent = {"content-type": "application/json", **headers}
    try:
        # The answer is nobody's business, and may be endless: only its head is read.
        async with client.stream("POST", url, content=body, headers=sent) as response:
            _judge(response.status_code, response.headers)
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, UnicodeError):
        raise Undeliverable("the address is not a URL") from None
    except httpx2.TimeoutException:
        raise TryLater("the receiver did not answer in time") from None
    except httpx2.HTTPError as error:
        raise TryLater(f"the receiver could not be reached ({type(error).__name__})") from None


def _judge(status: int, headers: Mapping[str, Any]) -> None:
    if status < 300:  # noqa: PLR2004 - what HTTP calls success
        return
    reason = f"the receiver answered {status}"
    if status in _BUSY or status >= 500:  # noqa: PLR2004 - what HTTP calls the server's fault
        raise TryLater(reason, retry_after(headers.get("retry-after")))
    raise Undeliverable(reason)


def retry_after(value: str | None) -> timedelta | None:
    """Return the pause that a ``Retry-After`` header asks for, at most an hour.

    Example:
        >>> retry_after("120"), retry_after("soon")
        (datetime.timedelta(seconds=120), None)
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value)
    # Also false for NaN.
    return min(timedelta(seconds=min(seconds, 1e6)), LONGEST_PAUSE) if seconds >= 0 else None


def _until(value: str) -> timedelta | None:
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return min(max(at - now(), timedelta(0)), LONGEST_PAUSE)


def _chat_text(notice: Outgoing, *, bold: str) -> str:
    mark = f"[{notice.severity}] " if notice.severity in _MARKED else ""
    text = f"{bold}{mark}{notice.title}{bold}\n{notice.body}"
    return text if len(text) <= _LONGEST_CHAT else f"{text[: _LONGEST_CHAT - 1]}…"
