"""Pairs the rows of corporate actions: symbol changes, mergers, splits, option adjustments.

tastytrade books such an event as two rows, one that closes the old contract and one that opens
the new, at amounts that cancel: the broker's marks. Basis, fees and acquisition dates carry over
and nothing is realized. A row whose opposite is missing is no conversion: a merger for cash only
closes, at real money; shares that only arrive were not paid for here.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from domain.money import plain
from domain.trading.importing.identity import grouped
from domain.trading.importing.records import ParsedTrade, Record
from domain.trading.terms import Side, TradeKind

_LEGS: Final = frozenset({TradeKind.CONVERSION_OUT, TradeKind.CONVERSION_IN})
# These rename a contract and leave its strike; a split moves the strike too.
_KEEP_THE_STRIKE: Final = frozenset({"symbol change", "stock merger"})


def settle(records: Iterable[Record]) -> list[Record]:
    """Pair the legs of conversions and say what a leg without its opposite is.

    Args:
        records: All records of one file.

    Returns:
        The same records; paired legs share a `link_key`, and each leg that stays alone has become
        a cash settlement, an incoming transfer or a fill.
    """
    settled: list[Record] = []
    legs: list[ParsedTrade] = []
    for record in records:
        if isinstance(record, ParsedTrade) and record.kind in _LEGS:
            legs.append(record)
        else:
            settled.append(record)
    for event, group in grouped(legs, _event_key).items():
        settled.extend(_settle_event(str(event), group))
    return settled


def _settle_event(event: str, legs: list[ParsedTrade]) -> list[ParsedTrade]:
    """Pair the n-th leg out with the n-th leg in, by strike, so that twins find each other."""
    outs = sorted((leg for leg in legs if leg.kind is TradeKind.CONVERSION_OUT), key=_twin_order)
    ins = sorted((leg for leg in legs if leg.kind is TradeKind.CONVERSION_IN), key=_twin_order)
    pairs = min(len(outs), len(ins))
    settled: list[ParsedTrade] = []
    for side in (outs, ins):
        for ordinal, leg in enumerate(side):
            linked = replace(leg, link_key=f"{event}#{ordinal}")
            settled.append(linked if ordinal < pairs else _alone(linked))
    return settled


def _event_key(leg: ParsedTrade) -> str:
    """Return what both legs of one event state alike, whatever file they come in."""
    is_out = leg.kind is TradeKind.CONVERSION_OUT
    cash = leg.gross_amount if leg.side is Side.SELL else -leg.gross_amount
    is_long = is_out is (leg.side is Side.SELL)
    parts = (
        "conversion",
        leg.executed_at.isoformat(),
        _sub_type(leg),
        leg.currency,
        "long" if is_long else "short",
        plain(cash if is_out else -cash),
        *_contract(leg),
    )
    return "|".join(parts)


def _contract(leg: ParsedTrade) -> tuple[str, ...]:
    option = leg.instrument.option
    if option is None:
        return (leg.instrument.kind.value,)
    terms = (leg.instrument.kind.value, option.expiration.isoformat(), option.option_type.value)
    return (*terms, plain(option.strike)) if _sub_type(leg) in _KEEP_THE_STRIKE else terms


def _sub_type(leg: ParsedTrade) -> str:
    return " ".join(leg.raw.get("Sub Type", "").lower().split())


def _twin_order(leg: ParsedTrade) -> tuple[Decimal, Decimal, str, str]:
    strike = leg.instrument.option.strike if leg.instrument.option else Decimal(0)
    return strike, leg.quantity, leg.instrument.symbol, leg.dedupe_key


def _alone(leg: ParsedTrade) -> ParsedTrade:
    if leg.kind is TradeKind.CONVERSION_OUT:
        return replace(leg, kind=TradeKind.CASH_SETTLEMENT)
    return replace(leg, kind=TradeKind.FILL if leg.gross_amount else TradeKind.TRANSFER_IN)
