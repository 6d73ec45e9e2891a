"""Files with rows become headings and text cells: CSV, JSON, JSON Lines and XLSX, within limits.

Nothing is guessed: CSV is strict UTF-8 and RFC 4180, numbers of JSON keep all their digits, and
every refusal names the line, the column, the value and the rule.
"""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final

from python_calamine import CalamineError, CalamineWorkbook

from admin.writing_out import as_text, unguarded
from domain.errors import InvalidData
from domain.money import plain

MOST_ROWS: Final = 20_000
MOST_COLUMNS: Final = 200
LONGEST_FIELD: Final = 100_000
_UNPACKED_BYTES: Final = 500_000_000
"""What a workbook may unpack to: a small file can hold a huge one."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a file.

    Args:
        number: Line of the file on which it begins, from 1; for JSON the number of the object.
        cells: Its texts by heading; None where the file says that there is no value.
        fault: Why it cannot be read at all.
    """

    number: int
    cells: Mapping[str, str | None]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Tabular:
    """What a file holds.

    Args:
        headings: The columns, in order.
        lines: The rows.
    """

    headings: Sequence[str]
    lines: Sequence[Line]


def read_file(filename: str, content: bytes) -> Tabular:
    """Return the rows of a file; the end of its name says what it is.

    Raises:
        InvalidData: It is not such a file, or larger than the limits.
    """
    ending = PurePath(filename).suffix.lower().removeprefix(".")
    reader = _READERS.get(ending)
    if reader is None:
        raise InvalidData("file", filename, f"end with one of {', '.join(_READERS)}")
    headings, lines = reader(content)
    if not headings:
        raise InvalidData("file", filename, "have a heading")
    if len(headings) > MOST_COLUMNS:
        raise InvalidData("file", len(headings), f"have at most {MOST_COLUMNS} columns")
    for heading in headings:
        if headings.count(heading) > 1:
            raise InvalidData("heading", heading, "stand there once")
    return Tabular(headings, lines)


def _csv(content: bytes) -> tuple[list[str], list[Line]]:
    text = _decoded(content)
    rows = _csv_rows(text)
    _, headings = next(rows, (1, []))
    lines: list[Line] = []
    for number, row in rows:
        _require_room(lines)
        if len(row) != len(headings):
            fault = f"have {len(headings)} cells as the heading does, it has {len(row)}"
            lines.append(Line(number, {}, fault))
        else:
            lines.append(_line(number, dict(zip(headings, map(unguarded, row), strict=True))))
    return headings, lines


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        for row in reader:
            if row:
                yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        rule = f"be CSV as RFC 4180 has it ({error})"
        raise InvalidData("file", f"line {number}", rule) from None


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidData("file", f"line {line}", "be text in UTF-8") from None


def _json(content: bytes) -> tuple[list[str], list[Line]]:
    found = _parsed(_decoded(content), "file")
    if not isinstance(found, list):
        raise InvalidData("file", type(found).__name__, "hold a list of objects")
    return _objects(list(enumerate(found, start=1)))


def _json_lines(content: bytes) -> tuple[list[str], list[Line]]:
    texts = enumerate(_decoded(content).split("\n"), start=1)
    return _objects(
        [(number, _parsed(text, f"line {number}")) for number, text in texts if text.strip()]
    )


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise InvalidData(place, text[:80], "be JSON") from None


def _refused(word: str) -> Any:
    raise ValueError(word)


def _objects(found: Sequence[tuple[int, Any]]) -> tuple[list[str], list[Line]]:
    if len(found) > MOST_ROWS:
        raise InvalidData("file", len(found), f"have at most {MOST_ROWS:,} rows")
    objects = [(number, item) for number, item in found if isinstance(item, dict)]
    headings = list(dict.fromkeys(name for _, item in objects for name in item))
    lines = []
    for number, item in found:
        if not isinstance(item, dict):
            lines.append(Line(number, {}, "be an object"))
        else:
            lines.append(_line(number, {name: _json_cell(value) for name, value in item.items()}))
    return headings, lines


def _json_cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return as_text(value)


def _xlsx(content: bytes) -> tuple[list[str], list[Line]]:
    try:
        unpacked = sum(item.file_size for item in zipfile.ZipFile(io.BytesIO(content)).infolist())
        if unpacked > _UNPACKED_BYTES:
            raise InvalidData("file", unpacked, f"unpack to at most {_UNPACKED_BYTES:,} bytes")
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (CalamineError, zipfile.BadZipFile, OSError, IndexError):
        raise InvalidData("file", "workbook", "be an XLSX workbook") from None
    if len(rows) > MOST_ROWS + 1:
        raise InvalidData("file", len(rows) - 1, f"have at most {MOST_ROWS:,} rows")
    headings = [str(_sheet_cell(cell) or "") for cell in rows[0]] if rows else []
    lines = [
        _line(number, dict(zip(headings, map(_sheet_cell, row), strict=False)))
        for number, row in enumerate(rows[1:], start=2)
        if any(cell != "" for cell in row)
    ]
    return headings, lines


def _sheet_cell(value: Any) -> str | None:
    if value == "":
        return None
    if isinstance(value, float):
        # A spreadsheet holds doubles; what it shows are the fewest digits that mean the same.
        return plain(Decimal(repr(value)))
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat() if value.time() else value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return as_text(value)


def _line(number: int, cells: Mapping[str, str | None]) -> Line:
    longest = max((len(cell) for cell in cells.values() if cell), default=0)
    if longest > LONGEST_FIELD:
        return Line(number, {}, f"have cells of at most {LONGEST_FIELD:,} characters")
    if not all(_is_whole(cell) for cell in (*cells, *cells.values()) if cell):
        return Line(number, {}, "hold whole characters: half of one is escaped in it")
    return Line(number, cells)


def _is_whole(text: str) -> bool:
    """Return whether a text can be written as UTF-8; JSON escapes halves of characters, too."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _require_room(lines: Sequence[Line]) -> None:
    if len(lines) >= MOST_ROWS:
        raise InvalidData("file", "more", f"have at most {MOST_ROWS:,} rows")


_READERS: Final[Mapping[str, Callable[[bytes], tuple[list[str], list[Line]]]]] = {
    "csv": _csv,
    "json": _json,
    "jsonl": _json_lines,
    "xlsx": _xlsx,
}
