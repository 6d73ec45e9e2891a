"""Days as people write them in addresses and forms, and the instants between which they lie."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from admin.rendering import zone_of
from domain.errors import InvalidData

_RULE: Final = "be a day such as 2026-01-31"


def day_of(name: str, text: str) -> date:
    """Return the day that `text` names; blanks around it mean nothing.

    Args:
        name: The field or parameter, for the error.
        text: What was typed.

    Raises:
        InvalidData: It names none.
    """
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidData(name, text, _RULE) from None


def days_of(name: str, text: str) -> tuple[date, date]:
    """Return the day that `text` names and the next one.

    Raises:
        InvalidData: It names none, or the last one there is.
    """
    day = day_of(name, text)
    try:
        return day, day + timedelta(days=1)
    except OverflowError:
        raise InvalidData(name, text, _RULE) from None


def instants_of(name: str, text: str, zone: str) -> tuple[datetime, datetime]:
    """Return when the day that `text` names begins and ends for readers in `zone`, in UTC.

    Raises:
        InvalidData: It names none, or one at the ends of time.
    """
    place = zone_of(zone)
    try:
        begin, end = (
            datetime.combine(day, time(0), place).astimezone(UTC) for day in days_of(name, text)
        )
    except OverflowError:
        raise InvalidData(name, text, _RULE) from None
    return begin, end
