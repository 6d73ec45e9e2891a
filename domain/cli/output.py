"""How results are printed: a table for people, JSON or CSV for programs. Amounts stay exact."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from domain.money import plain

out: Final = Console(soft_wrap=True, highlight=False)
err: Final = Console(stderr=True, soft_wrap=True, highlight=False)

_wide: Final = Console(soft_wrap=True, highlight=False, width=250)
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


class Format(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], style: Format) -> None:
    """Print `rows` in the order of `columns`; JSON amounts are strings, times ISO 8601 UTC."""
    writers = {Format.TABLE: _table, Format.JSON: _json, Format.CSV: _csv}
    writers[style](rows, columns)


def print_mapping(value: Mapping[str, Any], style: Format) -> None:
    """Print one result: a JSON object, or a line a field."""
    if style is Format.JSON:
        print_json(value)
        return
    for name, item in value.items():
        if not isinstance(item, list):
            out.print(f"{name}: {_text(item)}", markup=False)


def print_json(value: object) -> None:
    """Print `value` as JSON to standard output."""
    sys.stdout.write(json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n")


def _json(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    print_json([{name: row[name] for name in columns} for row in rows])


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)


def _cell(value: object) -> str:
    # A spreadsheet runs text that begins like a formula; numbers are not text.
    text = _text(value)
    if isinstance(value, str) and text.startswith(_FORMULA_STARTS):
        return f"'{text}"
    return text


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    if not rows:
        err.print("nothing to show")
        return
    table = Table(header_style="bold")
    for name in columns:
        is_number = any(isinstance(row[name], Decimal | int) for row in rows)
        table.add_column(
            name.replace("_", " "), justify="right" if is_number else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(_escaped(_text(row[name])) for name in columns))
    # In a pipe nobody's window is too narrow: a word that is looked for stays whole.
    (out if out.is_terminal else _wide).print(table)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _text(value: object) -> str:
    plain_value = _plain(value)
    return "" if plain_value is None else str(plain_value)


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    return str(value)
