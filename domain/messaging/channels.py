"""What a way to a user is: a channel delivers a notice to an address, or says why not.

How each of them does it: `mailing` and `posting`. Who is told what on which of them is decided
above, where users are known.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from domain.db.unit import Unit
from domain.errors import TradekeepError
from domain.messaging.models import Notification

IN_APP: Final = "in_app"
"""The channel of notices that users read here: the row is the delivery."""

_LOG: Final = logging.getLogger("tradekeep.notices")


class Undeliverable(TradekeepError):
    """The notice cannot be delivered, now or later: no address, or the receiver refuses it."""


class TryLater(TradekeepError):
    """The notice could not be delivered now.

    Args:
        message: Why; no address in it.
        after: How long the receiver wants to be left alone, if it says so.
    """

    def __init__(self, message: str, after: timedelta | None = None) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A notice on its way.

    Args:
        id: Its own id, the same at every attempt: receivers that see it twice know it.
        kind: What it is about.
        severity: How much it matters.
        title: Headline.
        body: Text.
        created_at: When it was written, UTC.
        data: What programs need; amounts are strings.
    """

    id: UUID
    kind: str
    severity: str
    title: str
    body: str
    created_at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: Notification) -> "Outgoing":
        """Return the notice in a row."""
        return cls(
            id=stored.id,
            kind=stored.kind,
            severity=stored.severity,
            title=stored.title,
            body=stored.body,
            created_at=stored.created_at,
            data=stored.data,
        )


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where a user is reached: a secret as a rule, never logged or shown.

    Args:
        target: E-mail address or URL.
        signing_key: Signs what a webhook gets.
    """

    target: str
    signing_key: str | None = None


class Channel(Protocol):
    """A way to users."""

    async def deliver(self, notice: Outgoing, address: Address) -> None:
        """Deliver one notice.

        Raises:
            Undeliverable: It never will be.
            TryLater: It may be later.
        """


class Addresses(Protocol):
    """Knows where users are reached."""

    async def of(self, unit: Unit, user_id: UUID, channel: str) -> Address | None:
        """Return the user's address on a channel, None when there is none."""


class LogChannel:
    """Writes notices to the program's log: for development, and where a log is watched."""

    async def deliver(self, notice: Outgoing, address: Address) -> None:
        """Log title and kind; the body may be private."""
        del address
        title = " ".join(notice.title.split())  # a line break would begin another entry
        _LOG.info("%s %s: %s (%s)", notice.severity, notice.kind, title, notice.id)
