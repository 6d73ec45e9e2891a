"""Cash transactions of a Flex statement.

Reversals come with the opposite sign under the same type, and stay there: a withholding tax that
is paid back is a positive withholding tax.
"""

from decimal import Decimal
from typing import Final

from domain.trading.importing.ibkr_flex.elements import CASH
from domain.trading.importing.ibkr_flex.instruments import currency, instrument
from domain.trading.importing.ibkr_flex.references import dedupe_key, external_id
from domain.trading.importing.ibkr_flex.times import instant_of
from domain.trading.importing.identity import Ordinals
from domain.trading.importing.records import ParsedCash
from domain.trading.importing.tables import Row
from domain.trading.terms import CashKind

_KINDS: Final = {
    "dividends": CashKind.DIVIDEND,
    "payment in lieu of dividends": CashKind.DIVIDEND_IN_LIEU,
    "withholding tax": CashKind.WITHHOLDING_TAX,
    "871(m) withholding": CashKind.WITHHOLDING_TAX,
    "broker interest paid": CashKind.MARGIN_INTEREST,
    "broker interest received": CashKind.INTEREST,
    "bond interest paid": CashKind.INTEREST,
    "bond interest received": CashKind.INTEREST,
    "other fees": CashKind.FEE,
    "broker fees": CashKind.FEE,
    "advisor fees": CashKind.FEE,
    "commission adjustments": CashKind.COMMISSION,
    "sales tax": CashKind.TAX,
}
_TRANSFERS: Final = frozenset(
    {"deposits/withdrawals", "deposits & withdrawals", "deposits and withdrawals"}
)


def cash_transaction(row: Row, ordinals: Ordinals) -> ParsedCash:
    """Read a row of the section CashTransactions.

    Raises:
        InvalidData: An attribute breaks its rule.
    """
    amount = row.required_number("amount")
    return ParsedCash(
        line=row.line,
        kind=_kind(row, amount),
        amount=amount,
        currency=currency(row),
        effective_at=instant_of(row, "dateTime", "settleDate", "reportDate"),
        dedupe_key=dedupe_key(row, CASH, ordinals),
        instrument=instrument(row) if row.text("symbol") else None,
        external_id=external_id(row),
        description=row.text("description") or None,
        raw=row.cells,
    )


def _kind(row: Row, amount: Decimal) -> CashKind:
    name = row.required("type").lower()
    if name in _TRANSFERS:
        return CashKind.WITHDRAWAL if amount < 0 else CashKind.DEPOSIT
    kind = _KINDS.get(name, CashKind.ADJUSTMENT)
    if kind in {CashKind.FEE, CashKind.MARGIN_INTEREST} and _is_borrowing(row):
        return CashKind.BORROW_FEE
    return kind


def _is_borrowing(row: Row) -> bool:
    return "borrow" in row.text("description").lower()
