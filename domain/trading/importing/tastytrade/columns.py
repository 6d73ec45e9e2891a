"""The header of tastytrade's transaction history, and what several kinds of row read alike."""

from datetime import datetime
from typing import Final

from domain.trading.importing.identity import Ordinals, canonical_cells
from domain.trading.importing.instants import parse_instant
from domain.trading.importing.symbols import checked_currency
from domain.trading.importing.tables import Columns, Row

COLUMNS: Final = Columns(
    required=(
        "Date",
        "Type",
        "Sub Type",
        "Action",
        "Symbol",
        "Instrument Type",
        "Description",
        "Value",
        "Quantity",
        "Average Price",
        "Commissions",
        "Fees",
        "Multiplier",
        "Underlying Symbol",
        "Expiration Date",
        "Strike Price",
        "Call or Put",
        "Order #",
    ),
    optional=("Root Symbol", "Currency", "Total"),
    blanks=frozenset({"", "--"}),
)

# What identifies a row, besides its instant and currency. "Total" came with a later generation of
# the export, and "Expiration Date" shifts by a day with the time zone of the browser that
# exported the file: neither may change a row's identity.
_TEXTS: Final = (
    "Type",
    "Sub Type",
    "Action",
    "Symbol",
    "Instrument Type",
    "Description",
    "Root Symbol",
    "Underlying Symbol",
    "Call or Put",
    "Order #",
)
_NUMBERS: Final = (
    "Value",
    "Quantity",
    "Average Price",
    "Commissions",
    "Fees",
    "Multiplier",
    "Strike Price",
)


def executed_at(row: Row) -> datetime:
    """Return the row's instant, aware UTC.

    Raises:
        InvalidData: Not a date and time with an offset.
    """
    return parse_instant(row.required("Date"), "Date")


def currency(row: Row) -> str:
    """Return the row's currency; USD in exports that have no such column.

    Raises:
        InvalidData: Not a currency code.
    """
    return checked_currency(row.text("Currency") or "USD", "Currency")


def label(row: Row, column: str) -> str:
    """Return a label in lower case with single blanks, for comparing."""
    return " ".join(row.text(column).lower().split())


def dedupe_key(row: Row, ordinals: Ordinals) -> str:
    """Return the key of a row: the export has no execution ids.

    The instant counts in UTC and numbers by value, so an export made in another time zone, with
    other quoting, or with a later header gives the same keys.
    """
    cells = canonical_cells(row, _TEXTS, _NUMBERS)
    return ordinals.key([executed_at(row).isoformat(), currency(row), *cells])
