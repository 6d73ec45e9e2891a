"""XLSX as a stream: rows in, bytes out, memory for one batch. Text cells never calculate.

A workbook is a ZIP file of XML; `zipfile` writes one forwards, so nothing is kept and the first
bytes leave at once. Numbers of more than 15 digits are text: a spreadsheet would round them.
Source: ECMA-376 part 1, sections 18.3.1 (worksheets) and 22.9.2.19 (ST_Xstring).
"""

import io
import re
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any, Final
from uuid import UUID
from xml.sax.saxutils import escape

from admin.writing_out import as_text

_ROWS: Final = 1_048_576
_CHARACTERS: Final = 32_767
_CUT: Final = " … (cut: a cell holds 32,767 characters)"
_DIGITS: Final = 15
_SHEET_BYTES: Final = 1_500_000_000
"""Where the next sheet begins: beyond 2 GB a ZIP entry needs what some readers refuse."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_SHEET: Final = (
    f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
    "</sheetView></sheetViews><sheetData>"
)
# The second format keeps what looks like a formula a text, also after it was edited.
_STYLES: Final = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts>'
    '<fills count="1"><fill/></fills><borders count="1"><border/></borders>'
    '<cellStyleXfs count="1"><xf/></cellStyleXfs>'
    '<cellXfs count="2"><xf xfId="0"/><xf xfId="0" quotePrefix="1"/></cellXfs></styleSheet>'
)


class _Sink(io.RawIOBase):
    """Collects what was written since it was asked last."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        found, self._parts = b"".join(self._parts), []
        return found


class XlsxWriter:
    """Writes one table as a workbook; long ones go on in further sheets.

    Args:
        names: The headings.
        title: What the sheets are called.
    """

    def __init__(self, names: Sequence[str], title: str) -> None:
        self._names = names
        self._title = re.sub(r"[^\w -]", " ", title)[:24]
        self._letters = [_letters(index) for index in range(len(names))]
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=3)
        self._sheet: IO[bytes] | None = None
        self._sheets = self._row = self._bytes = 0

    def start(self) -> bytes:
        """Return the beginning."""
        self._open_sheet()
        return self._sink.taken()

    def rows(self, batch: Sequence[Sequence[Any]]) -> bytes:
        """Return what `batch` adds."""
        for row in batch:
            if self._row >= _ROWS or self._bytes >= _SHEET_BYTES:
                self._close_sheet()
                self._open_sheet()
            self._write_row(row)
        return self._sink.taken()

    def end(self) -> bytes:
        """Return the end: what ties the sheets together."""
        self._close_sheet()
        for name, content in self._parts().items():
            self._zip.writestr(name, content)
        self._zip.close()
        return self._sink.taken()

    def _open_sheet(self) -> None:
        self._sheets += 1
        self._row = self._bytes = 0
        self._sheet = self._zip.open(f"xl/worksheets/sheet{self._sheets}.xml", "w")
        self._put(_SHEET)
        self._write_row(self._names)

    def _close_sheet(self) -> None:
        self._put("</sheetData></worksheet>")
        assert self._sheet is not None  # noqa: S101 - a sheet is open from the start to the end
        self._sheet.close()

    def _write_row(self, row: Sequence[Any]) -> None:
        self._row += 1
        cells = [
            _cell(f"{letters}{self._row}", value)
            for letters, value in zip(self._letters, row, strict=True)
        ]
        self._put(f'<row r="{self._row}">{"".join(cells)}</row>')

    def _put(self, text: str) -> None:
        assert self._sheet is not None  # noqa: S101 - a sheet is open from the start to the end
        data = text.encode()
        self._bytes += len(data)
        self._sheet.write(data)

    def _parts(self) -> dict[str, str]:
        numbers = range(1, self._sheets + 1)
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
        sheets = "".join(
            f'<sheet name="{escape(self._title)}{f" {n}" if n > 1 else ""}" sheetId="{n}"'
            f' r:id="rId{n}"/>'
            for n in numbers
        )
        relations = "".join(
            f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet"'
            f' Target="worksheets/sheet{n}.xml"/>'
            for n in numbers
        )
        overrides = "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{kind}.worksheet+xml"/>'
            for n in numbers
        )
        styles = self._sheets + 1
        return {
            "xl/workbook.xml": f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
            f"<sheets>{sheets}</sheets></workbook>",
            "xl/_rels/workbook.xml.rels": f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
            f'{relations}<Relationship Id="rId{styles}" Type="{_OFFICE}/styles"'
            ' Target="styles.xml"/></Relationships>',
            "xl/styles.xml": _STYLES,
            "_rels/.rels": f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
            f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
            "</Relationships>",
            "[Content_Types].xml": f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels"'
            ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{kind}.styles+xml"/>'
            f"{overrides}</Types>",
        }


def _letters(index: int) -> str:
    found = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        found = chr(ord("A") + rest) + found
    return found


def _cell(place: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int | Decimal) and _is_exact(value):
        return f'<c r="{place}"><v>{as_text(value)}</v></c>'
    text = as_text(value)
    is_text = isinstance(value, str) and not isinstance(value, UUID | date | datetime)
    style = ' s="1"' if is_text and text.startswith(_FORMULA) else ""
    shown = escape(_CONTROL.sub(_hidden, _fitting(text)))
    return f'<c r="{place}"{style} t="inlineStr"><is><t xml:space="preserve">{shown}</t></is></c>'


def _is_exact(value: int | Decimal) -> bool:
    """Return whether a double holds every digit and shows them again."""
    return len(Decimal(value).as_tuple().digits) <= _DIGITS and Decimal(value).is_finite()


def _fitting(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[: _CHARACTERS - len(_CUT)] + _CUT


def _hidden(found: re.Match[str]) -> str:
    return f"_x{ord(found[0]):04X}_"
