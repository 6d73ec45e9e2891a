"""Every error that Tradekeep raises on purpose, in one tree.

Messages are sentences that name the field, the value and the rule where the caller supplied the
value; errors that come from the database name table, column and constraint but never row values.

    TradekeepError
    ├── InvalidData            a value breaks a rule (field, value, rule)
    │   └── InvalidCursor      a page cursor was forged, truncated or made for another order
    ├── NotFound               no row, or none that this tenant may see
    ├── MultipleFound          one row was expected
    ├── ConstraintViolation    the database refused a row
    │   ├── AlreadyExists      unique or exclusion constraint
    │   ├── ReferenceViolation foreign key
    │   └── CheckFailed        check or not-null constraint
    ├── ConflictingTrade       the same dedupe key was booked with other economics
    ├── Stale                  the row changed since it was read
    ├── RejectedValue          PostgreSQL cannot represent a value
    ├── Conflict               serialization failure or deadlock: run the unit again
    ├── LockTimeout            somebody else holds the lock
    ├── QueryTimeout           the statement ran longer than allowed
    ├── AccessDenied           the role or the tenant may not do this
    ├── ReadOnly               a write was tried on a read session
    ├── Unavailable            the server cannot be reached or closed the connection
    └── ConfigurationError     a setting is missing or wrong
"""

from typing import Any


class TradekeepError(Exception):
    """The root of all errors raised on purpose."""


class InvalidData(TradekeepError, ValueError):
    """A value breaks a rule.

    Args:
        field: Where the value stood: a field, column, setting or option name.
        value: The offending value; shown shortened to 80 characters.
        rule: The rule in words, to be read after "must".
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        self.field, self.value, self.rule = field, value, rule
        super().__init__(f"{field} must {rule}, was {shorten(value)}")


class InvalidCursor(InvalidData):
    """A page cursor was forged, truncated or made for another order."""


class NotFound(TradekeepError, LookupError):
    """No row, or none that this tenant may see."""


class MultipleFound(TradekeepError):
    """One row was expected and several were found."""


class DatabaseError(TradekeepError):
    """An error that PostgreSQL reported, translated from its SQLSTATE.

    Args:
        message: One sentence without row values.
        sqlstate: Five characters, or None when the connection was lost.
        details: ``schema``, ``table``, ``column`` and ``constraint`` where the server names them.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None, **details: str | None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.schema = details.get("schema")
        self.table = details.get("table")
        self.column = details.get("column")
        self.constraint = details.get("constraint")


class ConstraintViolation(DatabaseError):
    """The database refused a row."""


class AlreadyExists(ConstraintViolation):
    """A unique or exclusion constraint refused a row."""


class ReferenceViolation(ConstraintViolation):
    """A foreign key refused a row or a delete."""


class CheckFailed(ConstraintViolation):
    """A check or not-null constraint refused a row."""


class RejectedValue(DatabaseError):
    """PostgreSQL could not represent a value (class 22)."""


class Conflict(DatabaseError):
    """Serialization failure or deadlock: run the whole unit again."""


class LockTimeout(DatabaseError):
    """Somebody else holds the lock."""


class QueryTimeout(DatabaseError):
    """The statement ran longer than allowed."""


class AccessDenied(DatabaseError):
    """The role or the tenant may not do this."""


class Unavailable(DatabaseError):
    """The server cannot be reached, closed the connection or is starting."""


class Stale(TradekeepError):
    """The row changed since it was read.

    Args:
        table: The row's table.
        expected: The version the caller had read.
        actual: The version now stored; None when the row is gone.
    """

    def __init__(self, table: str, expected: int, actual: int | None) -> None:
        self.table, self.expected, self.actual = table, expected, actual
        now = "it is gone" if actual is None else f"it is now version {actual}"
        super().__init__(f"{table}: you read version {expected}, {now}")


class ReadOnly(TradekeepError):
    """A write was tried on a read session."""


class ConflictingTrade(TradekeepError):
    """The same dedupe key was booked before with other economics.

    Args:
        dedupe_key: The key both trades carry.
        fields: The names of the fields that differ.
    """

    def __init__(self, dedupe_key: str, fields: tuple[str, ...]) -> None:
        self.dedupe_key, self.fields = dedupe_key, fields
        differing = ", ".join(fields)
        super().__init__(f"trade {shorten(dedupe_key)} was booked before with another {differing}")


class ConfigurationError(TradekeepError):
    """A setting is missing or wrong, or an installation cannot run here."""


def shorten(value: Any, limit: int = 80) -> str:
    """Return ``repr(value)``, cut to `limit` characters so that a huge cell cannot flood a log."""
    text = repr(value[: limit * 4]) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
