"""Gets the rows of a Flex statement out of its XML: streaming, without DTD or entities.

A row is an element with attributes inside one of the sections below. What the attributes mean is
the business of the other modules.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import InputSource, Locator

from defusedxml.common import DefusedXmlException
from defusedxml.sax import make_parser

from domain.errors import InvalidData
from domain.trading.importing.records import RejectedRow
from domain.trading.importing.tables import Row, broken_rule

TRADES: Final = "Trades"
CASH: Final = "CashTransactions"
CORPORATE_ACTIONS: Final = "CorporateActions"
OPTION_EVENTS: Final = "OptionEAE"
TRANSFERS: Final = "Transfers"

_ROWS: Final = {
    (TRADES, "Trade"),
    (CASH, "CashTransaction"),
    (CORPORATE_ACTIONS, "CorporateAction"),
    (OPTION_EVENTS, "OptionEAE"),
    (TRANSFERS, "Transfer"),
}
_ROOT: Final = "FlexQueryResponse"
_STATEMENT: Final = "FlexStatement"
_BLANKS: Final = frozenset({"", "-", "--", "N/A"})
_MAX_DEPTH: Final = 50
_ACTIVITY: Final = "AF"

Item = Row | RejectedRow


@dataclass(slots=True)
class Statement:
    """One account and period.

    Attributes:
        account: Account number, "" when the query leaves it out.
        base_currency: The account's base currency, "" when unknown.
        sections: Rows by section.
    """

    account: str
    base_currency: str = ""
    sections: dict[str, list[Item]] = field(default_factory=dict)

    def rows(self, section: str) -> list[Item]:
        """Return the rows of a section at their finest level of detail.

        A query can ask for details and summaries of the same rows; counting both would double
        every amount.
        """
        rows = self.sections.get(section, [])
        details = [row for row in rows if not _is_summary(row)]
        return details or rows


def read_statements(content: bytes) -> list[Statement]:
    """Return the statements of a file.

    Args:
        content: XML in UTF-8.

    Raises:
        InvalidData: Not well-formed, with a DTD or entities, or no Activity Flex Query.
    """
    handler = _Handler()
    parser = make_parser()
    parser.forbid_dtd = True
    parser.setContentHandler(handler)
    source = InputSource()
    source.setByteStream(BytesIO(content))
    source.setEncoding("utf-8")
    try:
        parser.parse(source)
    except InvalidData:
        raise
    except DefusedXmlException as error:
        raise InvalidData("file", type(error).__name__, "have no DTD and no entities") from error
    except Exception as error:
        # expat reports broken XML as SAXParseException, and broken declarations of the encoding
        # as LookupError or ValueError.
        raise InvalidData("file", str(error), "be well-formed XML") from error
    return handler.statements


class _Handler(ContentHandler):
    """Collects rows while the parser walks through the file."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: list[Statement] = []
        self._path: list[str] = []
        self._place: Locator | None = None

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 - the SAX callback's name
        """Remember what knows the line that is being read."""
        self._place = locator

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802 - the SAX callback's name
        if not self._path:
            _check_root(name, attrs)
        if len(self._path) >= _MAX_DEPTH:
            raise InvalidData("file", name, f"nest its elements at most {_MAX_DEPTH} deep")
        parent = self._path[-1] if self._path else ""
        self._path.append(name)
        if name == _STATEMENT:
            self.statements.append(Statement(attrs.get("accountId", "")))
        elif self.statements:
            self._collect(parent, name, attrs)

    def endElement(self, name: str) -> None:  # noqa: N802 - the SAX callback's name
        del name
        self._path.pop()

    def _line(self) -> int:
        return (self._place.getLineNumber() if self._place else None) or 1

    def _collect(self, parent: str, name: str, attrs: Any) -> None:
        statement = self.statements[-1]
        if name == "AccountInformation":
            statement.base_currency = attrs.get("currency", statement.base_currency)
        # The section OptionEAE holds rows of the same name: only those have attributes.
        if (parent, name) in _ROWS and attrs.getLength():
            row = _row(self._line(), dict(attrs.items()))
            statement.sections.setdefault(parent, []).append(row)


def _check_root(name: str, attrs: Any) -> None:
    if name != _ROOT:
        raise InvalidData("file", name, f"be a Flex statement: its first element is {_ROOT}")
    if attrs.get("type", _ACTIVITY) != _ACTIVITY:
        raise InvalidData(
            "file", attrs.get("type"), f"be an Activity Flex Query (type {_ACTIVITY})"
        )


def _row(line: int, attributes: dict[str, str]) -> Item:
    cells = {name: value.strip() for name, value in attributes.items()}
    for name, cell in cells.items():
        broken = broken_rule(cell)
        if broken:
            return RejectedRow.because(line, InvalidData(name, cell, broken))
    return Row(line, {name: cell for name, cell in cells.items() if cell not in _BLANKS})


def _is_summary(item: Item) -> bool:
    return isinstance(item, Row) and item.text("levelOfDetail").upper() == "SUMMARY"


def rows_only(items: Iterable[Item]) -> list[Row]:
    """Return the rows without the refusals among them."""
    return [item for item in items if isinstance(item, Row)]
