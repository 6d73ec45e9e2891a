"""What a row of a Flex statement is about."""

from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.market.osi import OsiSymbol, is_osi
from domain.market.osi import parse as parse_osi
from domain.market.terms import InstrumentKind, OptionType
from domain.trading.importing.amounts import positive
from domain.trading.importing.ibkr_flex.times import parse_date
from domain.trading.importing.records import InstrumentSpec, OptionTerms
from domain.trading.importing.symbols import checked_currency, checked_symbol, is_isin
from domain.trading.importing.tables import Row

# An ETF is a STK: not every query has the sub category that tells them apart, and one security
# must not become two instruments.
_KINDS: Final = {
    "STK": InstrumentKind.STOCK,
    "OPT": InstrumentKind.OPTION,
    "FUT": InstrumentKind.FUTURE,
    "FOP": InstrumentKind.FUTURE_OPTION,
    "FSFOP": InstrumentKind.FUTURE_OPTION,
    "WAR": InstrumentKind.WARRANT,
    "IOPT": InstrumentKind.WARRANT,
    "BOND": InstrumentKind.BOND,
    "BILL": InstrumentKind.BOND,
    "FUND": InstrumentKind.FUND,
    "CFD": InstrumentKind.CFD,
    "CASH": InstrumentKind.FOREX,
    "CRYPTO": InstrumentKind.CRYPTO,
    "IND": InstrumentKind.INDEX,
    "CMDTY": InstrumentKind.OTHER,
}
_RIGHTS: Final = {"C": OptionType.CALL, "P": OptionType.PUT}
_OPTIONS: Final = frozenset({InstrumentKind.OPTION, InstrumentKind.FUTURE_OPTION})
_MAX_NAME: Final = 200
_ONE: Final = Decimal(1)


def currency(row: Row) -> str:
    """Return the row's currency.

    Raises:
        InvalidData: Empty, or not a currency code.
    """
    return checked_currency(row.required("currency"), "currency")


def instrument(row: Row, *, symbol: str = "", name: str = "") -> InstrumentSpec:
    """Return what the row is about.

    Args:
        row: The row.
        symbol: Another symbol than the row's, where IBKR has renamed it.
        name: The name, where the section's description is one.

    Raises:
        InvalidData: An unknown asset category, no symbol, or an option whose attributes are
            missing or contradict its symbol.
    """
    kind = _kind(row)
    code = checked_symbol(symbol or row.required("symbol"), "symbol")
    terms = _terms(row, kind, code) if kind in _OPTIONS else None
    return InstrumentSpec(
        kind,
        str(_osi(terms)) if terms and kind is InstrumentKind.OPTION else code,
        currency(row),
        _multiplier(row, kind),
        name=name[:_MAX_NAME] or None,
        isin=_isin(row),
        option=terms,
    )


def _kind(row: Row) -> InstrumentKind:
    category = row.text("assetCategory") or ("OPT" if row.text("putCall") else "STK")
    kind = _KINDS.get(category)
    if kind is None:
        raise InvalidData("assetCategory", category, f"be one of {', '.join(_KINDS)}")
    return kind


def _multiplier(row: Row, kind: InstrumentKind) -> Decimal:
    if row.text("multiplier"):
        return positive(row.number("multiplier"), "multiplier")
    if kind in _OPTIONS or kind is InstrumentKind.FUTURE:
        raise InvalidData("multiplier", "", "not be empty for a derivative")
    return _ONE


def _isin(row: Row) -> str | None:
    candidates = (row.text("isin"), row.text("securityID"))
    return next((text for text in candidates if is_isin(text)), None)


def _terms(row: Row, kind: InstrumentKind, symbol: str) -> OptionTerms:
    if kind is InstrumentKind.OPTION and is_osi(symbol):
        osi = parse_osi(symbol)
        underlying = checked_symbol(row.text("underlyingSymbol") or osi.root, "underlyingSymbol")
        terms = OptionTerms(osi.root, osi.expiration, osi.option_type, osi.strike, underlying)
        _check_terms(row, terms)
        return terms
    terms = _spelled_terms(row, symbol)
    if kind is InstrumentKind.OPTION:
        _osi(terms)
    return terms


def _spelled_terms(row: Row, symbol: str) -> OptionTerms:
    underlying = checked_symbol(row.text("underlyingSymbol") or symbol, "underlyingSymbol")
    return OptionTerms(
        root=underlying.replace(" ", ""),
        expiration=parse_date(row.required("expiry"), "expiry"),
        option_type=_right(row),
        strike=positive(row.required_number("strike"), "strike"),
        underlying=underlying,
    )


def _right(row: Row) -> OptionType:
    right = _RIGHTS.get(row.required("putCall")[:1].upper())
    if right is None:
        raise InvalidData("putCall", row.text("putCall"), "be C or P")
    return right


def _osi(terms: OptionTerms) -> OsiSymbol:
    return OsiSymbol(terms.root, terms.expiration, terms.option_type, terms.strike)


def _check_terms(row: Row, terms: OptionTerms) -> None:
    """Refuse a row whose attributes contradict its symbol."""
    if row.text("strike") and row.number("strike") != terms.strike:
        raise InvalidData("strike", row.text("strike"), "agree with the symbol")
    if row.text("putCall") and _right(row) is not terms.option_type:
        raise InvalidData("putCall", row.text("putCall"), "agree with the symbol")
    expiry = row.text("expiry")
    if expiry and parse_date(expiry, "expiry") != terms.expiration:
        raise InvalidData("expiry", expiry, "agree with the symbol")
