"""JSON whose numbers are exact: decimals in, decimals out, never a rounded one in between. Pure.

`dumps` and `loads` know no floats. Columns do, because people store what they have: `stored` and
`written` keep a float where it stands for just the digits that were written, and a Decimal where
it would lose some.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, NoReturn, TypeAlias

from domain.errors import InvalidData
from domain.money import plain

Decimals: TypeAlias = Literal["number", "string"]
"""How decimals are written: as JSON numbers, or as strings that no parser can round."""

_DEEPEST: Final = 100
_LARGEST_EXPONENT: Final = 400
"""More than any float has."""

_MARK: Final = "\x00"
"""Around digits on their way; no JSON column holds this character."""

_MARKED: Final = re.compile(r'"\\u0000([^"\\]*)\\u0000"')


def dumps(value: Any, *, decimals: Decimals = "number") -> str:
    """Write `value` as JSON.

    Args:
        value: Mappings with text keys, sequences, text, int, bool, None and Decimal.
        decimals: How a Decimal is written. As a number it has all its digits, but a reader that
            turns numbers into floats keeps about sixteen of them: such readers take strings.

    Raises:
        InvalidData: A float, a NaN or anything else that JSON does not hold exactly.

    Example:
        >>> dumps({"equity": Decimal("10900.670"), "trades": 1})
        '{"equity": 10900.67, "trades": 1}'
        >>> dumps([Decimal("1E+3")], decimals="string")
        '["1000"]'
    """
    if isinstance(value, Decimal):
        return _number(value, decimals)
    if isinstance(value, Mapping):
        members = (f"{_key(key)}: {dumps(item, decimals=decimals)}" for key, item in value.items())
        return "{" + ", ".join(members) + "}"
    if isinstance(value, str | bool | int) or value is None:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ", ".join(dumps(item, decimals=decimals) for item in value) + "]"
    raise InvalidData("json", value, "be made of text, int, bool, None, Decimal, lists and dicts")


def _number(value: Decimal, decimals: Decimals) -> str:
    if not value.is_finite():
        raise InvalidData("json", str(value), "be a finite number")
    return plain(value) if decimals == "number" else f'"{plain(value)}"'


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise InvalidData("json", key, "have text keys")
    return json.dumps(key, ensure_ascii=False)


def loads(text: str | bytes, *, name: str = "json") -> Any:
    """Read JSON; numbers with a point or an exponent become Decimal.

    Args:
        text: The document, UTF-8.
        name: What it is called in errors: a file name.

    Raises:
        InvalidData: It is no JSON, has NaN, infinity, NUL or half a surrogate pair, or is nested
            deeper than 100 levels.
    """
    try:
        found = json.loads(text, parse_float=_exact, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        rule = error.rule if isinstance(error, InvalidData) else f"be JSON ({_reason(error)})"
        raise InvalidData(name, text[:40], rule) from None
    _check(found, name, _DEEPEST)
    return found


def written(value: Any, *, indent: int | None = None) -> str:
    """Write what a JSON column holds; a Decimal keeps its digits, as a number.

    Raises:
        TypeError: A value is none that JSON holds.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_marked)
    return _MARKED.sub(r"\1", text) if "\\u0000" in text else text


def stored(text: str) -> Any:
    """Read a JSON column: a number that a float would round becomes a Decimal.

    Raises:
        ValueError: It is no JSON.

    Example:
        >>> stored('[1.5, 0.1, 123456789.123456789123]')
        [1.5, 0.1, Decimal('123456789.123456789123')]
    """
    return _STORED.decode(text)


def parsed(text: str) -> Any:
    """Read JSON that somebody typed for a column: as `stored`, without NaN and infinity.

    Raises:
        ValueError: It is no JSON.
    """
    return json.loads(text, parse_float=_faithful, parse_constant=_refuse)


def _marked(value: Any) -> str:
    if not isinstance(value, Decimal):
        raise TypeError(f"JSON holds no {type(value).__name__}")
    return f"{_MARK}{_number(value, 'number')}{_MARK}"


def _faithful(digits: str) -> float | Decimal:
    number = float(digits)
    exact = Decimal(digits)
    return number if Decimal(repr(number)) == exact else exact


_STORED: Final = json.JSONDecoder(parse_float=_faithful)
"""Made once: making it takes longer than most columns."""


def _exact(digits: str) -> Decimal:
    number = Decimal(digits)
    # Written out, 1e999999999 would take a gigabyte.
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise InvalidData("json", digits, f"have exponents up to {_LARGEST_EXPONENT}")
    return number


def _refuse(word: str) -> NoReturn:
    raise InvalidData("json", word, "hold finite numbers only")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, line {error.lineno} column {error.colno}"
    return type(error).__name__


def _check(value: Any, name: str, levels: int) -> None:
    """Refuse what no JSON column and no text column can hold."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise InvalidData(name, value, "hold text without NUL and half surrogate pairs")
    elif isinstance(value, dict | list):
        if not levels:
            raise InvalidData(name, "…", f"be nested at most {_DEEPEST} levels deep")
        children = [*value, *value.values()] if isinstance(value, dict) else value
        for child in children:
            _check(child, name, levels - 1)
