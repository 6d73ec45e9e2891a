"""Results as JSON that loses nothing: exact numbers and times become text."""

import math
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from domain.errors import InvalidData
from domain.money import plain


def plain_json(value: Any, field: str) -> Any:
    """Return `value` as PostgreSQL's JSON can hold it.

    Decimals, dates, instants, UUIDs and enums become text; tuples and sets of them lists.

    Raises:
        InvalidData: A number is no number, a text holds NUL, or an object is of another kind.

    Example:
        >>> plain_json({"price": Decimal("1.50"), "legs": (1, None)}, "result")
        {'price': '1.5', 'legs': [1, None]}
    """
    if isinstance(value, Mapping):
        return {_key(key, field): plain_json(item, field) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item, field) for item in value]
    if isinstance(value, Enum):
        return plain_json(value.value, field)
    return _scalar(value, field)


def _scalar(value: Any, field: str) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _text(value, field)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Decimal) and value.is_finite():
        return plain(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise InvalidData(
        field, value, "hold what JSON can hold: finite numbers, texts, lists, objects"
    )


def _key(key: Any, field: str) -> str:
    if not isinstance(key, str):
        raise InvalidData(field, key, "have texts as keys")
    return _text(key, field)


def _text(text: str, field: str) -> str:
    if "\x00" in text:
        raise InvalidData(field, text, "hold no NUL character")
    return text
