"""Tells users things: on the channels that they chose, not at night, at addresses kept encrypted.

Writes notices; `domain.messaging.sending` sends them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from sqlalchemy.dialects.postgresql import insert

from domain.clock import now
from domain.db.unit import Unit, UnitOfWork
from domain.errors import ConfigurationError, InvalidData, NotFound
from domain.identity.encryption import Keyring
from domain.identity.models import NotificationAddress, User, UserPreferences
from domain.identity.quiet_hours import QuietHours
from domain.identity.repositories import NotificationAddressRepository
from domain.messaging.channels import IN_APP, Address
from domain.messaging.consuming import Received
from domain.messaging.mailing import is_mail_address
from domain.messaging.messages import Notice
from domain.messaging.models import Notification, NotificationStatus

SEVERITIES: Final = ("debug", "info", "warning", "critical")
"""How much a notice matters, rising. Critical ones are told at night too."""

_LOG: Final = logging.getLogger("tradekeep.notices")
_EMAIL: Final = "email"
_LONGEST_TITLE: Final = 200
_LONGEST_ADDRESS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Announcement:
    """Something a user should know.

    Args:
        kind: What it is about, a lower-case word: alert, analysis, screener, notice, …
        title: Headline; cut to 200 characters.
        body: Text.
        severity: debug, info, warning or critical.
        data: What programs need; amounts are strings.
        channels: Where it must be told; empty: where the user wants this kind to be told.
    """

    kind: str
    title: str
    body: str
    severity: str = "info"
    data: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[str] = ()


class KindRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user wants for one kind of notice.

    Args:
        channels: Where it is told; None: on the user's usual channels.
        severity: Only from this one on.
    """

    channels: tuple[str, ...] | None = None
    severity: str = "info"


def channels_for(preferences: UserPreferences | None, news: Announcement) -> list[str]:
    """Return where an announcement is told besides in the application; pure.

    Channels that it names itself win over the user's rule for its kind, which wins over the
    user's usual channels.

    Raises:
        InvalidData: The user's rules are malformed.
    """
    if news.channels:
        return list(dict.fromkeys(news.channels))
    if preferences is None:
        return []
    rule = rules_of(preferences.notification_rules).get(news.kind, KindRule())
    if _rank(news.severity) < _rank(rule.severity):
        return []
    usual = preferences.notification_channels if rule.channels is None else rule.channels
    return list(dict.fromkeys(usual))


def rules_of(stored: Mapping[str, Any]) -> dict[str, KindRule]:
    """Return a user's rules by kind of notice.

    Raises:
        InvalidData: They are malformed.
    """
    try:
        found = msgspec.convert(stored, type=dict[str, KindRule])
    except msgspec.ValidationError as error:
        raise InvalidData("notification_rules", dict(stored), f"be rules ({error})") from None
    for rule in found.values():
        _rank(rule.severity)
    return found


async def notify(unit: UnitOfWork, user_id: UUID, news: Announcement) -> Sequence[str]:
    """Write an announcement for a user: one row in the application and one a channel.

    In the user's quiet hours the other channels wait until their end, unless it is critical.

    Args:
        unit: A trusted unit, or the user's own.
        user_id: Whom to tell; nobody is told when there is no such user.
        news: What to tell.

    Returns:
        The channels.

    Raises:
        InvalidData: The severity is unknown.
    """
    user = await unit[User].find(user_id)
    if user is None:
        return []
    preferences = await unit[UserPreferences].find(user_id)
    _rank(news.severity)
    chosen = [name for name in _chosen(preferences, news) if name != IN_APP]
    later = _not_before(user, preferences, news)
    rows = [_row(user_id, news, IN_APP, None)]
    rows += [_row(user_id, news, channel, later) for channel in chosen]
    await unit.session.execute(insert(Notification), rows)
    return [IN_APP, *chosen]


async def take_notices(unit: UnitOfWork, received: Sequence[Received[Notice]]) -> None:
    """Write the notices that messages ask for, each on the channel that it names.

    A handler for `domain.messaging.consuming.Consumer`.
    """
    for item in received:
        asked = item.message
        news = Announcement(
            kind="notice",
            title=asked.title,
            body=asked.body,
            data=asked.data or {},
            channels=[asked.channel],
        )
        await notify(unit, asked.user_id, news)


def _chosen(preferences: UserPreferences | None, news: Announcement) -> list[str]:
    """Return the channels; rules that cannot be read must not keep anything from their user."""
    try:
        return channels_for(preferences, news)
    except InvalidData as error:
        _LOG.warning("rules of user %s are ignored: %s", preferences and preferences.user_id, error)
        return list(preferences.notification_channels) if preferences else []


def _not_before(
    user: User, preferences: UserPreferences | None, news: Announcement
) -> datetime | None:
    if preferences is None or preferences.quiet_from is None or news.severity == SEVERITIES[-1]:
        return None
    try:
        hours = QuietHours.parse(
            preferences.quiet_from, preferences.quiet_until or "", user.timezone
        )
    except InvalidData as error:
        _LOG.warning("quiet hours of user %s are ignored: %s", user.id, error)
        return None
    return hours.end_after(now())


def _row(user_id: UUID, news: Announcement, channel: str, later: datetime | None) -> dict[str, Any]:
    is_here = channel == IN_APP
    title = " ".join(news.title.split())[:_LONGEST_TITLE]
    return {
        "user_id": user_id,
        "channel": channel,
        "kind": news.kind,
        "severity": news.severity,
        "title": title or news.kind,
        "body": news.body,
        "data": dict(news.data),
        "status": NotificationStatus.SENT if is_here else NotificationStatus.PENDING,
        "sent_at": now() if is_here else None,
        "next_attempt_at": later,
    }


def _rank(severity: str) -> int:
    if severity not in SEVERITIES:
        raise InvalidData("severity", severity, f"be one of {', '.join(SEVERITIES)}")
    return SEVERITIES.index(severity)


# ── addresses ────────────────────────────────────────────────────────────────────────────────


async def store_address(
    unit: UnitOfWork, keyring: Keyring, channel: str, address: Address, *, user_id: UUID
) -> NotificationAddress:
    """Store or replace where a user is reached on a channel, encrypted.

    Args:
        unit: The user's unit, or a trusted one.
        keyring: The encryption keys.
        channel: email, webhook, discord or slack.
        address: E-mail address, or https URL; a webhook may have a key that signs.
        user_id: The user.

    Raises:
        InvalidData: The address is not of the channel's kind.
    """
    hint = _hint(channel, address.target)
    sealed: dict[str, Any] = {
        "address_enc": keyring.encrypt(
            address.target, bound_to=_binding(user_id, channel, "address")
        ),
        "signing_key_enc": None
        if address.signing_key is None
        else keyring.encrypt(address.signing_key, bound_to=_binding(user_id, channel, "key")),
        "key_id": keyring.current_id,
        "hint": hint,
    }
    addresses = unit.repository(NotificationAddressRepository)
    found = await _stored(unit, user_id, channel)
    if found is None:
        found = addresses.add(NotificationAddress(user_id=user_id, channel=channel, **sealed))
    for name, value in sealed.items():
        setattr(found, name, value)
    await unit.flush()
    return found


async def remove_address(unit: UnitOfWork, channel: str, *, user_id: UUID) -> None:
    """Forget where a user is reached on a channel.

    Raises:
        NotFound: There is no such address.
    """
    found = await _stored(unit, user_id, channel)
    if found is None:
        raise NotFound(f"no address for {channel}")
    await unit.repository(NotificationAddressRepository).remove(found)
    await unit.flush()


async def rotate_addresses(unit: UnitOfWork, keyring: Keyring) -> int:
    """Encrypt every address that an older key holds anew with the current key; return how many."""
    addresses = unit.repository(NotificationAddressRepository)
    old = await addresses.all(addresses.query(NotificationAddress.key_id != keyring.current_id))
    for stored in old:
        opened = read_address(keyring, stored)
        await store_address(unit, keyring, stored.channel, opened, user_id=stored.user_id)
    return len(old)


def read_address(keyring: Keyring, stored: NotificationAddress) -> Address:
    """Return an address in clear: never stored, logged or shown.

    Raises:
        ConfigurationError: The key is not configured any more.
        InvalidData: A ciphertext was altered or moved.
    """

    def opened(ciphertext: bytes, name: str) -> str:
        binding = _binding(stored.user_id, stored.channel, name)
        return keyring.decrypt(ciphertext, key_id=stored.key_id, bound_to=binding)

    key = stored.signing_key_enc
    return Address(
        opened(stored.address_enc, "address"), None if key is None else opened(key, "key")
    )


class StoredAddresses:
    """Finds users' addresses; without one for e-mail, the user's own e-mail is taken.

    Args:
        keyring: The encryption keys; None: only the users' own e-mails are known.
    """

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring

    async def of(self, unit: Unit, user_id: UUID, channel: str) -> Address | None:
        """Return the user's address on a channel, None when there is none.

        Raises:
            ConfigurationError: There is one and no key to read it.
        """
        stored = await _stored(unit, user_id, channel)
        if stored is not None:
            if self._keyring is None:
                raise ConfigurationError("TRADEKEEP_ENCRYPTION_KEYS must be set to read addresses")
            return read_address(self._keyring, stored)
        if channel != _EMAIL:
            return None
        user = await unit[User].find(user_id)
        return None if user is None or user.email is None else Address(user.email)


async def _stored(unit: Unit, user_id: UUID, channel: str) -> NotificationAddress | None:
    addresses = unit.repository(NotificationAddressRepository)
    return await addresses.first(
        addresses.query(
            NotificationAddress.user_id == user_id, NotificationAddress.channel == channel
        )
    )


def _hint(channel: str, target: str) -> str:
    """Return what may be shown of an address.

    Raises:
        InvalidData: It is not of the channel's kind; the error does not show it.
    """
    if len(target) <= _LONGEST_ADDRESS and target.isprintable():
        if channel == _EMAIL and is_mail_address(target):
            name, _, domain = target.rpartition("@")
            return f"{name[:1]}…@{domain}"
        host = _host_of(target)
        if channel != _EMAIL and host:
            return host
    kind = "an e-mail address" if channel == _EMAIL else "an http or https URL"
    raise InvalidData("address", "…", f"be {kind}")


def _host_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme in {"http", "https"} else ""


def _binding(user_id: UUID, channel: str, name: str) -> bytes:
    return f"identity.notification_addresses|{user_id}|{channel}|{name}".encode()
