"""Takes in economic series with their vintages, and reads the files they come in."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

from sqlalchemy import ARRAY, Boolean, Date, DateTime, Numeric, Text, bindparam, text

from domain.clock import as_utc, now
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.money import checked, parse

MISSING: Final = frozenset({".", "", "NA", "NaN", "#N/A"})
"""How files say that there is no value."""

_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9_.:^=-]{0,49}")
_AMERICAN: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_COLUMNS: Final[dict[str, Any]] = {
    "symbol": Text(),
    "observed_on": Date(),
    "vintage_on": Date(),
    "value": Numeric(),
    "is_preliminary": Boolean(),
    "revised_at": DateTime(timezone=True),
    "source": Text(),
}
_STATEMENT: Final = text((files("domain.news") / "releases.sql").read_text()).bindparams(
    *(bindparam(name, type_=ARRAY(kind, dimensions=1)) for name, kind in _COLUMNS.items())
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What was published on one day about one day.

    Args:
        symbol: The series, upper case.
        observed_on: The day measured, or the first of the period.
        vintage_on: First day on which the value was known.
        value: The value; None: the source says there is none.
        is_preliminary: The source will revise it.
        revised_at: The source's instant of the revision, aware.
        source: Where it came from, a lower-case word.
    """

    symbol: str
    observed_on: date
    vintage_on: date
    value: Decimal | None = None
    is_preliminary: bool = False
    revised_at: datetime | None = None
    source: str = "fred"


@dataclass(frozen=True, slots=True)
class Stored:
    """What came of a batch of releases.

    Args:
        new: Vintages that were added.
        corrected: Vintages of the same day whose value was replaced.
        same: Releases that said nothing new.
    """

    new: int
    corrected: int
    same: int


async def ingest_releases(unit: UnitOfWork, releases: Sequence[Release]) -> Stored:
    """Store what is new: first values and revisions, each as a vintage. Any order, any number.

    A release is compared with the vintage known just before it; the same value and preliminary
    mark again add nothing. Another value of a stored vintage replaces it: a day is as fine as
    vintages get. Unknown series are listed.

    Args:
        unit: A staff or system transaction.
        releases: Of several for one series, day and vintage the last counts.

    Raises:
        InvalidData: A symbol is no code, a value is a float, NaN or out of range, or a time is
            naive. Nothing is written then.
    """
    if not releases:
        return Stored(0, 0, 0)
    rows = [_row(item) for item in releases]
    arrays = {name: [row[name] for row in rows] for name in _COLUMNS}
    new, corrected = (await unit.session.execute(_STATEMENT, arrays)).one()
    return Stored(new, corrected, len(rows) - new - corrected)


def _row(item: Release) -> dict[str, Any]:
    if not _SYMBOL.fullmatch(item.symbol):
        raise InvalidData("symbol", item.symbol, "be an upper-case code of at most 50 characters")
    if isinstance(item.observed_on, datetime) or isinstance(item.vintage_on, datetime):
        raise InvalidData("observed_on", item.observed_on, "be days, not instants")
    return {
        "symbol": item.symbol,
        "observed_on": item.observed_on,
        "vintage_on": item.vintage_on,
        "value": None if item.value is None else checked(item.value, "value"),
        "is_preliminary": item.is_preliminary,
        "revised_at": None if item.revised_at is None else as_utc(item.revised_at, "revised_at"),
        "source": item.source,
    }


def read_fred_csv(
    content: str | bytes,
    *,
    vintage_on: date | None = None,
    lag: timedelta | None = None,
    source: str = "fred",
) -> list[Release]:
    """Read a file as FRED writes it: a column of days, then one a series; ``.`` is no value.

    Such a file does not say when its values were published. Say so, or history will seem to have
    been known when it was not.

    Args:
        content: The file; days as 2024-01-31 or 1/31/2024.
        vintage_on: The day on which the file was taken: what is honest. Default: today.
        lag: Instead, the time from the day measured to its publication: an assumption.
        source: Where it came from.

    Raises:
        InvalidData: Not such a file; the error names line and column.
    """
    decoded = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    rows = csv.reader(io.StringIO(decoded.lstrip("\ufeff")))
    heads = [head.strip().upper() for head in next(rows, [])]
    if len(heads) < 2 or not all(_SYMBOL.fullmatch(head) for head in heads[1:]):  # noqa: PLR2004 - a day and a value
        raise InvalidData("line 1", heads, "name a column of days and one for each series")
    taken_on = vintage_on or now().date()
    found = []
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(heads):
            raise InvalidData(f"line {number}", row, f"have {len(heads)} columns")
        day = _day(row[0], f"line {number}, {heads[0]}")
        for head, cell in zip(heads[1:], row[1:], strict=True):
            found.append(
                Release(
                    symbol=head,
                    observed_on=day,
                    vintage_on=taken_on if lag is None else day + lag,
                    value=_value(cell, f"line {number}, {head}"),
                    source=source,
                )
            )
    return found


def from_tetra(
    rows: Iterable[Mapping[str, Any]], *, vintage_on: date | None = None
) -> Iterator[Release]:
    """Return the releases in rows of Tetra's ``economic_data.economic_data``.

    The vintage is the day of ``revision_date``, else `vintage_on`, else of ``created_at``.

    Raises:
        InvalidData: A row lacks a column or its vintage cannot be told.
    """
    for number, row in enumerate(rows, start=1):
        revised_at = row.get("revision_date")
        known_at = revised_at or vintage_on or row.get("created_at")
        if known_at is None:
            raise InvalidData(f"row {number}", None, "tell its vintage: give vintage_on")
        for name in ("symbol", "date"):
            if row.get(name) is None:
                raise InvalidData(f"row {number}.{name}", None, "be given")
        value = row.get("value")
        yield Release(
            symbol=row["symbol"],
            observed_on=_date_of(row["date"]),
            vintage_on=_date_of(known_at),
            value=_value(value, f"row {number}.value") if isinstance(value, str) else value,
            is_preliminary=bool(row.get("is_preliminary")),
            revised_at=revised_at,
            source=str(row.get("source") or "fred").lower(),
        )


def _date_of(value: date | datetime) -> date:
    return as_utc(value, "date").date() if isinstance(value, datetime) else value


def _day(cell: str, field: str) -> date:
    found = _AMERICAN.fullmatch(cell.strip())
    try:
        if found is None:
            return date.fromisoformat(cell.strip())
        month, day, year = (int(part) for part in found.groups())
        return date(year, month, day)
    except ValueError:
        raise InvalidData(field, cell, "be a day such as 2024-01-31 or 1/31/2024") from None


def _value(cell: str, field: str) -> Decimal | None:
    return None if cell.strip() in MISSING else parse(cell, field)
