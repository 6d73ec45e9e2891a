"""Reads tastytrade's transaction history: bytes in, records and refused rows out."""

from collections.abc import Callable
from functools import partial
from typing import Final

from domain.errors import InvalidData
from domain.trading.importing.assembly import assemble, build_all
from domain.trading.importing.documents import read_csv_text
from domain.trading.importing.identity import Ordinals
from domain.trading.importing.records import ParsedFile, Record
from domain.trading.importing.tables import Row, read_rows
from domain.trading.importing.tastytrade.cash import money_movement
from domain.trading.importing.tastytrade.columns import COLUMNS, label
from domain.trading.importing.tastytrade.conversions import settle
from domain.trading.importing.tastytrade.deliveries import delivery
from domain.trading.importing.tastytrade.trades import execution

SOURCE: Final = "tastytrade"

_READERS: Final[dict[str, Callable[[Row, Ordinals], Record]]] = {
    "trade": execution,
    "receive deliver": delivery,
    "administrative transfer": delivery,
    "money movement": money_movement,
}


def parse(content: bytes) -> ParsedFile:
    """Read a transaction history.

    Args:
        content: The CSV file as tastytrade exports it, at most 200 MB.

    Raises:
        InvalidData: The file as a whole cannot be read: field "file", the value and the rule.
    """
    rows = read_rows(read_csv_text(content), COLUMNS)
    records, rejected = build_all(rows, partial(_read, ordinals=Ordinals()))
    rows_total = len(records) + len(rejected)
    return assemble(SOURCE, rows_total, records=settle(records), rejected=rejected)


def _read(row: Row, ordinals: Ordinals) -> Record:
    reader = _READERS.get(label(row, "Type"))
    if reader is None:
        known = "Trade, Receive Deliver, Money Movement or Administrative Transfer"
        raise InvalidData("Type", row.text("Type"), f"be {known}")
    return reader(row, ordinals)
