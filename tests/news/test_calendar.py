"""Calendar events: sent again with what is known by then, found by time, impact and currency."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain import Database
from domain.db.bulk import Upserted
from domain.errors import InvalidData
from domain.news.calendar import NewEvent, from_tetra, ingest_events
from domain.news.terms import Impact
from tests.factories.market import make_instrument

MEETING = datetime(2024, 3, 20, 18, tzinfo=UTC)


def decision(**values: Any) -> NewEvent:
    defaults: dict[str, Any] = {
        "event_type": "rate_decision",
        "name": "FOMC rate decision",
        "occurs_at": MEETING,
        "source": "calendar",
        "currency": "usd",
        "country": "US",
        "impact": Impact.CRITICAL,
    }
    return NewEvent(**(defaults | values))


async def ingest(db: Database, *events: NewEvent) -> Upserted:
    async with db.transaction(system="feed") as unit:
        return await ingest_events(unit, events)


async def test_an_event_sent_again_adds_what_is_known_by_then(db: Database) -> None:
    assert await ingest(db, decision(forecast=Decimal("5.50"))) == Upserted(1, 0)
    assert await ingest(db, decision(actual=Decimal("5.50"), impact=None)) == Upserted(0, 1)
    async with db.read(system="test") as unit:
        (stored,) = await unit.calendar_events.all()
    assert (stored.forecast, stored.actual, stored.impact) == (Decimal("5.5"), Decimal("5.5"), 4)
    assert stored.currency == "USD"


async def test_the_last_of_several_messages_in_one_batch_counts(db: Database) -> None:
    done = await ingest(
        db, decision(forecast=Decimal(1)), decision(actual=Decimal(2)), decision(actual=Decimal(3))
    )
    assert done == Upserted(1, 0)
    async with db.read(system="test") as unit:
        (stored,) = await unit.calendar_events.all()
    assert (stored.forecast, stored.actual) == (Decimal(1), Decimal(3))


async def test_an_event_with_an_id_moves_to_another_time(db: Database) -> None:
    await ingest(db, decision(external_id="fomc-2024-03"))
    later = MEETING + timedelta(days=1)
    assert await ingest(db, decision(external_id="fomc-2024-03", occurs_at=later)) == Upserted(0, 1)
    async with db.read(system="test") as unit:
        (stored,) = await unit.calendar_events.all()
    assert stored.occurs_at == later


async def test_events_are_found_by_time_impact_currency_and_instrument(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        apple = await make_instrument(unit, "AAPL")
    await ingest(
        db,
        decision(),
        decision(name="Housing starts", event_type="release", impact=Impact.LOW),
        decision(name="ECB", currency="EUR", country="DE", occurs_at=MEETING + timedelta(hours=1)),
        decision(
            name="Apple Q1",
            event_type="earnings",
            impact=None,
            country=None,
            symbol="AAPL",
            occurs_at=MEETING + timedelta(days=30),
        ),
    )
    async with db.read(system="test") as unit:
        events = unit.calendar_events

        async def upcoming(**narrowed: Any) -> list[str]:
            return [event.name for event in await events.upcoming(MEETING, **narrowed)]

        assert await upcoming(impact=3) == ["FOMC rate decision", "ECB"]
        assert await upcoming(currency="EUR") == ["ECB"]
        assert await upcoming(instrument_id=apple.id) == ["Apple Q1"]
        assert await upcoming(event_type="release", country="US") == ["Housing starts"]
        assert len(await upcoming(limit=2)) == 2
        hour = await events.between(MEETING, MEETING + timedelta(hours=1), currency="USD")
        assert {event.name for event in hour} == {"FOMC rate decision", "Housing starts"}
        assert await events.upcoming(MEETING + timedelta(days=31)) == []
        with pytest.raises(InvalidData, match="filter"):
            await events.upcoming(MEETING, source="x")


async def test_a_row_of_tetra_becomes_an_event(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        apple = await make_instrument(unit, "AAPL")
    row = {
        "id": "4dfc", "event_type": "earnings", "event_datetime": MEETING,
        "event_name": "Apple Q1", "description": None, "impact_level": 3, "symbol": "AAPL",
        "currency": "USD", "country": "US", "actual": Decimal("1.53"), "forecast": Decimal("1.50"),
        "previous": Decimal("1.88"), "source": "tetra", "created_at": MEETING,
    }  # fmt: skip
    assert (await ingest(db, from_tetra(row))).inserted == 1
    async with db.read(system="test") as unit:
        (stored,) = await unit.calendar_events.all()
    assert (stored.instrument_id, stored.impact, stored.previous) == (apple.id, 3, Decimal("1.88"))
    for broken in ({**row, "importance": 1}, {**row, "event_name": None}):
        with pytest.raises(InvalidData):
            from_tetra(broken)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"impact": 5}, "impact"),
        ({"name": ""}, "name"),
        ({"description": "\x00"}, "description"),
        ({"occurs_at": datetime(2024, 1, 1)}, "occurs_at"),  # noqa: DTZ001 - that is the point
        ({"symbol": "NOPE"}, "symbol"),
        ({"actual": Decimal("NaN")}, "amount"),
    ],
)
async def test_a_bad_event_leaves_nothing_of_the_batch(
    db: Database, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidData) as refused:
        await ingest(db, decision(name="good"), decision(**values))
    assert refused.value.field == field
    async with db.read(system="test") as unit:
        assert await unit.calendar_events.count() == 0
