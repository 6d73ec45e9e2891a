"""Dates and times of Flex statements.

They carry no zone. IBKR reports them in the time of its home market, US Eastern, unless the query
adds one; a summer hour that the clock shows twice is taken as the first.

Source: IBKR Guides, Flex Query reference: date formats yyyyMMdd (default), yyyy-MM-dd, dd-MMM-yy
and others with slashes; time formats HHmmss (default) and HH:mm:ss; separators ";" (default), ",",
a blank, or none.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from domain.errors import InvalidData
from domain.trading.importing.instants import in_range
from domain.trading.importing.tables import Row

NEW_YORK: Final = ZoneInfo("America/New_York")
MIDNIGHT: Final = time(0)
# IBKR books expirations, assignments and exercises at this time of the day.
OPTION_EVENTS_AT: Final = time(16, 20)

_DATE: Final = (
    r"(?:(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
    r"|(?P<day2>\d\d)-(?P<name>[A-Za-z]{3})-(?P<year2>\d\d))"
)
_TIME: Final = r"(?P<hour>\d\d):?(?P<minute>\d\d):?(?P<second>\d\d)"
_ZONE: Final = r"(?P<zone>EST|EDT|UTC|GMT|Z|[+-]\d\d:?\d\d)"
_INSTANT: Final = re.compile(rf"{_DATE}(?:(?:, |[;,T ]|){_TIME}(?: ?{_ZONE})?)?", re.ASCII)
_MONTHS: Final = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
_ZONES: Final[dict[str, tzinfo]] = {
    "EST": timezone(timedelta(hours=-5)),
    "EDT": timezone(timedelta(hours=-4)),
    "UTC": UTC,
    "GMT": UTC,
    "Z": UTC,
}
_CENTURY: Final = 2000


def instant_of(row: Row, *columns: str, at: time = MIDNIGHT) -> datetime:
    """Return the instant of a row, aware UTC.

    Args:
        row: The row.
        columns: Attributes to look in; the first one that is there counts.
        at: Time of day in New York when only a date is given.

    Raises:
        InvalidData: None of them is there, or it is not a date and time.
    """
    for column in columns:
        if row.text(column):
            return parse_instant(row.text(column), column, at=at)
    raise InvalidData(columns[0], "", "not be empty")


def parse_instant(text: str, field: str, *, at: time = MIDNIGHT) -> datetime:
    """Read a date and time of a Flex statement.

    Args:
        text: ``20190515;202000``, ``2019-05-15, 20:20:00``, ``15-May-19 20:20:00`` or only a date.
        field: The attribute, for the error.
        at: Time of day in New York when there is only a date.

    Raises:
        InvalidData: Another format, an impossible date, or a year outside 1970-2199.

    Example:
        >>> parse_instant("20190515;202000", "dateTime").isoformat()
        '2019-05-16T00:20:00+00:00'
    """
    match = _matched(text, field)
    try:
        local = datetime.combine(_date(match), _time(match, at), _zone(match))
    except ValueError as error:
        raise InvalidData(field, text, "be a date and time that exist") from error
    return in_range(local, field, text).astimezone(UTC)


def parse_date(text: str, field: str) -> date:
    """Read a date of a Flex statement: ``20190515``, ``2019-05-15`` or ``15-May-19``.

    Raises:
        InvalidData: Another format, or a day that does not exist.
    """
    try:
        return _date(_matched(text, field))
    except ValueError as error:
        if isinstance(error, InvalidData):
            raise
        raise InvalidData(field, text, "be a date that exists") from error


def _matched(text: str, field: str) -> re.Match[str]:
    if "/" in text:
        rule = "be written like 20200630 or 2020-06-30: with slashes, day and month are ambiguous"
        raise InvalidData(field, text, rule)
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise InvalidData(field, text, "be a date and time like 20200630;153000")
    return match


def _date(match: re.Match[str]) -> date:
    if match["year"]:
        return date(int(match["year"]), int(match["month"]), int(match["day"]))
    month = _MONTHS.index(match["name"].lower()) + 1
    return date(_CENTURY + int(match["year2"]), month, int(match["day2"]))


def _time(match: re.Match[str], at: time) -> time:
    if match["hour"] is None:
        return at
    return time(int(match["hour"]), int(match["minute"]), int(match["second"]))


def _zone(match: re.Match[str]) -> tzinfo:
    text = match["zone"]
    if text is None:
        return NEW_YORK
    if text in _ZONES:
        return _ZONES[text]
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)
