"""Alert rules and what they see."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.alerts.matching import Observation
from domain.alerts.models import Alert, AlertEvent
from domain.alerts.rules import define_alert
from domain.database import Database, Worker
from domain.market.models import Instrument

OPENING_BELL = datetime(2024, 3, 15, 13, 30, tzinfo=UTC)


async def make_alert(unit: Worker, instrument: Instrument | None = None, **values: Any) -> Alert:
    """Make a price rule of the unit's tenant: above 100, once."""
    values = {"condition": "above", **values}
    if values["condition"] != "custom":
        values.setdefault("threshold", Decimal(100))
    name, kind = values.pop("name", "Watch"), values.pop("alert_type", "price")
    return await define_alert(unit, name, kind, instrument=instrument, **values)


def price(instrument: Instrument, value: str, minute: float = 0, **details: Any) -> Observation:
    """Return a price seen so many minutes after the opening."""
    return Observation(
        alert_type="price",
        instrument_id=instrument.id,
        value=Decimal(value),
        at=OPENING_BELL + timedelta(minutes=minute),
        **details,
    )


async def events_of(db: Database, alert: Alert) -> list[AlertEvent]:
    """Return the firings of a rule, the first first."""
    async with db.read(system="test") as unit:
        page = await unit.alert_events.history(alert, limit=1000)
        return list(reversed(page.items))
