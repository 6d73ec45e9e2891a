"""Who is told what, where and when; addresses are kept encrypted."""

import base64
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from domain import Database
from domain.clock import now
from domain.errors import CheckFailed, ConfigurationError, InvalidData, NotFound
from domain.identity.encryption import Keyring
from domain.identity.models import NotificationAddress, UserPreferences
from domain.identity.notifying import (
    Announcement,
    StoredAddresses,
    channels_for,
    notify,
    remove_address,
    rotate_addresses,
    store_address,
)
from domain.identity.quiet_hours import QuietHours
from domain.messaging.channels import Address
from domain.messaging.models import Notification
from tests.factories.identity import make_user

RING = Keyring({"k1": b"1" * 32})
HOOK = Address(
    "https://hooks.example.com/T0/B0/secret", "whsec_" + base64.b64encode(b"k" * 24).decode()
)


def wants(**values: Any) -> UserPreferences:
    return UserPreferences(user_id=None, notification_channels=["email"], **values)  # type: ignore[arg-type]


def news(
    kind: str = "alert", severity: str = "info", channels: tuple[str, ...] = ()
) -> Announcement:
    return Announcement(kind, "AAPL above 190", "It is 190.25", severity, channels=channels)


# ── which channels ───────────────────────────────────────────────────────────────────────────


def test_a_user_is_told_on_the_usual_channels() -> None:
    assert channels_for(wants(), news()) == ["email"]
    assert channels_for(None, news()) == []


def test_a_rule_for_a_kind_wins_over_the_usual_channels() -> None:
    rules = {"alert": {"channels": ["discord", "discord", "slack"]}, "analysis": {"channels": []}}
    chosen = wants(notification_rules=rules)
    assert channels_for(chosen, news("alert")) == ["discord", "slack"]
    assert channels_for(chosen, news("analysis")) == []
    assert channels_for(chosen, news("screener")) == ["email"]


@pytest.mark.parametrize(
    ("severity", "expected"),
    [("debug", []), ("info", []), ("warning", ["email"]), ("critical", ["email"])],
)
def test_a_rule_can_ask_for_a_severity(severity: str, expected: list[str]) -> None:
    chosen = wants(notification_rules={"alert": {"severity": "warning"}})
    assert channels_for(chosen, news(severity=severity)) == expected


def test_channels_that_an_alert_names_itself_win() -> None:
    chosen = wants(notification_rules={"alert": {"channels": ["slack"], "severity": "critical"}})
    assert channels_for(chosen, news(channels=("webhook",))) == ["webhook"]


@pytest.mark.parametrize(
    "rules", [{"alert": []}, {"alert": {"chanels": []}}, {"alert": {"severity": "loud"}}]
)
def test_malformed_rules_are_named(rules: dict[str, Any]) -> None:
    with pytest.raises(InvalidData):
        channels_for(wants(notification_rules=rules), news())


# ── quiet hours ──────────────────────────────────────────────────────────────────────────────

clocks = st.times().map(lambda clock: f"{clock:%H:%M}")
zones = st.sampled_from(
    ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"]
)


@given(clocks, clocks, zones, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001 - the zone is added below
def test_quiet_ends_at_its_end_and_never_lasts_a_day(
    start: str, end: str, zone: str, moment: datetime
) -> None:
    at = moment.replace(tzinfo=UTC)
    hours = QuietHours.parse(start, end, zone)
    ends = hours.end_after(at)
    if ends is None:
        return
    assert timedelta(0) < ends - at <= timedelta(hours=25)
    assert hours.end_after(ends) is None or start == end
    there = ends.astimezone(ZoneInfo(zone))
    is_in_a_gap = datetime.combine(there.date(), hours.end, ZoneInfo(zone)).astimezone(UTC) == ends
    assert f"{there:%H:%M}" == end or is_in_a_gap


@given(clocks, clocks, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001 - UTC is added below
def test_quiet_reigns_exactly_between_its_ends(start: str, end: str, moment: datetime) -> None:
    clock = f"{moment:%H:%M}"
    is_between = start <= clock < end if start <= end else clock >= start or clock < end
    found = QuietHours.parse(start, end, "UTC").end_after(moment.replace(tzinfo=UTC))
    assert (found is not None) == (is_between and start != end)


def test_quiet_hours_follow_the_users_clock_over_its_changes() -> None:
    hours = QuietHours.parse("22:00", "07:00", "America/New_York")
    winter, summer = (
        hours.end_after(datetime.combine(day, datetime.min.time(), ZoneInfo("America/New_York")))
        for day in (date(2024, 1, 10), date(2024, 7, 10))
    )
    assert winter == datetime(2024, 1, 10, 12, tzinfo=UTC)
    assert summer == datetime(2024, 7, 10, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "zone"), [("25:00", "UTC"), ("7", "UTC"), ("07:00", "Mars/City")]
)
def test_what_is_no_time_or_zone_is_named(start: str, zone: str) -> None:
    with pytest.raises(InvalidData):
        QuietHours.parse(start, "08:00", zone)


@pytest.mark.parametrize(("start", "end"), [("24:00", "08:00"), ("8:00", "09:00"), ("22:00", None)])
async def test_the_database_takes_whole_quiet_hours_only(
    db: Database, start: str, end: str | None
) -> None:
    with pytest.raises(CheckFailed):
        async with db.transaction(system="test") as unit:
            user = await make_user(unit)
            unit.preferences.add(
                UserPreferences(user_id=user.id, quiet_from=start, quiet_until=end)
            )


# ── notices ──────────────────────────────────────────────────────────────────────────────────


async def told(
    db: Database, announcement: Announcement, **preferences: Any
) -> dict[str, Notification]:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        unit.preferences.add(UserPreferences(user_id=user.id, **preferences))
        await notify(unit, user.id, announcement)
    async with db.read(user=user.id) as reader:
        return {item.channel: item for item in await reader.notifications.all()}


async def test_a_notice_is_a_row_in_the_application_and_one_a_channel(db: Database) -> None:
    rows = await told(db, news(severity="warning"), notification_channels=["email", "slack"])
    assert {name: str(row.status) for name, row in rows.items()} == {
        "in_app": "sent",
        "email": "pending",
        "slack": "pending",
    }
    assert {(row.kind, row.severity, row.next_attempt_at) for row in rows.values()} == {
        ("alert", "warning", None)
    }


def around_now() -> dict[str, str]:
    return {
        "quiet_from": f"{now() - timedelta(hours=1):%H:%M}",
        "quiet_until": f"{now() + timedelta(hours=2):%H:%M}",
    }


async def test_in_quiet_hours_a_notice_waits_for_their_end(db: Database) -> None:
    rows = await told(db, news(), notification_channels=["email"], **around_now())
    later = rows["email"].next_attempt_at
    assert later is not None and timedelta(hours=1) < later - now() <= timedelta(hours=2)
    assert str(rows["in_app"].status) == "sent"


async def test_what_is_critical_is_told_at_night(db: Database) -> None:
    rows = await told(
        db, news(severity="critical"), notification_channels=["email"], **around_now()
    )
    assert rows["email"].next_attempt_at is None


async def test_rules_and_zones_that_cannot_be_read_keep_nothing_from_their_user(
    db: Database,
) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        user.timezone = "Mars/City"
        unit.preferences.add(
            UserPreferences(
                user_id=user.id,
                notification_channels=["email"],
                notification_rules={"alert": ["slack"]},
                **around_now(),
            )
        )
        await unit.flush()
        assert await notify(unit, user.id, news()) == ["in_app", "email"]


async def test_a_long_title_is_cut_and_an_empty_one_named_by_its_kind(db: Database) -> None:
    rows = await told(db, Announcement("analysis", "x" * 500, ""))
    assert len(rows["in_app"].title) == 200


async def test_nobody_is_told_of_a_user_who_is_gone(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        await unit.session.delete(user)
        await unit.flush()
        assert await notify(unit, user.id, news()) == []


# ── addresses ────────────────────────────────────────────────────────────────────────────────


async def test_an_address_is_stored_encrypted_and_found_again(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
    async with db.transaction(user=user.id) as tenant:
        stored = await store_address(tenant, RING, "webhook", HOOK, user_id=user.id)
        assert (stored.hint, str(stored)) == ("hooks.example.com", "webhook: hooks.example.com")
    async with db.read(system="test") as reader:
        found = await StoredAddresses(RING).of(reader, user.id, "webhook")
        assert found == HOOK
        raw = (
            await reader.session.execute(text("SELECT * FROM identity.notification_addresses"))
        ).one()
        assert b"secret" not in bytes(raw.address_enc) and "secret" not in str(raw)
        with pytest.raises(ConfigurationError):
            await StoredAddresses(None).of(reader, user.id, "webhook")
    assert "secret" not in repr(found) and "secret" not in repr(stored)


async def test_an_address_is_replaced_and_removed(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        for target in ("ada@example.com", "ada@example.org"):
            await store_address(unit, RING, "email", Address(target), user_id=user.id)
        (stored,) = await unit.notification_addresses.all()
        assert stored.hint == "a…@example.org"
        await remove_address(unit, "email", user_id=user.id)
        with pytest.raises(NotFound):
            await remove_address(unit, "email", user_id=user.id)


async def test_without_an_address_for_mail_the_users_own_is_taken(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        assert await StoredAddresses(None).of(unit, user.id, "email") is None
        user.email = "ada@example.com"
        found = await StoredAddresses(None).of(unit, user.id, "email")
        assert found == Address("ada@example.com")
        assert await StoredAddresses(None).of(unit, user.id, "discord") is None


async def test_an_address_that_was_moved_to_another_user_does_not_open(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        ada, bob = await make_user(unit), await make_user(unit, "bob")
        for user in (ada, bob):
            await store_address(unit, RING, "webhook", HOOK, user_id=user.id)
        mine = (
            select(NotificationAddress.address_enc)
            .where(NotificationAddress.user_id == ada.id)
            .scalar_subquery()
        )
        await unit.session.execute(
            update(NotificationAddress)
            .where(NotificationAddress.user_id == bob.id)
            .values(address_enc=mine)
            .execution_options(synchronize_session=False)
        )
    async with db.read(system="test") as reader:
        with pytest.raises(InvalidData, match="unaltered"):
            await StoredAddresses(RING).of(reader, bob.id, "webhook")


async def test_addresses_follow_a_new_encryption_key(db: Database) -> None:
    both = Keyring({"k2": b"2" * 32, **RING.keys})
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        await store_address(unit, RING, "webhook", HOOK, user_id=user.id)
        assert await rotate_addresses(unit, both) == 1
        assert await rotate_addresses(unit, both) == 0
        assert (
            await StoredAddresses(Keyring({"k2": b"2" * 32})).of(unit, user.id, "webhook") == HOOK
        )


@pytest.mark.parametrize(
    ("channel", "target"),
    [
        ("email", "secret-no-mail"),
        ("email", "https://secret.example"),
        ("webhook", "ada@secret.example"),
        ("slack", "file:///secret"),
        ("discord", "https://x\n.secret"),
    ],
)
async def test_a_wrong_address_is_refused_and_not_shown(
    db: Database, channel: str, target: str
) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        with pytest.raises(InvalidData, match="address must be an") as caught:
            await store_address(unit, RING, channel, Address(target), user_id=user.id)
    assert "secret" not in str(caught.value)
