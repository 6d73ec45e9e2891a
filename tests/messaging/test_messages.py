"""What is said between programs: TypeScript's field names, exact amounts, named faults."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import Database
from domain.clock import new_id
from domain.errors import AccessDenied, InvalidData
from domain.messaging.messages import (
    KINDS,
    AlertTriggered,
    AnalysisComplete,
    Fact,
    Notice,
    TradeIngested,
    TradeRecorded,
    decoded,
    encoded,
    topic_of,
)
from domain.messaging.publishing import publish, publish_many
from tests.factories.identity import make_user

ID = "01a1fd71-df86-75e4-aa40-2fa1ba8d57a2"

# What TTAI's TypeScript union sends, with ids and amounts as text.
FROM_TYPESCRIPT = {
    "analysis_complete": {
        "userId": ID,
        "symbol": "AAPL",
        "recommendation": "select",
        "workflowId": "wf-1",
    },
    "alert_triggered": {
        "userId": ID,
        "alertId": ID,
        "symbol": "AAPL",
        "condition": "above",
        "currentValue": "187.5",
    },
    "screener_complete": {"userId": ID, "screenerId": ID, "resultCount": 3},
    "notification": {
        "userId": ID,
        "channel": "discord",
        "title": "Hello",
        "body": "World",
        "data": {"a": 1},
    },
}


@pytest.mark.parametrize("topic", FROM_TYPESCRIPT)
def test_a_typescript_message_is_read_and_written_as_it_was(topic: str) -> None:
    payload = {"type": topic, **FROM_TYPESCRIPT[topic]}
    message = decoded(json.loads(json.dumps(payload)))
    assert message.topic == topic
    assert encoded(message) == payload


def test_every_type_has_its_own_topic() -> None:
    topics = [topic_of(kind) for kind in KINDS]
    assert len(set(topics)) == len(topics) >= 9


@given(
    quantity=st.decimals(-(10**12), 10**12, places=9),
    price=st.decimals(-(10**6), 10**6, places=18),
    at=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    side=st.none() | st.text(max_size=5),
)
def test_a_message_survives_its_way_through_json(
    quantity: Decimal, price: Decimal, at: datetime, side: str | None
) -> None:
    ids = {name: new_id() for name in ("user_id", "portfolio_id", "trade_id", "instrument_id")}
    message = TradeRecorded(quantity=quantity, price=price, executed_at=at, side=side, **ids)
    payload = json.loads(json.dumps(encoded(message)))
    assert decoded(payload) == message
    assert "E" not in payload["quantity"] + payload["price"]
    assert ("side" in payload) == (side is not None)


GOOD: dict[str, Any] = {
    "type": "trade.ingest",
    "userId": ID,
    "portfolioId": ID,
    "externalId": "x",
    "side": "buy",
    "quantity": "1",
    "price": "1",
    "executedAt": "2024-01-02T15:00:00Z",
    "source": "nof0",
}


@pytest.mark.parametrize(
    ("wrong", "field", "rule"),
    [
        ({"type": "trade.sold"}, "type", "be the type of a message"),
        ({"type": None}, "type", "be a str"),
        ({"userId": "ada"}, "userId", "be valid (Invalid UUID)"),
        ({"userId": 7}, "userId", "be a uuid"),
        ({"quantity": "many"}, "quantity", "be valid (Invalid decimal string)"),
        ({"quantity": "NaN"}, "quantity", "be a finite number"),
        ({"quantity": 0.1}, "quantity", "be a string: a number loses digits"),
        ({"price": "1E+30"}, "price", "be smaller than 10^20"),
        ({"executedAt": "2024-01-02T15:00:00"}, "executedAt", "be a time with its zone"),
        ({"executedAt": "yesterday"}, "executedAt", "be valid (Invalid RFC3339 encoded datetime)"),
        ({"sequence": "1"}, "sequence", "be an int"),
    ],
)
def test_a_fault_names_field_value_and_rule(wrong: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(InvalidData) as caught:
        decoded({**GOOD, **wrong})
    error = caught.value
    assert (error.field, error.rule) == (field, rule)
    assert str(error.value) == str(next(iter(wrong.values())))


@pytest.mark.parametrize("field", [name for name in GOOD if name != "type"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(InvalidData, match=f"{field} must be given"):
        decoded({name: value for name, value in GOOD.items() if name != field})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4))
def test_whatever_comes_is_a_message_or_invalid(value: Any) -> None:
    for payload in (value, {"type": "notification", "userId": ID, "channel": value}):
        with pytest.raises(InvalidData):
            decoded(payload)


def test_order_is_kept_for_what_belongs_together() -> None:
    alert = AlertTriggered(
        user_id=new_id(), alert_id=new_id(), condition="above", current_value=Decimal(1)
    )
    assert alert.key == str(alert.alert_id)
    trade: Fact = decoded(GOOD)
    assert isinstance(trade, TradeIngested) and trade.key == ID


async def test_a_message_is_there_when_its_unit_commits_and_never_otherwise(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
    told = Notice(user_id=user.id, channel="email", title="t", body="b")
    with pytest.raises(ZeroDivisionError):
        async with db.transaction(user=user.id) as tenant:
            await publish(tenant, told)
            raise ZeroDivisionError
    async with db.transaction(user=user.id) as tenant:
        await publish(tenant, told)
        assert await publish_many(tenant, [told, told]) == 2
    async with db.read(system="test") as reader:
        rows = await reader.outbox.all()
    assert [(row.topic, row.user_id, row.key) for row in rows] == [
        ("notification", user.id, str(user.id))
    ] * 3
    assert decoded(rows[0].payload) == told


async def test_a_tenant_says_nothing_in_anothers_name(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        ada, bob = await make_user(unit), await make_user(unit, "bob")
    with pytest.raises(AccessDenied):
        async with db.transaction(user=ada.id) as tenant:
            await publish(tenant, AnalysisComplete(user_id=bob.id))


async def test_a_value_of_the_wrong_type_is_refused_before_it_is_written(db: Database) -> None:
    wrong = Notice(user_id="ada", channel="email", title="t", body="b")  # type: ignore[arg-type]
    async with db.transaction(system="test") as unit:
        with pytest.raises(InvalidData, match="userId"):
            await publish(unit, wrong)
        assert await unit.outbox.count() == 0
