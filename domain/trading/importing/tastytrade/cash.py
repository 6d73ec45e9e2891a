"""Money movements of tastytrade's export.

The sign of the amount wins over the label: wires that arrived are filed under "Withdrawal".
A label that is not known here is booked as an adjustment with its text: money is never lost.
"""

import re
from decimal import Decimal
from typing import Final

from domain.trading.importing.amounts import total
from domain.trading.importing.identity import Ordinals
from domain.trading.importing.records import ParsedCash
from domain.trading.importing.tables import Row
from domain.trading.importing.tastytrade.columns import (
    currency,
    dedupe_key,
    executed_at,
    label,
)
from domain.trading.importing.tastytrade.instruments import payer
from domain.trading.terms import CashKind

_INTEREST_PERIOD: Final = re.compile(r"from \d\d/\d\d thru \d\d/\d\d", re.ASCII)
_FEE: Final = re.compile(r"\bfees?\b", re.ASCII)
_LENDING: Final = ("fullypaid lending", "fully paid lending", "stock lending")
_BORROWING: Final = ("borrow", "htb", "stock loan")
_TRANSFERS: Final = frozenset({"deposit", "withdrawal", "transfer"})


def money_movement(row: Row, ordinals: Ordinals) -> ParsedCash:
    """Read a row of type Money Movement.

    Raises:
        InvalidData: A column breaks its rule.
    """
    amount = total(row.required_number("Value"), row.number("Commissions"), row.number("Fees"))
    return ParsedCash(
        line=row.line,
        kind=kind_of(label(row, "Sub Type"), label(row, "Description"), amount),
        amount=amount,
        currency=currency(row),
        effective_at=executed_at(row),
        instrument=payer(row),
        dedupe_key=dedupe_key(row, ordinals),
        description=row.text("Description") or None,
        raw=row.cells,
    )


def kind_of(sub_type: str, description: str, amount: Decimal) -> CashKind:
    """Return why the cash moved.

    Args:
        sub_type: The sub type in lower case.
        description: The description in lower case.
        amount: Signed: positive came in.

    Example:
        >>> kind_of("withdrawal", "wire funds received a/o 6/10", Decimal("1101.70")).value
        'deposit'
    """
    by_text = _kind_by_text(description)
    if by_text:
        return by_text
    if "dividend" in sub_type:
        return CashKind.WITHHOLDING_TAX if amount < 0 else CashKind.DIVIDEND
    if _is_interest(sub_type, description):
        return CashKind.MARGIN_INTEREST if amount < 0 else CashKind.INTEREST
    if sub_type in _TRANSFERS:
        return CashKind.WITHDRAWAL if amount < 0 else CashKind.DEPOSIT
    if sub_type == "mark to market":
        return CashKind.VARIATION_MARGIN
    return _kind_of_charge(sub_type, description)


def _kind_by_text(description: str) -> CashKind | None:
    if "cash in lieu" in description:
        return CashKind.CASH_IN_LIEU
    if "in lieu" in description:
        return CashKind.DIVIDEND_IN_LIEU
    # "lending" alone would catch companies: LENDINGTREE INC pays dividends.
    if any(words in description for words in _LENDING):
        return CashKind.STOCK_LENDING
    return None


def _is_interest(sub_type: str, description: str) -> bool:
    if "interest" in sub_type:
        return True
    is_text = "interest" in description or _INTEREST_PERIOD.match(description) is not None
    return sub_type in _TRANSFERS and is_text


def _kind_of_charge(sub_type: str, description: str) -> CashKind:
    if "lending" in sub_type:
        return CashKind.STOCK_LENDING
    if sub_type == "fee":
        is_borrowing = any(word in description for word in _BORROWING)
        return CashKind.BORROW_FEE if is_borrowing else CashKind.FEE
    if sub_type == "balance adjustment" and _FEE.search(description):
        return CashKind.FEE
    return CashKind.ADJUSTMENT
