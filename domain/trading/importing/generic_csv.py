"""The documented CSV of Tradekeep itself, for brokers that have no parser of their own.

One header, one meaning for each column, nothing guessed: times carry an offset, numbers are
plain decimals with a point, columns are separated by commas. See ``docs/pages/importing.md``.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Final, TypeVar

from domain.errors import InvalidData
from domain.market.osi import OsiSymbol, is_osi
from domain.market.osi import parse as parse_osi
from domain.market.terms import InstrumentKind, OptionType
from domain.trading.importing.amounts import positive, value_of
from domain.trading.importing.assembly import assemble, build_all
from domain.trading.importing.documents import read_csv_text
from domain.trading.importing.identity import (
    Ordinals,
    canonical_cells,
    checked_external_id,
    without_contradictions,
)
from domain.trading.importing.instants import parse_instant, parse_iso_date
from domain.trading.importing.ordering import rank_of
from domain.trading.importing.records import (
    InstrumentSpec,
    OptionTerms,
    ParsedBust,
    ParsedCash,
    ParsedFile,
    ParsedTrade,
    Record,
)
from domain.trading.importing.symbols import checked_currency, checked_symbol, is_isin
from domain.trading.importing.tables import Columns, Row, read_rows
from domain.trading.terms import CashKind, PositionEffect, Side, TradeKind

SOURCE: Final = "csv"

_TEXTS: Final = (
    "kind",
    "side",
    "symbol",
    "external_id",
    "instrument_kind",
    "expiration",
    "option_type",
    "underlying",
    "isin",
    "name",
    "position_effect",
    "sequence",
    "link_key",
    "description",
)
_NUMBERS: Final = (
    "quantity",
    "price",
    "commission",
    "fees",
    "gross_amount",
    "amount",
    "multiplier",
    "strike",
)

COLUMNS: Final = Columns(
    required=("date_time", "currency"),
    optional=_TEXTS + _NUMBERS,
)

_OPTION_COLUMNS: Final = ("expiration", "strike", "option_type")
_TRADE_COLUMNS: Final = ("side", "quantity", "price", "commission", "fees", "gross_amount")
_CONVERSIONS: Final = frozenset({TradeKind.CONVERSION_OUT, TradeKind.CONVERSION_IN})
_TRADE_KINDS: Final = frozenset(TradeKind) - {TradeKind.BUST}
_OPTION_MULTIPLIER: Final = Decimal(100)
_MAX_SEQUENCE_DIGITS: Final = 18
_MAX_TEXT: Final = 200

_E = TypeVar("_E", bound=StrEnum)


def parse(content: bytes) -> ParsedFile:
    """Read a file with Tradekeep's own header.

    Args:
        content: The CSV file, at most 200 MB.

    Raises:
        InvalidData: The file as a whole cannot be read: field "file", the value and the rule.
    """
    rows = read_rows(read_csv_text(content), COLUMNS)
    records, rejected = build_all(rows, partial(_read, ordinals=Ordinals()))
    rows_total = len(records) + len(rejected)
    kept, contradicting = without_contradictions(records, "external_id")
    return assemble(SOURCE, rows_total, records=kept, rejected=[*rejected, *contradicting])


def _read(row: Row, ordinals: Ordinals) -> Record:
    if row.text("kind").lower() == TradeKind.BUST:
        return _bust(row)
    if row.text("amount"):
        return _cash(row, ordinals)
    return _trade(row, ordinals)


def _bust(row: Row) -> ParsedBust:
    external_id = checked_external_id(row.required("external_id"), "external_id")
    return ParsedBust(
        line=row.line,
        external_id=external_id,
        dedupe_key=f"bust:{external_id}",
        executed_at=_date_time(row),
        raw=row.cells,
    )


def _cash(row: Row, ordinals: Ordinals) -> ParsedCash:
    for column in _TRADE_COLUMNS:
        if row.text(column):
            raise InvalidData(column, row.text(column), "be empty in a row with an amount")
    amount = row.required_number("amount")
    return ParsedCash(
        line=row.line,
        kind=_cash_kind(row, amount),
        amount=amount,
        currency=_currency(row),
        effective_at=_date_time(row),
        instrument=_instrument(row) if row.text("symbol") else None,
        dedupe_key=_dedupe_key(row, ordinals),
        external_id=_external_id(row),
        description=row.text("description") or None,
        raw=row.cells,
    )


def _cash_kind(row: Row, amount: Decimal) -> CashKind:
    kind = _choice(row, "kind", CashKind)
    if kind in {CashKind.DEPOSIT, CashKind.WITHDRAWAL}:
        return CashKind.WITHDRAWAL if amount < 0 else CashKind.DEPOSIT
    return kind


def _trade(row: Row, ordinals: Ordinals) -> ParsedTrade:
    kind = _trade_kind(row)
    side = None
    if row.text("side") or kind is not TradeKind.EXPIRATION:
        side = _choice(row, "side", Side)
    spec = _instrument(row)
    quantity = positive(row.required_number("quantity"), "quantity")
    price = row.number("price") if kind is TradeKind.EXPIRATION else row.required_number("price")
    effect = _effect(row)
    return ParsedTrade(
        line=row.line,
        instrument=spec,
        kind=kind,
        side=side,
        quantity=quantity,
        price=price,
        gross_amount=_gross(row, quantity, price, spec.multiplier),
        commission=row.number("commission"),
        fees=row.number("fees"),
        currency=_currency(row),
        executed_at=_date_time(row),
        sequence=_sequence(row, effect),
        dedupe_key=_dedupe_key(row, ordinals),
        external_id=_external_id(row),
        position_effect=effect,
        link_key=_short(row, "link_key"),
        description=row.text("description") or None,
        raw=row.cells,
    )


def _trade_kind(row: Row) -> TradeKind:
    name = row.text("kind").lower()
    if name in set(CashKind) - set(_TRADE_KINDS):
        raise InvalidData("amount", "", f"be given in a row of kind {name}")
    kind = _choice(row, "kind", TradeKind, TradeKind.FILL)
    if kind in _CONVERSIONS and not row.text("link_key"):
        raise InvalidData("link_key", "", f"be given in a row of kind {name}")
    return kind


def _effect(row: Row) -> PositionEffect | None:
    if not row.text("position_effect"):
        return None
    return _choice(row, "position_effect", PositionEffect)


def _gross(row: Row, quantity: Decimal, price: Decimal, multiplier: Decimal) -> Decimal:
    if row.text("gross_amount"):
        return row.number("gross_amount")
    return value_of(quantity, price, multiplier)


def _sequence(row: Row, effect: PositionEffect | None) -> int:
    text = row.text("sequence")
    if not text:
        return rank_of(effect)
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_SEQUENCE_DIGITS):
        raise InvalidData("sequence", text, "be a whole number from 0, of at most 18 digits")
    return int(text)


def _dedupe_key(row: Row, ordinals: Ordinals) -> str:
    external_id = _external_id(row)
    if external_id:
        return external_id
    cells = canonical_cells(row, _TEXTS, _NUMBERS)
    return ordinals.key([_date_time(row).isoformat(), _currency(row), *cells])


def _external_id(row: Row) -> str | None:
    text = row.text("external_id")
    return checked_external_id(text, "external_id") if text else None


def _date_time(row: Row) -> datetime:
    return parse_instant(row.required("date_time"), "date_time")


def _currency(row: Row) -> str:
    return checked_currency(row.required("currency"), "currency")


def _short(row: Row, column: str) -> str | None:
    text = row.text(column)
    if len(text) > _MAX_TEXT:
        raise InvalidData(column, text, f"be at most {_MAX_TEXT} characters long")
    return text or None


def _choice(row: Row, column: str, choices: type[_E], default: _E | None = None) -> _E:
    if default is not None and not row.text(column):
        return default
    try:
        return choices(row.required(column).lower())
    except ValueError as error:
        if isinstance(error, InvalidData):
            raise
        rule = f"be one of {', '.join(sorted(choices))}"
        raise InvalidData(column, row.text(column), rule) from error


def _instrument(row: Row) -> InstrumentSpec:
    symbol = checked_symbol(row.required("symbol"), "symbol")
    kind = _choice(row, "instrument_kind", InstrumentKind, _implied_kind(row, symbol))
    option = _OPTION_READERS[kind](row, symbol) if kind in _OPTION_READERS else None
    if option is None and any(row.text(column) for column in _OPTION_COLUMNS):
        raise InvalidData("instrument_kind", kind.value, "be option: the row has option terms")
    return InstrumentSpec(
        kind,
        str(_osi(option)) if option and kind is InstrumentKind.OPTION else symbol,
        _currency(row),
        _multiplier(row, kind),
        name=_short(row, "name"),
        isin=_isin(row),
        option=option,
    )


def _implied_kind(row: Row, symbol: str) -> InstrumentKind:
    is_option = is_osi(symbol) or any(row.text(column) for column in _OPTION_COLUMNS)
    return InstrumentKind.OPTION if is_option else InstrumentKind.STOCK


def _multiplier(row: Row, kind: InstrumentKind) -> Decimal:
    if row.text("multiplier"):
        return positive(row.number("multiplier"), "multiplier")
    if kind in {InstrumentKind.FUTURE, InstrumentKind.FUTURE_OPTION}:
        raise InvalidData("multiplier", "", f"be given for a {kind.value.replace('_', ' ')}")
    return _OPTION_MULTIPLIER if kind is InstrumentKind.OPTION else Decimal(1)


def _isin(row: Row) -> str | None:
    isin = row.text("isin")
    if isin and not is_isin(isin):
        raise InvalidData("isin", isin, "be an ISIN of 12 characters like US0378331005")
    return isin or None


def _listed_option(row: Row, symbol: str) -> OptionTerms:
    if not is_osi(symbol):
        return _spelled_option(row, symbol)
    osi = parse_osi(symbol)
    terms = OptionTerms(
        osi.root,
        osi.expiration,
        osi.option_type,
        osi.strike,
        checked_symbol(row.text("underlying") or osi.root, "underlying"),
    )
    _check_terms(row, terms)
    return terms


def _spelled_option(row: Row, symbol: str) -> OptionTerms:
    terms = OptionTerms(
        root=symbol,
        expiration=parse_iso_date(row.required("expiration"), "expiration"),
        option_type=_choice(row, "option_type", OptionType),
        strike=positive(row.required_number("strike"), "strike"),
        underlying=checked_symbol(row.text("underlying") or symbol, "underlying"),
    )
    if row.text("instrument_kind").lower() != InstrumentKind.FUTURE_OPTION:
        _osi(terms)
    return terms


_OPTION_READERS: Final[dict[InstrumentKind, Callable[[Row, str], OptionTerms]]] = {
    InstrumentKind.OPTION: _listed_option,
    InstrumentKind.FUTURE_OPTION: _spelled_option,
}


def _osi(terms: OptionTerms) -> OsiSymbol:
    return OsiSymbol(terms.root, terms.expiration, terms.option_type, terms.strike)


def _check_terms(row: Row, terms: OptionTerms) -> None:
    """Refuse a row whose columns contradict its symbol."""
    if row.text("strike") and row.number("strike") != terms.strike:
        raise InvalidData("strike", row.text("strike"), "agree with the symbol")
    stated = row.text("expiration")
    if stated and parse_iso_date(stated, "expiration") != terms.expiration:
        raise InvalidData("expiration", stated, "agree with the symbol")
    if row.text("option_type") and _choice(row, "option_type", OptionType) != terms.option_type:
        raise InvalidData("option_type", row.text("option_type"), "agree with the symbol")
