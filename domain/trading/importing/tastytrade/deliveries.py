"""Receive Deliver rows: what reaches or leaves a position without an order.

Expirations, assignments and exercises with the shares they deliver, transfers, and the rows of
corporate actions, which `domain.trading.importing.tastytrade.conversions` pairs afterwards.
"""

from dataclasses import dataclass
from typing import Final

from domain.errors import InvalidData
from domain.trading.importing.identity import Ordinals, delivery_key, option_delivery_key
from domain.trading.importing.ordering import (
    RANK_CONVERTS_IN,
    RANK_CONVERTS_OUT,
    RANK_OPTION_ENDS,
    rank_of,
)
from domain.trading.importing.records import InstrumentSpec, ParsedTrade
from domain.trading.importing.tables import Row
from domain.trading.importing.tastytrade.columns import executed_at, label
from domain.trading.importing.tastytrade.instruments import instrument
from domain.trading.importing.tastytrade.trades import (
    ACTIONS,
    Action,
    Deed,
    required_action,
    stated_action,
    trade,
)
from domain.trading.terms import PositionEffect, Side, TradeKind

_SHARES: Final = frozenset(name.lower().replace("_", " ") for name in ACTIONS)
_TRANSFERS: Final = frozenset({"acat", "transfer"})


@dataclass(frozen=True, slots=True)
class _Ending:
    """How an option ends: an assignment ends a short one, an exercise a long one."""

    kind: TradeKind
    side: Side | None


_ENDINGS: Final = {
    "expiration": _Ending(TradeKind.EXPIRATION, None),
    "assignment": _Ending(TradeKind.ASSIGNMENT, Side.BUY),
    "exercise": _Ending(TradeKind.EXERCISE, Side.SELL),
    "cash settled assignment": _Ending(TradeKind.CASH_SETTLEMENT, Side.BUY),
    "cash settled exercise": _Ending(TradeKind.CASH_SETTLEMENT, Side.SELL),
    "futures settlement": _Ending(TradeKind.CASH_SETTLEMENT, None),
}


def delivery(row: Row, ordinals: Ordinals) -> ParsedTrade:
    """Read a row of type Receive Deliver or Administrative Transfer.

    Raises:
        InvalidData: A column breaks its rule.
    """
    sub_type = label(row, "Sub Type")
    spec = instrument(row)
    if sub_type in _ENDINGS:
        return trade(row, spec, _ending_deed(row, spec, _ENDINGS[sub_type]), ordinals)
    action = required_action(row)
    if sub_type in _SHARES:
        return trade(row, spec, _shares_deed(row, spec, action), ordinals)
    if sub_type in _TRANSFERS:
        return trade(row, spec, _transfer_deed(action), ordinals)
    return trade(row, spec, _conversion_deed(row, action), ordinals)


def _ending_deed(row: Row, spec: InstrumentSpec, ending: _Ending) -> Deed:
    stated = stated_action(row)
    side = stated.side if stated else ending.side
    if side is None and row.number("Value"):
        side = Side.SELL if row.number("Value") > 0 else Side.BUY
    if side is None and ending.kind is not TradeKind.EXPIRATION:
        raise InvalidData("Action", "", "say whether the position is bought or sold")
    link_key = None
    if spec.option and ending.kind in {TradeKind.ASSIGNMENT, TradeKind.EXERCISE}:
        is_exercised = ending.kind is TradeKind.EXERCISE
        link_key = option_delivery_key(executed_at(row), spec.option, is_exercised=is_exercised)
    return Deed(ending.kind, Action(side, PositionEffect.CLOSE), RANK_OPTION_ENDS, link_key)


def _shares_deed(row: Row, spec: InstrumentSpec, action: Action) -> Deed:
    price = abs(row.number("Average Price"))
    side = action.side
    link_key = None
    if side and price and not spec.option:
        link_key = delivery_key(executed_at(row), spec.symbol, price, side)
    return Deed(TradeKind.FILL, action, rank_of(action.effect), link_key)


def _transfer_deed(action: Action) -> Deed:
    leaves = action.effect is PositionEffect.CLOSE
    kind = TradeKind.TRANSFER_OUT if leaves else TradeKind.TRANSFER_IN
    return Deed(kind, action, rank_of(action.effect))


def _conversion_deed(row: Row, action: Action) -> Deed:
    if not row.text("Sub Type"):
        raise InvalidData("Sub Type", "", "not be empty")
    if action.effect is None:
        raise InvalidData("Action", row.text("Action"), "say whether it opens or closes")
    if action.effect is PositionEffect.CLOSE:
        return Deed(TradeKind.CONVERSION_OUT, action, RANK_CONVERTS_OUT)
    return Deed(TradeKind.CONVERSION_IN, action, RANK_CONVERTS_IN)
