"""What a client may listen to, by the names that clients use, and who may.

=========================  =====================================================================
``quotes:SYMBOL``          a symbol's quotes; everybody who is known
``events:TOPIC``           what happens to oneself, and to everybody
``events:TOPIC:USER_ID``   what happens to that user; staff who see them, and the user
``staff:TOPIC``            what happens to any user that this member of staff sees
=========================  =====================================================================
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from admin.doors import Guest
from domain.cache.keys import Keyspace
from domain.errors import InvalidData

MOST_CHANNELS: Final = 100
"""Channels of one connection."""

_TOPIC: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_RULE: Final = "be quotes:SYMBOL, events:TOPIC, events:TOPIC:USER_ID or staff:TOPIC"


class NotForYou(Exception):
    """The channel exists, and this guest may not listen to it."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as a client names it.

    Args:
        name: The client's name.
        sources: Full names of the channels behind it.
        snapshot: The key of its newest state; None where there is none.
    """

    name: str
    sources: tuple[str, ...]
    snapshot: str | None = None


def listed(text: str) -> list[str]:
    """Return the names in ``a,b,c`` without repetitions."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def channels_of(names: Iterable[str], keys: Keyspace, guest: Guest) -> list[Channel]:
    """Return the channels with these names.

    Raises:
        InvalidData: One is no channel.
        NotForYou: One is not for this guest.
    """
    return [_channel(name, keys, guest) for name in dict.fromkeys(names)]


def _channel(name: str, keys: Keyspace, guest: Guest) -> Channel:
    kind, _, rest = name.partition(":")
    if kind == "quotes" and rest:
        return Channel(name, (keys.quotes(rest),), keys.latest_price(rest))
    topic, colon, owner = rest.partition(":")
    if kind not in {"events", "staff"} or not _TOPIC.fullmatch(topic):
        raise InvalidData("channel", name, _RULE)
    if kind == "staff":
        if colon:
            raise InvalidData("channel", name, _RULE)
        if guest.is_staff:
            return Channel(name, (keys.staff_events(topic),))
        if guest.reach is None:
            raise NotForYou(name)
        seen = sorted({guest.user_id, *guest.reach.tenants})
        return Channel(name, tuple(keys.events(topic, tenant) for tenant in seen))
    if not colon:
        return Channel(name, (keys.events(topic, guest.user_id), keys.events(topic)))
    user_id = _user_id(name, owner)
    sees = guest.is_staff or (guest.reach is not None and guest.reach.sees(user_id))
    if not sees and user_id != guest.user_id:
        raise NotForYou(name)
    return Channel(name, (keys.events(topic, user_id),))


def _user_id(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidData("channel", name, _RULE) from None
