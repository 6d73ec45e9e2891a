"""Rules watched in the database: one event each, for everybody, whatever happens at once."""

import asyncio
import random
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text

from domain import Database
from domain.alerts.evaluating import evaluate
from domain.alerts.matching import Observation
from domain.alerts.models import Alert
from domain.alerts.terms import AlertStatus, Condition, TriggerMode
from domain.alerts.wording import default_template, fill_in
from domain.clock import now
from domain.errors import InvalidData
from domain.messaging.models import OutboxMessage
from tests.factories.alerts import OPENING_BELL, events_of, make_alert, price
from tests.factories.market import make_instrument
from tests.factories.trading import Account, open_account
from tests.roundtrips import counted_round_trips


async def watch(account: Account, **values: object) -> Alert:
    async with account.db.transaction(user=account.user.id) as unit:
        return await make_alert(unit, account.instrument, **values)


async def see(account: Account, *observations: Observation) -> list[str]:
    async with account.db.transaction(system="prices") as unit:
        return [event.message for event in await evaluate(unit, observations)]


async def test_a_firing_is_stored_and_told_in_the_same_transaction(db: Database) -> None:
    account = await open_account(db)
    alert = await watch(
        account,
        name="Breakout",
        condition="crosses_above",
        threshold=Decimal("187.50"),
        channels=["email", "push"],
        severity="warning",
        message_template="{symbol} is {value} (was {previous}), {condition} {threshold}: {name}",
    )
    told = await see(
        account, price(account.instrument, "187.5"), price(account.instrument, "188.250", 1)
    )
    assert told == ["AAPL is 188.25 (was 187.5), crosses above 187.5: Breakout"]
    (event,) = await events_of(db, alert)
    assert (event.title, event.severity, event.occurrence) == ("Breakout", "warning", 1)
    assert (event.observed_value, event.threshold) == (Decimal("188.25"), Decimal("187.5"))
    assert event.triggered_at == OPENING_BELL + timedelta(minutes=1)
    assert event.instrument is not None and event.instrument.symbol == "AAPL"
    async with db.read(system="test") as unit:
        (message,) = await unit.session.scalars(
            select(OutboxMessage).where(OutboxMessage.topic == "alert_triggered")
        )
        stored = await unit.alerts.get(alert.id)
    assert message.user_id == account.user.id
    expected = {
        "type": "alert_triggered",
        "userId": str(account.user.id),
        "alertId": str(alert.id),
        "symbol": "AAPL",
        "condition": "crosses_above",
        "currentValue": "188.25",
        "channels": ["email", "push"],
    }
    assert expected.items() <= message.payload.items()
    assert (stored.status, stored.trigger_count) == (AlertStatus.TRIGGERED, 1)
    assert stored.version == 1, "watching is no edit"


@pytest.mark.parametrize("condition", ["crosses_above", "above"])
@pytest.mark.parametrize("mode", TriggerMode)
async def test_eight_workers_that_see_one_crossing_make_one_event(
    db: Database, mode: TriggerMode, condition: str
) -> None:
    account = await open_account(db)
    alert = await watch(account, trigger_mode=mode, condition=condition)
    await see(account, price(account.instrument, "99"))
    crossing = price(account.instrument, "101", 1, bar_at=OPENING_BELL)

    async def worker(number: int) -> int:
        found = 0
        for _ in range(10):
            async with db.transaction(system=f"worker {number}") as unit:
                found += len(await evaluate(unit, [crossing]))
        return found

    assert sum(await asyncio.gather(*(worker(number) for number in range(8)))) == 1
    (event,) = await events_of(db, alert)
    assert event.dedupe_key == f"{alert.id}:1"
    async with db.read(system="test") as unit:
        assert (
            await unit.session.scalar(
                text("SELECT count(*) FROM messaging.outbox WHERE topic = 'alert_triggered'")
            )
            == 1
        )
        assert (await unit.alerts.get(alert.id)).trigger_count == 1


async def test_workers_that_see_different_values_at_once_fire_once_a_crossing(
    db: Database,
) -> None:
    account = await open_account(db)
    alert = await watch(account, trigger_mode="every")
    series = [price(account.instrument, "101" if n % 2 else "99", n) for n in range(40)]

    async def worker(seed: int) -> None:
        # Every worker shows the whole series, in order, in batches of another size.
        chooser, rest = random.Random(seed), series
        while rest:
            size = chooser.randint(1, 6)
            async with db.transaction(system="worker") as unit:
                await evaluate(unit, rest[:size])
            rest = rest[size:]

    await asyncio.gather(*(worker(seed) for seed in range(8)))
    events = await events_of(db, alert)
    assert len(events) <= 20
    assert [event.occurrence for event in events] == list(range(1, len(events) + 1))


async def test_batches_in_opposite_orders_do_not_wait_for_each_other(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(system="test") as unit:
        instruments = [await make_instrument(unit, f"T{number}") for number in range(30)]
    async with db.transaction(user=account.user.id) as unit:
        for instrument in instruments:
            await make_alert(unit, instrument, trigger_mode="every", channels=["email"])

    async def worker(seed: int) -> None:
        chooser = random.Random(seed)
        for minute in range(6):
            batch = [price(item, chooser.choice(["99", "101"]), minute) for item in instruments]
            chooser.shuffle(batch)
            async with db.transaction(system="worker") as unit:
                await evaluate(unit, batch)

    await asyncio.gather(*(worker(seed) for seed in range(8)))


async def test_one_batch_may_hold_a_whole_series(db: Database) -> None:
    account = await open_account(db)
    await watch(account, trigger_mode="every", message_template="{value} at {at}")
    series = [
        price(account.instrument, value, n) for n, value in enumerate(["99", "101", "98", "102"])
    ]
    assert await see(account, *reversed(series)) == [
        "101 at 2024-03-15 13:31:00 UTC",
        "102 at 2024-03-15 13:33:00 UTC",
    ]
    assert await see(account, *series) == [], "delivered a second time"


async def test_the_last_value_of_an_instant_counts(db: Database) -> None:
    account = await open_account(db)
    await watch(account, trigger_mode="every", message_template="{value}")
    both = [price(account.instrument, "105"), price(account.instrument, "103")]
    assert await see(account, *both) == ["103"]


async def test_a_tenant_reaches_its_own_rules_only(db: Database) -> None:
    ada, bob = await open_account(db, "ada"), await open_account(db, "bob")
    hers, his = await watch(ada), await watch(bob)
    async with db.transaction(user=ada.user.id) as unit:
        events = await evaluate(unit, [price(ada.instrument, "101")])
        assert [event.alert_id for event in events] == [hers.id]
        targeted = price(ada.instrument, "102", 1, alert_id=his.id)
        assert await evaluate(unit, [targeted]) == []
    assert len(await events_of(db, his)) == 0
    assert await see(bob, price(bob.instrument, "101")) != []


async def test_only_rules_of_that_kind_and_subject_see_a_value(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(system="test") as unit:
        other = await make_instrument(unit, "MSFT")
    await watch(account, name="delta", alert_type="delta", threshold=Decimal("0.5"))
    await watch(account, name="price")
    async with db.transaction(user=account.user.id) as unit:
        await make_alert(unit, other, name="other")
        await make_alert(unit, name="book", portfolio_id=account.portfolio.id, alert_type="delta")
        await make_alert(unit, name="nothing")
    assert await see(account, price(account.instrument, "101")) == ["AAPL price is 101: above 100"]
    book = Observation(
        alert_type="delta", portfolio_id=account.portfolio.id, value=Decimal(180), at=OPENING_BELL
    )
    assert await see(account, book) == ["delta is 180: above 100"]


@pytest.mark.parametrize("status", ["paused", "cancelled", "triggered", "expired"])
async def test_a_rule_that_is_not_active_sees_nothing(db: Database, status: str) -> None:
    account = await open_account(db)
    alert = await watch(account)
    async with db.transaction(user=account.user.id) as unit:
        await unit.alerts.patch(alert.id, status=AlertStatus(status))
    assert await see(account, price(account.instrument, "101")) == []
    async with db.read(system="test") as unit:
        assert (await unit.alerts.get(alert.id)).last_value is None


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ({"value": Decimal("NaN")}, "value"),
        ({"value": Decimal("Infinity")}, "value"),
        ({"value": 1.5}, "value"),
        ({"previous": Decimal("1e30")}, "previous"),
        ({"at": OPENING_BELL.replace(tzinfo=None)}, "at"),
        ({"at": now() + timedelta(hours=1)}, "at"),
        ({"key": ""}, "key"),
        ({"key": "k" * 101}, "key"),
        ({"note": "a\x00b"}, "note"),
    ],
)
async def test_an_observation_that_is_none_is_refused_before_anything_is_written(
    db: Database, details: dict[str, object], field: str
) -> None:
    account = await open_account(db)
    alert = await watch(account)
    good = {
        "alert_type": "price",
        "instrument_id": account.instrument.id,
        "value": Decimal(101),
        "at": OPENING_BELL,
    }
    async with db.transaction(system="test") as unit:
        with pytest.raises(InvalidData) as refused:
            await evaluate(unit, [Observation(**good), Observation(**{**good, **details})])  # type: ignore[arg-type]  # that is the point
    assert refused.value.field == field
    assert await events_of(db, alert) == []


async def test_no_observations_cost_no_round_trip(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        async with counted_round_trips(db, user=account.user.id) as trips:
            assert await evaluate(unit, []) == []
        assert trips.total == 0


async def test_thousands_of_observations_cost_as_many_round_trips_as_one(db: Database) -> None:
    account = await open_account(db)
    rows = [{"symbol": f"S{n}", "kind": "stock", "quote_currency": "USD"} for n in range(500)]
    async with db.transaction(system="test") as unit:
        await unit.instruments.insert_many(rows)
        instruments = await unit.instruments.all()
        await unit.session.execute(
            text(
                "INSERT INTO alerts.alerts (user_id, name, alert_type, condition, threshold,"
                " instrument_id, trigger_mode) SELECT :user, 'n' || n, 'price', 'above', 100, id,"
                " 'every' FROM market.instruments, generate_series(1, 4) n"
            ),
            {"user": account.user.id},
        )
    batch = [
        price(item, value, minute)
        for item in instruments
        for minute, value in enumerate(("99", "101", "102"))
    ]
    async with db.transaction(system="test") as unit:
        async with counted_round_trips(db, user=account.user.id) as trips:
            events = await evaluate(unit, batch)
        assert len(events) == 4 * len(instruments)
        async with counted_round_trips(db, user=account.user.id) as single:
            await evaluate(unit, [price(instruments[0], "99", 9)])
    # The transaction's BEGIN is among the first ones.
    assert trips.total - single.total <= 1, trips.sent


@pytest.mark.parametrize("condition", Condition)
async def test_messages_are_worded_as_python_words_them(db: Database, condition: Condition) -> None:
    account = await open_account(db)
    limits: dict[str, Decimal] = {}
    if condition is not Condition.CUSTOM:
        limits["threshold"] = Decimal("0.50")
    if condition in {Condition.BETWEEN, Condition.OUTSIDE}:
        limits["threshold_high"] = Decimal("9.0")
    watched = await watch(
        account, name="{value}", condition=condition, alert_type="implied_volatility", **limits
    )
    seen = {"between": "0.6", "equals": "0.5", "below": "0.4", "crosses_below": "0.4"}
    value = seen.get(condition, "9.10")
    observation = Observation(
        alert_type="implied_volatility",
        instrument_id=account.instrument.id,
        value=Decimal(value),
        previous=Decimal("0.5"),
        at=OPENING_BELL,
        note="as {name} said",
    )
    (message,) = await see(account, observation)
    texts = {
        "name": "{value}",
        "symbol": "AAPL",
        "type": "implied volatility",
        "condition": condition.replace("_", " "),
        "threshold": "0.5",
        "threshold_high": "9",
        "value": value.rstrip("0"),
        "previous": "0.5",
        "note": "as {name} said",
    }
    assert message == fill_in(default_template(condition), texts)
    assert (await events_of(db, watched))[0].message == message
