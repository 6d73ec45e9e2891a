"""Values of any column as text, JSON and CSV, exact and without formulas; and CSV back again."""

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any, Final

from domain.money import plain

# A spreadsheet runs text that begins like a formula. Source: OWASP, CSV Injection. Text that
# begins like a guarded one is guarded as well, so that every text has one way back.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n]")
_GUARDED: Final = re.compile(r"'+[=+\-@\t\r\n]")


def guarded(text: str) -> str:
    """Return `text` as a cell that no spreadsheet runs."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded` was given."""
    return text[1:] if _GUARDED.match(text) else text


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


_TEXTS: Final[dict[Any, Callable[[Any], str]]] = {
    str: str,
    bool: lambda value: "yes" if value else "no",
    Decimal: plain,
    datetime: _instant,
    date: date.isoformat,
    dict | list: partial(json.dumps, ensure_ascii=False),
    bytes: bytes.hex,
}


def as_text(value: Any) -> str:
    """Return a value as text: all digits, UTC, JSON for structures; empty for NULL."""
    kind: Any = type(value)
    return "" if value is None else _writer_of(kind)(value)


@cache
def _writer_of(kind: Any) -> Callable[[Any], str]:
    """Return what writes values of a type: looked for once, for files have millions of them."""
    found = (write for known, write in _TEXTS.items() if issubclass(kind, known))
    return next(found, str)


def as_json(value: Any) -> Any:
    """Return a value as JSON holds it without loss: numbers with decimals and times are text."""
    is_plain = value is None or (isinstance(value, bool | int | dict | list))
    return value if is_plain else as_text(value)


class CsvWriter:
    """Writes a table as CSV, RFC 4180.

    Args:
        names: The headings.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def start(self) -> bytes:
        """Return the headings."""
        return self.rows([self._names])

    def rows(self, batch: Sequence[Sequence[Any]]) -> bytes:
        """Return what `batch` adds."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\r\n").writerows(
            [_csv_cell(value) for value in row] for row in batch
        )
        return buffer.getvalue().encode()

    def end(self) -> bytes:
        """Return nothing: CSV has no end."""
        return b""


def _csv_cell(value: Any) -> str:
    return guarded(value) if isinstance(value, str) else as_text(value)


class JsonWriter:
    """Writes a table as one JSON array of objects.

    Args:
        names: The members.
        is_lines: One object a line and no array.
    """

    def __init__(self, names: Sequence[str], *, is_lines: bool) -> None:
        self._names = names
        self._joint = "\n" if is_lines else ",\n"
        self._ends = ("", "\n") if is_lines else ("[\n", "\n]\n")
        self._is_first = True

    def start(self) -> bytes:
        """Return the beginning."""
        return self._ends[0].encode()

    def rows(self, batch: Sequence[Sequence[Any]]) -> bytes:
        """Return what `batch` adds."""
        written = self._joint.join(self._object(row) for row in batch)
        lead = "" if self._is_first else self._joint
        self._is_first = self._is_first and not batch
        return (lead + written if batch else "").encode()

    def end(self) -> bytes:
        """Return the end."""
        return b"" if self._is_first and self._ends[0] == "" else self._ends[1].encode()

    def _object(self, row: Sequence[Any]) -> str:
        values = {name: as_json(value) for name, value in zip(self._names, row, strict=True)}
        return json.dumps(values, ensure_ascii=False, allow_nan=False)
