"""Ids and codes of Flex rows: what a row is called, and what IBKR's letters say of it.

Source: IBKR Guides, Reporting Reference, "Codes": A assignment, Ex exercise, AEx and MEx exercise
for a dividend, Ep expired, Ca cancelled, Co corrected, L ordered by IB (margin violation).
"""

import re
from typing import Final

from domain.trading.importing.identity import (
    Ordinals,
    canonical_cells,
    checked_external_id,
)
from domain.trading.importing.tables import Row

ASSIGNED: Final = frozenset({"A"})
EXERCISED: Final = frozenset({"Ex", "AEx", "MEx"})
EXPIRED: Final = frozenset({"Ep"})
CANCELLED: Final = frozenset({"Ca"})
LIQUIDATED: Final = frozenset({"L"})

# transactionID comes first: a trade that IBKR cancels and books again keeps its tradeID and may
# keep its ibExecID, but each row has a transactionID of its own.
_IDS: Final = (("transactionID", ""), ("ibExecID", "exec:"), ("tradeID", "trade:"))
_SEPARATORS: Final = re.compile(r"[;,]")
_NO_ID: Final = frozenset({"", "0"})
_TEXTS: Final = (
    "accountId",
    "assetCategory",
    "symbol",
    "conid",
    "currency",
    "description",
    "dateTime",
    "date",
    "tradeDate",
    "tradeTime",
    "reportDate",
    "settleDate",
    "transactionType",
    "type",
    "direction",
    "buySell",
    "openCloseIndicator",
    "notes",
    "code",
    "ibOrderID",
    "actionID",
)
_NUMBERS: Final = (
    "quantity",
    "tradePrice",
    "tradeMoney",
    "proceeds",
    "ibCommission",
    "taxes",
    "accruedInt",
    "amount",
    "value",
    "cashTransfer",
    "positionAmount",
)


def codes(row: Row) -> frozenset[str]:
    """Return the letters of ``notes`` and ``code``."""
    text = f"{row.text('notes')};{row.text('code')}"
    return frozenset(code.strip() for code in _SEPARATORS.split(text) if code.strip())


def id_in(row: Row, attribute: str) -> str:
    """Return an id, "" when the attribute is absent or 0.

    Raises:
        InvalidData: Too long, or with unprintable characters.
    """
    text = row.text(attribute)
    return "" if text in _NO_ID else checked_external_id(text, attribute)


def external_id(row: Row) -> str | None:
    """Return the id that a later cancellation refers to.

    Raises:
        InvalidData: Too long, or with unprintable characters.
    """
    return next((found for name, _ in _IDS if (found := id_in(row, name))), None)


def dedupe_key(row: Row, section: str, ordinals: Ordinals) -> str:
    """Return the key of a row: its id, else the hash of what it says.

    Args:
        row: The row.
        section: The section it stands in.
        ordinals: The file's counter of equal rows.

    Raises:
        InvalidData: An id or a number breaks its rule.
    """
    for name, prefix in _IDS:
        found = id_in(row, name)
        if found:
            return f"{prefix}{found}"
    return ordinals.key([section, *canonical_cells(row, _TEXTS, _NUMBERS)])
