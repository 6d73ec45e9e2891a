"""Option exercises, assignments and expirations (section OptionEAE).

The section repeats what IBKR books under Trades, with the same tradeID. It is read only for events
that the file does not have as a trade.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.trading.importing.amounts import gross_of, positive, price_of, value_of
from domain.trading.importing.ibkr_flex.elements import OPTION_EVENTS
from domain.trading.importing.ibkr_flex.instruments import currency, instrument
from domain.trading.importing.ibkr_flex.references import dedupe_key, external_id
from domain.trading.importing.ibkr_flex.times import OPTION_EVENTS_AT, instant_of
from domain.trading.importing.identity import Ordinals, delivery_key, option_delivery_key
from domain.trading.importing.ordering import RANK_OPENS, RANK_OPTION_ENDS
from domain.trading.importing.records import InstrumentSpec, ParsedTrade
from domain.trading.importing.tables import Row
from domain.trading.terms import PositionEffect, Side, TradeKind

_KINDS: Final = {
    "assignment": TradeKind.ASSIGNMENT,
    "exercise": TradeKind.EXERCISE,
    "expiration": TradeKind.EXPIRATION,
    "buy": TradeKind.FILL,
    "sell": TradeKind.FILL,
    "cash settlement": TradeKind.CASH_SETTLEMENT,
}
_ZERO: Final = Decimal(0)


def option_event(row: Row, ordinals: Ordinals) -> ParsedTrade:
    """Read a row of the section OptionEAE.

    Raises:
        InvalidData: An attribute breaks its rule.
    """
    spec = instrument(row)
    signed = row.required_number("quantity")
    side = Side.BUY if signed > 0 else Side.SELL
    quantity = positive(abs(signed), "quantity")
    gross = _gross(row, spec, side, quantity)
    kind = _kind(row, spec, gross)
    instant = instant_of(row, "dateTime", "date", at=OPTION_EVENTS_AT)
    return ParsedTrade(
        line=row.line,
        instrument=spec,
        kind=kind,
        side=side,
        quantity=quantity,
        price=price_of(gross, quantity, spec.multiplier),
        gross_amount=gross,
        # IBKR's own spelling.
        commission=-row.number("commisionsAndTax") + _ZERO,
        fees=_ZERO,
        currency=currency(row),
        executed_at=instant,
        sequence=RANK_OPTION_ENDS if spec.option else RANK_OPENS,
        dedupe_key=dedupe_key(row, OPTION_EVENTS, ordinals),
        external_id=external_id(row),
        position_effect=PositionEffect.CLOSE if spec.option else None,
        link_key=_link_key(row, spec, kind, instant),
        description=row.text("description") or None,
        raw=row.cells,
    )


def _gross(row: Row, spec: InstrumentSpec, side: Side, quantity: Decimal) -> Decimal:
    if row.number("proceeds"):
        return gross_of(row.number("proceeds"), side)
    return value_of(quantity, row.number("tradePrice"), spec.multiplier)


def _kind(row: Row, spec: InstrumentSpec, gross: Decimal) -> TradeKind:
    kind = _KINDS.get(row.required("transactionType").lower())
    if kind is None:
        rule = f"be one of {', '.join(_KINDS)}"
        raise InvalidData("transactionType", row.text("transactionType"), rule)
    return TradeKind.CASH_SETTLEMENT if spec.option and gross else kind


def _link_key(row: Row, spec: InstrumentSpec, kind: TradeKind, instant: datetime) -> str | None:
    if spec.option and kind in {TradeKind.ASSIGNMENT, TradeKind.EXERCISE}:
        is_exercised = kind is TradeKind.EXERCISE
        return option_delivery_key(instant, spec.option, is_exercised=is_exercised)
    if spec.option or not row.text("tradePrice"):
        return None
    side = Side.BUY if row.number("quantity") > 0 else Side.SELL
    return delivery_key(instant, spec.symbol, row.number("tradePrice"), side)
