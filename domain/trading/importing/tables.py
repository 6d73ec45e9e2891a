"""CSV text becomes rows that are read by column name, each with its physical line number.

What lives here: the CSV dialect (RFC 4180, comma separated, strict quotes), the header, and the
checks that hold for a cell in any format. What a column means is the business of each format.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.money import parse
from domain.trading.importing.records import RejectedRow

MAX_CELL: Final = 10_000

_WRONG_DELIMITERS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
_LINE_BREAKS: Final = frozenset("\t\n\r")
_FIRST_PRINTABLE: Final = " "


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a format knows, by their exact names.

    Attributes:
        required: Without these a file is refused.
        optional: Read when present. Any further column is ignored.
        blanks: Cell texts that mean "nothing".
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    blanks: frozenset[str] = frozenset({""})

    @property
    def known(self) -> tuple[str, ...]:
        """Required and optional columns, in one fixed order."""
        return self.required + self.optional


@dataclass(frozen=True, slots=True)
class Row:
    """One data row.

    Attributes:
        line: Physical line on which it begins, from 1.
        cells: Cell text by column name, without surrounding blanks; empty cells are left out.
    """

    line: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """Return the cell's text, "" when it is empty or the column is absent."""
        return self.cells.get(column, "")

    def required(self, column: str) -> str:
        """Return the cell's text.

        Raises:
            InvalidData: The cell is empty.
        """
        if column not in self.cells:
            raise InvalidData(column, "", "not be empty")
        return self.cells[column]

    def number(self, column: str) -> Decimal:
        """Return the cell's number, 0 when it is empty.

        Raises:
            InvalidData: Not a plain decimal number inside the stored range.
        """
        return parse(self.cells.get(column, "0"), column, grouping=True)

    def required_number(self, column: str) -> Decimal:
        """Return the cell's number.

        Raises:
            InvalidData: Empty, or not a plain decimal number inside the stored range.
        """
        return parse(self.required(column), column, grouping=True)


def read_rows(text: str, columns: Columns) -> Iterator[Row | RejectedRow]:
    """Read a table whose first line names its columns.

    Args:
        text: The file. Blank lines are no rows.
        columns: What the format knows.

    Yields:
        A row, or the refusal of one whose quotes, number of cells or characters are broken.

    Raises:
        InvalidData: There is no header, or it lacks a column, or names one twice.
    """
    records = _records(text)
    header = _header(records, columns)
    for line, record in records:
        if isinstance(record, RejectedRow):
            yield record
        elif any(cell.strip() for cell in record):
            yield _row(line, record, header, columns)


def _records(text: str) -> Iterator[tuple[int, list[str] | RejectedRow]]:
    # newline="" leaves line ends alone, and StringIO ends a line only at CR, LF and CRLF:
    # str.splitlines() would also cut at U+2028, form feeds and others inside a cell.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record: list[str] | RejectedRow = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            record = RejectedRow(line, "row", str(error), "be well-formed CSV with closed quotes")
        yield line, record


def _header(
    records: Iterator[tuple[int, list[str] | RejectedRow]], columns: Columns
) -> tuple[str, ...]:
    for _, record in records:
        if isinstance(record, RejectedRow):
            raise InvalidData("file", record.value, "begin with a readable header line")
        if any(cell.strip() for cell in record):
            return _named(record, columns)
    raise InvalidData("file", "", "begin with a header line; it is empty")


def _named(record: list[str], columns: Columns) -> tuple[str, ...]:
    spelling = {name.casefold(): name for name in columns.known}
    names = [cell.strip() for cell in record]
    header = tuple(spelling.get(name.casefold(), name) for name in names)
    missing = [name for name in columns.required if name not in header]
    if missing:
        raise InvalidData("file", ",".join(names), _missing_rule(missing, record))
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise InvalidData("file", ", ".join(twice), "name each column once in its header")
    return header


def _missing_rule(missing: list[str], record: list[str]) -> str:
    for delimiter, name in _WRONG_DELIMITERS.items():
        if len(record) < len(missing) and any(delimiter in cell for cell in record):
            return f"separate its columns by commas, not by {name}"
    return f"have a header line with the column(s) {', '.join(missing)}"


def _row(
    line: int, record: list[str], header: tuple[str, ...], columns: Columns
) -> Row | RejectedRow:
    if len(record) != len(header):
        rule = f"have {len(header)} cells, as many as the header"
        return RejectedRow(line, "row", f"{len(record)} cells", rule)
    cells = {name: cell.strip() for name, cell in zip(header, record, strict=True)}
    for name, cell in cells.items():
        broken = broken_rule(cell)
        if broken:
            return RejectedRow.because(line, InvalidData(name or "row", cell, broken))
    kept = {name: cell for name, cell in cells.items() if name and cell not in columns.blanks}
    return Row(line, kept)


def broken_rule(cell: str) -> str:
    """Return the rule that a cell breaks in any format, or "" when it breaks none."""
    if len(cell) > MAX_CELL:
        return f"be at most {MAX_CELL} characters long"
    if any(c < _FIRST_PRINTABLE and c not in _LINE_BREAKS for c in cell):
        return "contain no control characters"
    return ""
