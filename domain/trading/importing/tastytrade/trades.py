"""Executions of tastytrade's export, and what every row that moves a position has in common."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.market.terms import InstrumentKind
from domain.money import checked, exact, parse, quantized
from domain.trading.importing.amounts import gross_of, positive, price_of, value_of
from domain.trading.importing.identity import Ordinals
from domain.trading.importing.ordering import rank_of, sequence_of
from domain.trading.importing.records import InstrumentSpec, ParsedTrade
from domain.trading.importing.tables import Row
from domain.trading.importing.tastytrade.columns import (
    currency,
    dedupe_key,
    executed_at,
)
from domain.trading.importing.tastytrade.instruments import instrument
from domain.trading.terms import PositionEffect, Side, TradeKind

_ZERO: Final = Decimal(0)
_AT_PRICE: Final = re.compile(r"@ ?(?P<price>-?[\d,]*\.?\d+)$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Action:
    """What a row does to a position.

    Attributes:
        side: Direction; None for an expiration that does not say.
        effect: Whether it opens or closes, where the row says so.
    """

    side: Side | None
    effect: PositionEffect | None


ACTIONS: Final = {
    "BUY_TO_OPEN": Action(Side.BUY, PositionEffect.OPEN),
    "BUY_TO_CLOSE": Action(Side.BUY, PositionEffect.CLOSE),
    "SELL_TO_OPEN": Action(Side.SELL, PositionEffect.OPEN),
    "SELL_TO_CLOSE": Action(Side.SELL, PositionEffect.CLOSE),
    "BUY": Action(Side.BUY, None),
    "SELL": Action(Side.SELL, None),
}


@dataclass(frozen=True, slots=True)
class Deed:
    """How a row is to be booked: the part of a trade that its columns do not spell out.

    Attributes:
        kind: What made the trade happen.
        action: Direction and effect.
        rank: Rank within the order number.
        link_key: Key shared with the other rows of the event.
    """

    kind: TradeKind
    action: Action
    rank: int
    link_key: str | None = None


def execution(row: Row, ordinals: Ordinals) -> ParsedTrade:
    """Read a row of type Trade.

    Raises:
        InvalidData: A column breaks its rule.
    """
    action = required_action(row)
    return trade(
        row, instrument(row), Deed(TradeKind.FILL, action, rank_of(action.effect)), ordinals
    )


def trade(row: Row, spec: InstrumentSpec, deed: Deed, ordinals: Ordinals) -> ParsedTrade:
    """Return the record of a row that moves a position.

    Args:
        row: The row.
        spec: What was traded.
        deed: How it is booked.
        ordinals: The file's counter of equal rows.

    Raises:
        InvalidData: A column breaks its rule.
    """
    quantity = positive(row.required_number("Quantity"), "Quantity")
    price, gross = _price_and_gross(row, spec, deed, quantity)
    return ParsedTrade(
        line=row.line,
        instrument=spec,
        kind=deed.kind,
        side=deed.action.side,
        quantity=quantity,
        price=price,
        gross_amount=gross,
        commission=-row.number("Commissions") + _ZERO,
        fees=-row.number("Fees") + _ZERO,
        currency=currency(row),
        executed_at=executed_at(row),
        sequence=sequence_of(row.text("Order #"), deed.rank),
        dedupe_key=dedupe_key(row, ordinals),
        position_effect=deed.action.effect,
        link_key=deed.link_key,
        description=row.text("Description") or None,
        raw=row.cells,
    )


def required_action(row: Row) -> Action:
    """Return what the row does, from its Action or else its Sub Type.

    Raises:
        InvalidData: Neither says it, or they contradict each other.
    """
    stated, named = stated_action(row), ACTIONS.get(_constant(row.text("Sub Type")))
    if stated and named and stated.side is not named.side:
        raise InvalidData("Action", row.text("Action"), "agree with the Sub Type")
    action = stated or named
    if action is None:
        raise InvalidData("Action", row.text("Action"), f"be one of {', '.join(ACTIONS)}")
    if action.effect is None and named:
        return named
    return action


def stated_action(row: Row) -> Action | None:
    """Return what the Action column says, None when it is empty.

    Raises:
        InvalidData: It is not an action.
    """
    if not row.text("Action"):
        return None
    action = ACTIONS.get(_constant(row.text("Action")))
    if action is None:
        raise InvalidData("Action", row.text("Action"), f"be one of {', '.join(ACTIONS)}")
    return action


def _price_and_gross(
    row: Row, spec: InstrumentSpec, deed: Deed, quantity: Decimal
) -> tuple[Decimal, Decimal]:
    value = row.number("Value")
    if spec.kind is InstrumentKind.FUTURE:
        return _of_future(row, spec, quantity)
    side = deed.action.side
    gross = gross_of(value, side) if side else _ZERO
    # The average price of a cash settlement is not the option's price but the index's.
    if deed.kind is TradeKind.CASH_SETTLEMENT:
        return price_of(gross, quantity, spec.multiplier), gross
    return _price(row, spec, quantity, gross), gross


def _of_future(row: Row, spec: InstrumentSpec, quantity: Decimal) -> tuple[Decimal, Decimal]:
    # A future moves no cash when it trades: Value and Average Price are 0, the price stands in
    # the text, and the profit arrives as Mark to Market.
    if row.number("Value"):
        raise InvalidData("Value", row.text("Value"), "be 0 for a future")
    match = _AT_PRICE.search(row.text("Description"))
    if match is None:
        raise InvalidData("Description", row.text("Description"), 'end with the price: "@ 57.92"')
    price = parse(match["price"], "Description", grouping=True)
    return price, value_of(quantity, price, spec.multiplier)


def _price(row: Row, spec: InstrumentSpec, quantity: Decimal, gross: Decimal) -> Decimal:
    stated = abs(row.number("Average Price"))
    if not stated:
        return price_of(gross, quantity, spec.multiplier)
    # For options the export's average price is money per contract.
    with exact():
        price = checked(quantized(stated / spec.multiplier), "Average Price")
    return -price if gross < 0 else price


def _constant(text: str) -> str:
    return "_".join(text.upper().split())
