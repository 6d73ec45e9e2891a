"""The only place that reads the wall clock or makes an id.

Times are aware UTC; a naive one is an error, never a guess. Ids are UUID version 7 (RFC 9562):
they sort by creation time, which keeps primary-key indexes local.
"""

import time
from datetime import UTC, datetime
from uuid import UUID

import uuid_utils.compat

from domain.errors import InvalidData


def now() -> datetime:
    """Return the current instant, aware, UTC, with microseconds."""
    return datetime.now(UTC)  # noqa: TID251 - this is the clock


def unix_now() -> float:
    """Return the current instant as seconds since 1970, for ages that are no facts."""
    return time.time()  # noqa: TID251 - this is the clock


def new_id() -> UUID:
    """Return a new UUID version 7, monotonic within this process."""
    return uuid_utils.compat.uuid7()


def as_utc(value: datetime, field: str = "time") -> datetime:
    """Return `value` converted to UTC.

    Args:
        value: An aware instant in any zone.
        field: The name used in the error.

    Raises:
        InvalidData: `value` is naive or not a datetime.

    Example:
        >>> from datetime import datetime, timezone, timedelta
        >>> as_utc(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))).isoformat()
        '2026-01-01T00:00:00+00:00'
    """
    if not isinstance(value, datetime):
        raise InvalidData(field, value, "be a datetime")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidData(field, value.isoformat(), "carry a time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidData(field, value.isoformat(), "lie between the years 1 and 9999") from None
