"""nof0's times: seconds with a fraction, milliseconds, or ISO 8601 text. Pure."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from domain.clock import as_utc
from domain.errors import InvalidData
from domain.money import exact

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_MILLION: Final = 1_000_000
_THOUSAND: Final = 1_000
_MILLISECONDS_FROM: Final = Decimal(10) ** 12
"""From here on a number counts milliseconds: as seconds it would lie in the year 33658."""


def instant_of(value: Any, field: str) -> datetime:
    """Return the instant that `value` writes, to the microsecond.

    Args:
        value: A number of seconds, a number of milliseconds from 10^12 on, or ISO 8601 text.
        field: The name used in the error.

    Raises:
        InvalidData: It is neither, has no zone, or lies outside the years 1 to 9999.
    """
    if isinstance(value, str):
        return _parsed(value, field)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise InvalidData(field, value, "be a time: seconds, milliseconds or ISO 8601")
    with exact():
        number = Decimal(value)
        if not number.is_finite() or abs(number) >= _MILLISECONDS_FROM * _MILLION:
            raise InvalidData(field, str(value), "lie between the years 1 and 9999")
        scale = _THOUSAND if abs(number) >= _MILLISECONDS_FROM else _MILLION
        ticks = int((number * scale).to_integral_value(ROUND_HALF_EVEN))
    try:
        return _EPOCH + ticks * _TICK
    except OverflowError:
        raise InvalidData(field, str(value), "lie between the years 1 and 9999") from None


def _parsed(text: str, field: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidData(field, text, "be a time: seconds, milliseconds or ISO 8601") from None
    return as_utc(found, field)


def seconds(value: datetime) -> Decimal:
    """Return seconds since 1970, exact to the microsecond."""
    with exact():
        return Decimal((value - _EPOCH) // _TICK) / _MILLION


def milliseconds(value: datetime) -> int:
    """Return whole milliseconds since 1970; what is finer is cut off."""
    return (value - _EPOCH) // _TICK // _THOUSAND
