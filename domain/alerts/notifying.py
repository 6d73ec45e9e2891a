"""Tells users that their rules fired and what programs reported to them."""

from collections.abc import Sequence
from uuid import UUID

from domain.alerts import events
from domain.alerts.models import AlertEvent
from domain.alerts.terms import Channel
from domain.db.unit import UnitOfWork
from domain.identity.notifying import Announcement, notify
from domain.messaging.consuming import Received
from domain.messaging.messages import AlertReported, AlertTriggered
from domain.messaging.models import Notification

KIND = "alert"
"""Kind of these notices, for the users' rules."""


async def tell_alerts(
    unit: UnitOfWork, received: Sequence[Received[AlertTriggered | AlertReported]]
) -> None:
    """Write a notice for each event of a user, on the channels of its rule if it names any.

    A handler for `domain.messaging.consuming.Consumer`. What is reported to staff is no notice.
    """
    for item in received:
        message = item.message
        if message.user_id is not None:
            await notify(unit, message.user_id, _announcement(message))


async def note_told(unit: UnitOfWork, sent: Notification) -> None:
    """Note at the user's event that a notice about it was delivered.

    Users may write notices of their own, so the event must be the same user's.
    """
    event_id = _uuid(sent.data.get("eventId"))
    if sent.kind != KIND or sent.channel not in set(Channel) or event_id is None:
        return
    event = await unit[AlertEvent].find(event_id)
    if event is not None and event.user_id == sent.user_id:
        await events.notified(unit, event_id, sent.channel)


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


def _announcement(message: AlertTriggered | AlertReported) -> Announcement:
    event_id = None if message.event_id is None else str(message.event_id)
    if isinstance(message, AlertReported):
        return Announcement(
            kind=KIND,
            title=message.title,
            body=message.message,
            severity=message.severity,
            data={"eventId": event_id, "source": message.source, "tags": list(message.tags)},
        )
    about = {
        "eventId": event_id,
        "alertId": str(message.alert_id),
        "symbol": message.symbol,
        "condition": message.condition,
        "currentValue": str(message.current_value),
    }
    return Announcement(
        kind=KIND,
        title=message.title or f"Alert: {message.symbol or message.condition}",
        body=message.message,
        severity=message.severity,
        data=about,
        channels=message.channels,
    )
