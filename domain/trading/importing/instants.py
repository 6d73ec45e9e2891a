"""Dates and times as brokers write them, turned into aware UTC or refused.

A time without an offset is never guessed, except where a format documents its zone (IBKR's).
"""

import re
from datetime import UTC, date, datetime
from typing import Final

from domain.errors import InvalidData

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199

_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(?P<zone>Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_ISO_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_US_DATE: Final = re.compile(r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d\d|\d{4})", re.ASCII)
_CENTURY: Final = 2000


def parse_instant(text: str, field: str) -> datetime:
    """Read an ISO 8601 date and time with an offset.

    Args:
        text: ``2019-11-26T20:12:16+0100``; the offset may have a colon, or be ``Z``.
        field: The column, for the error.

    Returns:
        The instant, aware UTC.

    Raises:
        InvalidData: Another format, no offset, an impossible date, or a year outside 1970-2199.

    Example:
        >>> parse_instant("2019-11-26T20:12:16+0100", "Date").isoformat()
        '2019-11-26T19:12:16+00:00'
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise InvalidData(field, text, "be a date and time like 2019-11-26T20:12:16+01:00")
    if match["zone"] is None:
        raise InvalidData(field, text, "carry a time zone offset, such as +01:00 or Z")
    try:
        return in_range(datetime.fromisoformat(text), field, text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _unless_said(error, field, text) from error


def parse_iso_date(text: str, field: str) -> date:
    """Read a date written as ``2020-06-19``.

    Raises:
        InvalidData: Another format, or a day that does not exist.
    """
    if not _ISO_DATE.fullmatch(text):
        raise InvalidData(field, text, "be a date like 2020-06-19")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidData(field, text, "be a date that exists") from error


def parse_us_date(text: str, field: str) -> date:
    """Read a date written as ``6/19/20`` or ``06/19/2020``: month, day, year.

    Raises:
        InvalidData: Another format, or a day that does not exist.

    Example:
        >>> parse_us_date("6/19/20", "Expiration Date").isoformat()
        '2020-06-19'
    """
    match = _US_DATE.fullmatch(text)
    if match is None:
        raise InvalidData(field, text, "be a date like 6/19/20 (month/day/year)")
    year = int(match["year"])
    try:
        return date(
            year if len(match["year"]) > 2 else _CENTURY + year,  # noqa: PLR2004 - two digits
            int(match["month"]),
            int(match["day"]),
        )
    except ValueError as error:
        raise InvalidData(field, text, "be a date that exists") from error


def in_range(instant: datetime, field: str, text: str) -> datetime:
    """Return `instant` if its year is one that a brokerage account can have.

    Raises:
        InvalidData: The year lies outside 1970-2199.
    """
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise InvalidData(field, text, f"lie between {FIRST_YEAR} and {LAST_YEAR}")
    return instant


def _unless_said(error: Exception, field: str, text: str) -> InvalidData:
    if isinstance(error, InvalidData):
        return error
    return InvalidData(field, text, "be a date and time that exist")
