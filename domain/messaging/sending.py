"""Sends notices: claimed for a while, delivered outside any transaction, each attempt recorded.

A receiver cannot take part in our transaction, so a notice is delivered at least once: a worker
that dies between delivering and recording delivers again, under the same id.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import or_, select, update

from domain.clock import now
from domain.db.bulk import any_of
from domain.db.connection import Connections
from domain.db.unit import UnitOfWork
from domain.messaging.channels import (
    IN_APP,
    Address,
    Addresses,
    Channel,
    Outgoing,
    TryLater,
    Undeliverable,
)
from domain.messaging.consuming import Patience
from domain.messaging.models import Notification, NotificationStatus
from domain.messaging.redacting import reason_of

AT_ONCE: Final = 20
"""Notices that are under way at the same time."""

WITHOUT_ADDRESS: Final = frozenset({"log"})
"""Channels that need no address."""

_LEASE: Final = timedelta(minutes=2)
_LOG: Final = logging.getLogger("tradekeep.notices")

OnSent = Callable[[UnitOfWork, Notification], Awaitable[None]]


@dataclass
class Sender:
    """Sends what is due; any number of workers may do so at once.

    Args:
        db: An open database.
        channels: The ways there are, by name.
        addresses: Knows where users are reached.
        patience: Pauses between attempts.
        on_sent: Called in the transaction that records a delivery.
    """

    db: Connections[Any, Any]
    channels: Mapping[str, Channel]
    addresses: Addresses
    patience: Patience = field(default_factory=Patience)
    on_sent: OnSent | None = None

    async def send_due(self) -> int:
        """Send what is due, some at once; return how many attempts were made."""
        claimed = await self._claim()
        outcomes = await asyncio.gather(
            *(self._send(stored) for stored in claimed), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return len(claimed)

    async def _claim(self) -> Sequence[Notification]:
        due = (
            select(Notification.id)
            .where(
                Notification.status == NotificationStatus.PENDING,
                or_(Notification.next_attempt_at.is_(None), Notification.next_attempt_at <= now()),
            )
            .order_by(Notification.next_attempt_at.nulls_first(), Notification.id)
            .limit(AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        async with self.db.transaction(system="sender") as unit:
            ids = (await unit.session.scalars(due)).all()
            claiming = (
                update(Notification)
                .where(Notification.id == any_of(ids))
                .values(attempts=Notification.attempts + 1, next_attempt_at=now() + _LEASE)
            )
            found = await unit.session.scalars(claiming.returning(Notification))
            return list(found)

    async def _send(self, stored: Notification) -> None:
        try:
            await self._deliver(stored)
        except Undeliverable as error:
            await self._record(stored, NotificationStatus.FAILED, last_error=reason_of(error))
        except Exception as error:  # noqa: BLE001 - whatever a channel raises is its notice's failure
            await self._postpone(stored, error)
        else:
            await self._record(
                stored,
                NotificationStatus.SENT,
                sent_at=now(),
                last_error=None,
                next_attempt_at=None,
            )

    async def _deliver(self, stored: Notification) -> None:
        if stored.channel == IN_APP:
            return
        channel = self.channels.get(stored.channel)
        if channel is None:
            raise Undeliverable(f"the channel {stored.channel} is not set up here")
        address = Address("")
        if stored.channel not in WITHOUT_ADDRESS:
            async with self.db.read(system="sender") as unit:
                found = await self.addresses.of(unit, stored.user_id, stored.channel)
            if found is None:
                raise Undeliverable(f"the user has no address for {stored.channel}")
            address = found
        await channel.deliver(Outgoing.of(stored), address)

    async def _postpone(self, stored: Notification, error: Exception) -> None:
        reason = reason_of(error)
        _LOG.warning("notice %s by %s: %s", stored.id, stored.channel, reason)
        if stored.attempts >= self.patience.attempts:
            await self._record(stored, NotificationStatus.FAILED, last_error=reason)
            return
        asked = error.after if isinstance(error, TryLater) else None
        again = now() + (asked or self._pause(stored.attempts))
        await self._record(
            stored, NotificationStatus.PENDING, last_error=reason, next_attempt_at=again
        )

    def _pause(self, attempts: int) -> timedelta:
        longest = min(self.patience.longest_pause, self.patience.first_pause * 2 ** (attempts - 1))
        return timedelta(seconds=longest * random.uniform(0.5, 1))  # noqa: S311 - jitter, no secret

    async def _record(
        self, stored: Notification, status: NotificationStatus, **values: datetime | str | None
    ) -> None:
        """Store the outcome of this attempt, unless it took so long that another one has begun."""
        mine = (
            Notification.id == stored.id,
            Notification.status == NotificationStatus.PENDING,
            Notification.attempts == stored.attempts,
        )
        async with self.db.transaction(system="sender") as unit:
            changed = await unit.session.execute(
                update(Notification)
                .where(*mine)
                .values(status=status, **values)
                .returning(Notification.id)
            )
            is_mine = changed.first() is not None
            if is_mine and status is NotificationStatus.SENT and self.on_sent is not None:
                await self.on_sent(unit, stored)
