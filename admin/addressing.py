"""Records in addresses: a primary key as a path segment, and back."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, TypeDecorator
from starlette.exceptions import HTTPException
from starlette.requests import Request

from admin.pages import root_of
from admin.records import RecordView
from domain.db.types import ClosedText

_PARSERS: Final[dict[type, Callable[[str], Any]]] = {
    UUID: UUID,
    int: int,
    bytes: bytes.fromhex,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
}


def identifier(view: RecordView, record: Any) -> str:
    """Return the record's key as it stands in a path; parts are joined by a semicolon."""
    return key_text(view.mapper.primary_key_from_instance(record))


def key_text(values: Iterable[Any]) -> str:
    """Return the parts of a primary key as they stand in a path."""
    return ";".join(_written(value) for value in values)


def address(request: Request, view: RecordView, record: Any) -> str:
    """Return the path of a record's page."""
    return f"{root_of(request)}/{view.identity}/details/{identifier(view, record)}"


def key_of(view: RecordView, request: Request) -> Any:
    """Return the primary key that the path holds; a tuple when it has several parts.

    Raises:
        HTTPException: 404 when it cannot be one.
    """
    return parsed_key(view, request.path_params["pk"])


def parsed_key(view: RecordView, text: str) -> Any:
    """Return the primary key that a text stands for; a tuple when it has several parts.

    Raises:
        HTTPException: 404 when it cannot be one.
    """
    key = key_in(view, text)
    if key is None:
        raise HTTPException(404, "There is no such record.")
    return key


def key_in(view: RecordView, text: str) -> Any:
    """Return the primary key that a text stands for, a tuple when it has several parts; or None."""
    parts = text.split(";")
    columns = view.mapper.primary_key
    if len(parts) != len(columns):
        return None
    try:
        values = [_read(column, part) for column, part in zip(columns, parts, strict=True)]
    except (ValueError, OverflowError):
        return None
    return values[0] if len(values) == 1 else tuple(values)


def uuid_of(request: Request) -> UUID:
    """Return the UUID that the path holds.

    Raises:
        HTTPException: 404 when it is none.
    """
    key = uuid_or_none(request.path_params["pk"])
    if key is None:
        raise HTTPException(404, "There is no such record.")
    return key


def uuid_or_none(text: str) -> UUID | None:
    """Return the UUID that a text stands for; None when it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def _read(column: Column[Any], text: str) -> Any:
    if "\x00" in text:
        raise ValueError(text)
    if isinstance(column.type, ClosedText):
        return column.type.vocabulary(text)
    stored = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    value = _PARSERS.get(stored.python_type, str)(text)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(text)
        return value.astimezone(UTC)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(text)
    return value
