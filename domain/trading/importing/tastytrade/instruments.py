"""What a row of tastytrade's export is about: a share, an option, a future, a coin."""

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.market.osi import parse as parse_osi
from domain.market.terms import InstrumentKind, OptionType
from domain.money import parse
from domain.trading.importing.amounts import positive
from domain.trading.importing.instants import parse_us_date
from domain.trading.importing.records import InstrumentSpec, OptionTerms
from domain.trading.importing.symbols import checked_symbol
from domain.trading.importing.tables import Row
from domain.trading.importing.tastytrade.columns import currency, label
from domain.trading.importing.tastytrade.futures import contract_multiplier

_KINDS: Final = {
    "equity": InstrumentKind.STOCK,
    "equity option": InstrumentKind.OPTION,
    "future": InstrumentKind.FUTURE,
    "future option": InstrumentKind.FUTURE_OPTION,
    "cryptocurrency": InstrumentKind.CRYPTO,
    "bond": InstrumentKind.BOND,
    "fixed income security": InstrumentKind.BOND,
    "warrant": InstrumentKind.WARRANT,
}
_RIGHTS: Final = {"c": OptionType.CALL, "p": OptionType.PUT}
_FUTURE_OPTION: Final = re.compile(
    r"\./(?P<root>[A-Z0-9]+) +(?P<expiration>\d{6})(?P<right>[CP])(?P<strike>\d{1,9}(\.\d{1,9})?)",
    re.ASCII,
)
_ONE_DAY: Final = timedelta(days=1)
_ONE: Final = Decimal(1)


def instrument(row: Row) -> InstrumentSpec:
    """Return what the row is about.

    Raises:
        InvalidData: No or an unknown instrument type, no symbol, an option whose columns
            contradict its symbol, or a future whose contract size is not known.
    """
    kind = _KINDS.get(label(row, "Instrument Type"))
    if kind is None:
        known = ", ".join(_KINDS)
        raise InvalidData("Instrument Type", row.text("Instrument Type"), f"be one of: {known}")
    symbol = checked_symbol(row.text("Symbol"), "Symbol")
    if kind is InstrumentKind.OPTION:
        return _option(row, symbol)
    if kind is InstrumentKind.FUTURE_OPTION:
        return _future_option(row, symbol)
    if kind is InstrumentKind.FUTURE:
        return InstrumentSpec(kind, symbol, currency(row), _future_multiplier(row, symbol))
    return InstrumentSpec(kind, symbol, currency(row), _multiplier(row) or _ONE)


def payer(row: Row) -> InstrumentSpec | None:
    """Return the instrument that a money movement belongs to, or None.

    Money is never refused because a future's contract size is not known: it goes without one.

    Raises:
        InvalidData: A symbol that is none.
    """
    if not row.text("Symbol"):
        return None
    if label(row, "Instrument Type") == "future" and not contract_multiplier(row.text("Symbol")):
        return None
    if not row.text("Instrument Type"):
        symbol = checked_symbol(row.text("Symbol"), "Symbol")
        return InstrumentSpec(InstrumentKind.STOCK, symbol, currency(row))
    return instrument(row)


def _option(row: Row, symbol: str) -> InstrumentSpec:
    osi = parse_osi(symbol, "Symbol")
    underlying = checked_symbol(row.text("Underlying Symbol") or osi.root, "Underlying Symbol")
    terms = OptionTerms(osi.root, osi.expiration, osi.option_type, osi.strike, underlying)
    _check_terms(row, terms)
    multiplier = positive(row.required_number("Multiplier"), "Multiplier")
    return InstrumentSpec(InstrumentKind.OPTION, str(osi), currency(row), multiplier, option=terms)


def _future_option(row: Row, symbol: str) -> InstrumentSpec:
    match = _FUTURE_OPTION.fullmatch(symbol)
    if match is None:
        raise InvalidData(
            "Symbol", symbol, "be an option on a future like ./ESZ5 EW2X5 251114P5800"
        )
    underlying = checked_symbol(row.required("Underlying Symbol"), "Underlying Symbol")
    terms = OptionTerms(
        root=match["root"],
        expiration=_expiration(match["expiration"], symbol),
        option_type=_RIGHTS[match["right"].lower()],
        strike=parse(match["strike"], "Symbol"),
        underlying=underlying,
    )
    _check_terms(row, terms)
    multiplier = contract_multiplier(underlying) or _multiplier(row)
    if multiplier is None:
        raise InvalidData("Multiplier", "", "not be empty: the contract size is not known")
    return InstrumentSpec(
        InstrumentKind.FUTURE_OPTION, symbol, currency(row), multiplier, option=terms
    )


def _expiration(yymmdd: str, symbol: str) -> date:
    try:
        return date(2000 + int(yymmdd[:2]), int(yymmdd[2:4]), int(yymmdd[4:]))
    except ValueError as error:
        raise InvalidData("Symbol", symbol, "name an expiration day that exists") from error


def _multiplier(row: Row) -> Decimal | None:
    if not row.text("Multiplier"):
        return None
    return positive(row.number("Multiplier"), "Multiplier")


def _future_multiplier(row: Row, symbol: str) -> Decimal:
    multiplier = _multiplier(row) or contract_multiplier(symbol)
    if multiplier is None:
        raise InvalidData(
            "Multiplier", symbol, "be given: this future's contract size is not known"
        )
    return multiplier


def _check_terms(row: Row, terms: OptionTerms) -> None:
    """Refuse a row whose columns contradict its symbol."""
    if row.text("Strike Price") and row.number("Strike Price") != terms.strike:
        raise InvalidData("Strike Price", row.text("Strike Price"), "agree with the Symbol")
    right = label(row, "Call or Put")
    if right and _RIGHTS.get(right[0]) is not terms.option_type:
        raise InvalidData("Call or Put", row.text("Call or Put"), "agree with the Symbol")
    stated = row.text("Expiration Date")
    # The export writes this date in the time zone of the browser: east of New York it can be
    # the next day.
    if stated and abs(parse_us_date(stated, "Expiration Date") - terms.expiration) > _ONE_DAY:
        raise InvalidData("Expiration Date", stated, "agree with the Symbol")
