"""Years, months and days of a list, to drill down by: their bounds come from an index."""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import func

from admin.indexes import Order, serves
from admin.listing import Listing
from admin.rendering import zone_of
from admin.translating import gettext, month_name
from domain.db.unit import Unit

_MOST_YEARS: Final = 60


@dataclass(frozen=True, slots=True)
class Period:
    """A year, a month or a day.

    Args:
        label: What people read.
        link: The list of this period.
        is_current: Whether the list is narrowed to it, or to a part of it.
    """

    label: str
    link: str
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class _Range:
    start: date
    end: date

    @property
    def label(self) -> str:
        if self.start == self.end:
            return str(self.start.day)
        is_month = self.start.month == self.end.month
        return month_name(self.start.month) if is_month else f"{self.start:%Y}"

    def parts(self) -> Sequence["_Range"]:
        if self.start == self.end:
            return ()
        if self.start.month == self.end.month:
            days = (self.start.replace(day=day) for day in range(1, self.end.day + 1))
            return [_Range(day, day) for day in days]
        return [_month(self.start.year, month) for month in range(1, 13)]


async def periods_of(unit: Unit, listing: Listing) -> list[Period]:
    """Return the way down to the list's period and what lies in it; empty without an index."""
    bounds = await _bounds(unit, listing)
    if bounds is None:
        return []
    chosen = _chosen(listing)
    path = [item for item in _path(chosen) if item is not None]
    years = [_Range(date(year, 1, 1), date(year, 12, 31)) for year in _years(bounds)]
    inside = path[-1].parts() if path else years
    found = (
        [Period(gettext("All dates"), listing.link(**{"from": None, "to": None}))] if path else []
    )
    found += [_period(listing, item, is_current=True) for item in path]
    return found + [
        _period(listing, item, is_current=False)
        for item in inside
        if item.start <= bounds[1] and item.end >= bounds[0]
    ]


def _years(bounds: tuple[date, date]) -> range:
    last = bounds[1].year
    return range(max(bounds[0].year, last - _MOST_YEARS), last + 1)


def _period(listing: Listing, item: _Range, *, is_current: bool) -> Period:
    span = {"from": item.start.isoformat(), "to": item.end.isoformat()}
    return Period(item.label, listing.link(**span), is_current)


def _chosen(listing: Listing) -> _Range | None:
    try:
        start = date.fromisoformat(listing.params.get("from", ""))
        return _Range(start, date.fromisoformat(listing.params.get("to", "")))
    except ValueError:
        return None


def _path(chosen: _Range | None) -> Sequence[_Range | None]:
    """Return the year, the month and the day that `chosen` is, as far as it is one."""
    if chosen is None:
        return ()
    year = _Range(date(chosen.start.year, 1, 1), date(chosen.start.year, 12, 31))
    month = _month(chosen.start.year, chosen.start.month)
    if chosen == year:
        return (year,)
    if chosen == month:
        return (year, month)
    return (year, month, chosen) if chosen.start == chosen.end else ()


def _month(year: int, month: int) -> _Range:
    return _Range(date(year, month, 1), date(year, month, monthrange(year, month)[1]))


async def _bounds(unit: Unit, listing: Listing) -> tuple[date, date] | None:
    """Return the first and the last day of what the list's references leave."""
    view = listing.view
    if not view.time_column:
        return None
    columns, keys = view.mapper.column_attrs, listing.keys()
    stored = Order(columns[view.time_column].columns[0].name, is_descending=False)
    if not serves(view.table, {columns[name].columns[0].name for name in keys}, [stored]):
        return None
    column = getattr(view.model, view.time_column)
    matching = view.rows(unit).query(
        *(getattr(view.model, name) == value for name, value in keys.items())
    )
    found = await unit.session.execute(
        matching.with_only_columns(func.min(column), func.max(column))
    )
    first, last = found.one()
    if first is None:
        return None
    return _day(first, listing.zone), _day(last, listing.zone)


def _day(value: Any, zone: str) -> date:
    return value.astimezone(zone_of(zone)).date() if isinstance(value, datetime) else value
