"""Takes in calendar events: a source may send them again, with what is known by then."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from domain.clock import as_utc
from domain.db.bulk import Upserted
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.news.repositories import CalendarEventRepository
from domain.news.symbols import instruments_named
from domain.news.terms import Impact

_NATURAL: Final[tuple[str, ...]] = (
    "source",
    "event_type",
    "name",
    "occurs_at",
    "instrument_id",
    "country",
)
_EXTERNAL: Final[tuple[str, ...]] = ("source", "external_id")
_LONGEST_NAME: Final = 200
_TETRA: Final = {"event_datetime": "occurs_at", "event_name": "name", "impact_level": "impact"}
_BOOKKEEPING: Final = frozenset({"id", "created_at", "updated_at"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """A calendar event on its way in; the columns of the same names say what each is.

    Args:
        event_type: Kind, a lower-case word.
        name: What happens, 1 to 200 characters.
        occurs_at: When, aware.
        source: Where it came from, a lower-case word.
        external_id: The source's id: an event that has one may move to another time.
        description: More about it.
        impact: 1 low to 4 critical.
        instrument_id: The instrument of an issuer's event.
        symbol: Or its ticker.
        currency: Currency it is about.
        country: ISO 3166 code.
        unit: Unit of the three values.
        actual: What it was.
        forecast: What was expected.
        previous: What it was before.
    """

    event_type: str
    name: str
    occurs_at: datetime
    source: str
    external_id: str | None = None
    description: str | None = None
    impact: Impact | int | None = None
    instrument_id: UUID | None = None
    symbol: str | None = None
    currency: str | None = None
    country: str | None = None
    unit: str | None = None
    actual: Decimal | None = None
    forecast: Decimal | None = None
    previous: Decimal | None = None


def from_tetra(row: Mapping[str, Any]) -> NewEvent:
    """Return the event in a row of Tetra's ``events.event_data``.

    Raises:
        InvalidData: The row has a column that the table does not have, or lacks one.
    """
    values = {
        _TETRA.get(name, name): value for name, value in row.items() if name not in _BOOKKEEPING
    }
    known = {item.name for item in fields(NewEvent)}
    for name in values:
        if name not in known:
            raise InvalidData("row", name, "name columns of event_data only")
    for name in ("event_type", "name", "occurs_at", "source"):
        if values.get(name) is None:
            raise InvalidData(name, None, "be given")
    return NewEvent(**values)


async def ingest_events(unit: UnitOfWork, events: Sequence[NewEvent]) -> Upserted:
    """Store events, and add to stored ones what is known by now.

    An event is the same when source and external id are, else when source, kind, name, time,
    instrument and country are. What a later message leaves out stays as it is.

    Args:
        unit: A staff or system transaction.
        events: Of several messages about one event the last counts.

    Raises:
        InvalidData: A value breaks its rule, or a symbol names no instrument or several. Nothing
            is written then.
    """
    named = await instruments_named(unit, {item.symbol for item in events if item.symbol})
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in events:
        row = _row(_placed(item, named))
        known = merged.setdefault(_key_of(row), {})
        known |= {name: value for name, value in row.items() if value is not None}
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for _, row in sorted(merged.items(), key=lambda item: str(item[0])):
        groups[tuple(row)].append(row)
    inserted = updated = 0
    for given, rows in sorted(groups.items()):
        key = _EXTERNAL if "external_id" in given else _NATURAL
        done = await unit.repository(CalendarEventRepository).upsert_many(
            [dict.fromkeys(key) | row for row in rows],
            key=key,
            update=[name for name in given if name not in key],
        )
        inserted, updated = inserted + done.inserted, updated + done.updated
    return Upserted(inserted, updated)


def _key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = _NATURAL if row["external_id"] is None else _EXTERNAL
    return tuple(row[name] for name in names)


def _placed(item: NewEvent, named: Mapping[str, UUID]) -> NewEvent:
    if item.symbol is None or item.instrument_id is not None:
        return item
    if item.symbol not in named:
        raise InvalidData("symbol", item.symbol, "name exactly one instrument that trades")
    return replace(item, instrument_id=named[item.symbol])


def _row(item: NewEvent) -> dict[str, Any]:
    if not 1 <= len(item.name) <= _LONGEST_NAME:
        raise InvalidData("name", item.name, f"be 1 to {_LONGEST_NAME} characters")
    if item.impact is not None and item.impact not in set(Impact):
        raise InvalidData("impact", item.impact, "be 1, 2, 3 or 4")
    row = {field.name: getattr(item, field.name) for field in fields(item)}
    del row["symbol"]
    for name, value in row.items():
        if isinstance(value, str) and "\x00" in value:
            raise InvalidData(name, value, "hold no NUL character")
    return row | {
        "occurs_at": as_utc(item.occurs_at, "occurs_at"),
        "impact": None if item.impact is None else int(item.impact),
        "currency": item.currency and item.currency.upper(),
        "country": item.country and item.country.upper(),
    }
