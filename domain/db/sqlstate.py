"""SQLSTATE becomes one of our errors: once, at the engine, for every statement.

Works from the five characters, never from the message text, which depends on the server's
language. Programming errors (class 42 but 42501) pass through untouched: they are bugs.
"""

import asyncio
import re
from typing import Final

from sqlalchemy.engine import ExceptionContext

from domain import errors

_BY_STATE: Final[dict[str, tuple[type[errors.DatabaseError], str]]] = {
    "23505": (errors.AlreadyExists, "a row with this key exists already"),
    "23P01": (errors.AlreadyExists, "a row that overlaps this one exists already"),
    "23503": (
        errors.ReferenceViolation,
        "a row that this one refers to, or is used by, forbids it",
    ),
    "23001": (errors.ReferenceViolation, "the row is still in use"),
    "23514": (errors.CheckFailed, "a value breaks a rule of the table"),
    "23502": (errors.CheckFailed, "a required value is missing"),
    "40001": (errors.Conflict, "another transaction changed the same rows"),
    "40P01": (errors.Conflict, "two transactions waited for each other"),
    "55P03": (errors.LockTimeout, "the row or table is locked"),
    "57014": (errors.QueryTimeout, "the statement ran longer than allowed"),
    "42501": (errors.AccessDenied, "the role or tenant may not do this"),
    "53300": (errors.Unavailable, "the server has no free connection"),
}
_BY_CLASS: Final[dict[str, tuple[type[errors.DatabaseError], str]]] = {
    "08": (errors.Unavailable, "the connection to the server broke"),
    "57": (errors.Unavailable, "the server is stopping or starting"),
    "22": (errors.RejectedValue, "PostgreSQL cannot represent a value"),
}
_READ_ONLY: Final = "25006"
_SHARD_SUFFIX: Final = re.compile(r"_\d{6,}$")


def translate(context: ExceptionContext) -> errors.TradekeepError | None:
    """Return our exception for the one that SQLAlchemy is about to raise, keeping the cause.

    Args:
        context: The argument of the engine's ``handle_error`` event.
    """
    original = context.original_exception
    if isinstance(original, errors.InvalidData):
        # A column type refused a value: SQLAlchemy would wrap what already says it all.
        return errors.InvalidData(original.field, original.value, original.rule)
    return translated_error(original, is_disconnect=bool(context.is_disconnect))


def translated_error(
    original: BaseException, *, is_disconnect: bool = False
) -> errors.TradekeepError | None:
    """Return our error for a driver error, or None when it is not ours to translate."""
    # A cancelled task is no fault of the server, though it breaks the connection.
    if isinstance(original, errors.TradekeepError) or not isinstance(original, Exception):
        return None
    if isinstance(original, asyncio.TimeoutError):
        return errors.QueryTimeout("the server did not answer in time")
    if isinstance(original, OSError):
        return errors.Unavailable("the server cannot be reached")
    state = getattr(original, "sqlstate", None)
    found = _from_state(state or "", original)
    if found is None and is_disconnect:
        return errors.Unavailable("the connection to the server broke", sqlstate=state)
    return found


def _from_state(state: str, original: BaseException) -> errors.TradekeepError | None:
    if state == _READ_ONLY:
        return errors.ReadOnly("a read session cannot write: use db.transaction(...)")
    found = _BY_STATE.get(state) or _BY_CLASS.get(state[:2])
    if found is None:
        return None
    kind, message = found
    return kind(_located(message, original), sqlstate=state, **_details(original))


def _details(original: BaseException) -> dict[str, str | None]:
    server_error = original.__cause__ or original
    names = ("schema_name", "table_name", "column_name", "constraint_name")
    schema, table, column, constraint = (getattr(server_error, name, None) for name in names)
    if constraint:
        # Citus appends the shard number to constraint names.
        constraint = _SHARD_SUFFIX.sub("", constraint)
    return {"schema": schema, "table": table, "column": column, "constraint": constraint}


def _located(message: str, original: BaseException) -> str:
    details = _details(original)
    table = ".".join(part for part in (details["schema"], details["table"]) if part)
    rule = details["constraint"] or details["column"]
    where = f"{table}: " if table else ""
    return f"{where}{message} ({rule})" if rule else f"{where}{message}"
