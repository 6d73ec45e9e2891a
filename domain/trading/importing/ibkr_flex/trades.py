"""Executions of a Flex statement, and their cancellations.

A cancellation (``TradeCancel``, note ``Ca``) takes one execution back. IBKR then often books the
execution again under the *same* tradeID: only the transactionID tells the two apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.market.terms import InstrumentKind
from domain.money import checked, exact, quantized
from domain.trading.importing.amounts import gross_of, positive, price_of, total, value_of
from domain.trading.importing.ibkr_flex.elements import TRADES
from domain.trading.importing.ibkr_flex.instruments import currency, instrument
from domain.trading.importing.ibkr_flex.references import (
    ASSIGNED,
    CANCELLED,
    EXERCISED,
    EXPIRED,
    LIQUIDATED,
    codes,
    dedupe_key,
    external_id,
    id_in,
)
from domain.trading.importing.ibkr_flex.times import instant_of, parse_instant
from domain.trading.importing.identity import Ordinals, delivery_key, option_delivery_key
from domain.trading.importing.ordering import RANK_OPTION_ENDS, rank_of, sequence_of
from domain.trading.importing.records import InstrumentSpec, ParsedBust, ParsedTrade
from domain.trading.importing.symbols import checked_currency
from domain.trading.importing.tables import Row
from domain.trading.terms import PositionEffect, Side, TradeKind

_ZERO: Final = Decimal(0)
_LONGEST_NUMBER: Final = 30
_BOOKED: Final = "BookTrade"
_CANCELLATIONS: Final = frozenset({"TradeCancel", "FracShareCancel"})
_EFFECTS: Final = {"O": PositionEffect.OPEN, "C": PositionEffect.CLOSE}
_ENDINGS: Final = frozenset({TradeKind.EXPIRATION, TradeKind.ASSIGNMENT, TradeKind.EXERCISE})


@dataclass(frozen=True, slots=True)
class Account:
    """What the rows of one statement share.

    Attributes:
        base_currency: The account's base currency, "" when the statement does not name it.
        ordinals: The file's counter of equal rows.
        executions: All rows of the section, in which cancellations look for their original.
    """

    base_currency: str
    ordinals: Ordinals
    executions: tuple[Row, ...] = ()


def trade_or_bust(row: Row, account: Account) -> ParsedTrade | ParsedBust:
    """Read a row of the section Trades.

    Raises:
        InvalidData: An attribute breaks its rule.
    """
    if row.text("levelOfDetail").upper() not in {"", "EXECUTION"}:
        rule = "be EXECUTION: choose executions in the Flex query"
        raise InvalidData("levelOfDetail", row.text("levelOfDetail"), rule)
    return _bust(row, account) if is_cancellation(row) else _trade(row, account)


def is_cancellation(row: Row) -> bool:
    """Return whether the row takes an earlier one back."""
    is_named = row.text("transactionType") in _CANCELLATIONS
    return is_named or bool(codes(row) & CANCELLED) or row.text("buySell").endswith("(Ca.)")


def executions_of(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return the rows that a cancellation can refer to."""
    return tuple(row for row in rows if row.text("tradeID") and not is_cancellation(row))


def _trade(row: Row, account: Account) -> ParsedTrade:
    spec = instrument(row, name=row.text("description"))
    side, quantity = side_and_quantity(row)
    gross = _gross(row, spec, side, quantity)
    kind = _trade_kind(row, spec, gross)
    instant = _executed_at(row)
    effect = _EFFECTS.get(row.text("openCloseIndicator"))
    fee_currency, fees_settled = _foreign_fees(row, account)
    return ParsedTrade(
        line=row.line,
        instrument=spec,
        kind=kind,
        side=side,
        quantity=quantity,
        price=_price(row, spec, gross, quantity),
        gross_amount=gross,
        commission=commission(row),
        fees=_fees(row),
        currency=currency(row),
        executed_at=instant,
        sequence=_sequence(row, kind, effect),
        dedupe_key=dedupe_key(row, TRADES, account.ordinals),
        external_id=external_id(row),
        position_effect=effect,
        link_key=_link_key(row, spec, kind),
        description=row.text("description") or None,
        raw=row.cells,
        fee_currency=fee_currency,
        fees_settled=fees_settled,
    )


def side_and_quantity(row: Row) -> tuple[Side, Decimal]:
    """Return the direction and the unsigned quantity; IBKR signs sold quantities.

    Raises:
        InvalidData: The quantity is 0, or its sign contradicts ``buySell``.
    """
    signed = row.required_number("quantity")
    side = Side.BUY if signed > 0 else Side.SELL
    named = row.text("buySell").upper()
    if named and named not in {"BUY", "SELL"}:
        raise InvalidData("buySell", row.text("buySell"), "be BUY or SELL")
    if named and named.lower() != side:
        raise InvalidData("quantity", f"{signed:f}", f"have the sign of a {named}")
    return side, positive(abs(signed), "quantity")


def commission(row: Row) -> Decimal:
    """Return the commission: IBKR's sign is that of the cash, ours that of the cost."""
    return -row.number("ibCommission") + _ZERO


def _fees(row: Row) -> Decimal:
    # Accrued interest of a bond is paid to the seller with the price, and is not part of it.
    return total(-row.number("taxes"), -row.number("accruedInt"))


def _gross(row: Row, spec: InstrumentSpec, side: Side, quantity: Decimal) -> Decimal:
    if row.text("proceeds") and spec.kind is not InstrumentKind.FUTURE:
        return gross_of(row.number("proceeds"), side)
    if row.text("tradeMoney"):
        return gross_of(-row.number("tradeMoney"), side)
    if spec.kind is InstrumentKind.BOND:
        raise InvalidData("proceeds", "", "not be empty for a bond: its price is a percentage")
    return value_of(quantity, row.required_number("tradePrice"), spec.multiplier)


def _price(row: Row, spec: InstrumentSpec, gross: Decimal, quantity: Decimal) -> Decimal:
    if row.text("tradePrice"):
        return row.number("tradePrice")
    return price_of(gross, quantity, spec.multiplier)


def _trade_kind(row: Row, spec: InstrumentSpec, gross: Decimal) -> TradeKind:
    letters = codes(row)
    if letters & LIQUIDATED:
        return TradeKind.LIQUIDATION
    if spec.option is None or row.text("transactionType") not in {"", _BOOKED}:
        return TradeKind.FILL
    if letters & EXPIRED and not gross:
        return TradeKind.EXPIRATION
    if not letters & (ASSIGNED | EXERCISED | EXPIRED):
        return TradeKind.FILL
    if gross:
        return TradeKind.CASH_SETTLEMENT
    return TradeKind.ASSIGNMENT if letters & ASSIGNED else TradeKind.EXERCISE


def _sequence(row: Row, kind: TradeKind, effect: PositionEffect | None) -> int:
    # What IBKR books itself at the close comes in no order of its own: options first, then shares.
    if kind in _ENDINGS or kind is TradeKind.CASH_SETTLEMENT:
        return RANK_OPTION_ENDS
    number = "" if row.text("transactionType") == _BOOKED else row.text("transactionID")
    return sequence_of(number, rank_of(effect))


def _link_key(row: Row, spec: InstrumentSpec, kind: TradeKind) -> str | None:
    if spec.option:
        if kind not in {TradeKind.ASSIGNMENT, TradeKind.EXERCISE}:
            return None
        is_exercised = kind is TradeKind.EXERCISE
        return option_delivery_key(_executed_at(row), spec.option, is_exercised=is_exercised)
    if not codes(row) & (ASSIGNED | EXERCISED) or not row.text("tradePrice"):
        return None
    side, _ = side_and_quantity(row)
    return delivery_key(_executed_at(row), spec.symbol, row.number("tradePrice"), side)


def _executed_at(row: Row) -> datetime:
    if not row.text("dateTime") and row.text("tradeTime"):
        text = f"{row.required('tradeDate')};{row.text('tradeTime')}"
        return parse_instant(text, "tradeDate")
    return instant_of(row, "dateTime", "tradeDate")


def _foreign_fees(row: Row, account: Account) -> tuple[str | None, Decimal | None]:
    """Return currency and converted amount of fees that are not in the trade's currency."""
    paid_in = row.text("ibCommissionCurrency") or row.required("currency")
    if paid_in == row.required("currency") or not row.number("ibCommission"):
        return None, None
    rate = row.number("fxRateToBase")
    is_base = (account.base_currency or paid_in) == paid_in
    if not is_base or rate <= 0 or _fees(row):
        rule = "be the currency of the trade, or the account's base currency with fxRateToBase"
        raise InvalidData("ibCommissionCurrency", paid_in, rule)
    with exact():
        settled = checked(quantized(commission(row) / rate), "ibCommission")
    return checked_currency(paid_in, "ibCommissionCurrency"), settled


def _bust(row: Row, account: Account) -> ParsedBust:
    return ParsedBust(
        line=row.line,
        external_id=_cancelled_id(row, account.executions),
        dedupe_key=dedupe_key(row, TRADES, account.ordinals),
        executed_at=_executed_at(row),
        commission=commission(row),
        currency=currency(row),
        raw=row.cells,
    )


def _cancelled_id(row: Row, executions: tuple[Row, ...]) -> str:
    transaction_id = id_in(row, "origTransactionID")
    if transaction_id:
        return transaction_id
    trade_id = id_in(row, "origTradeID")
    if not trade_id:
        rule = "name the cancelled trade: add origTransactionID and origTradeID to the Flex query"
        raise InvalidData("origTransactionID", "", rule)
    return _latest_before(row, trade_id, executions) or trade_id


def _latest_before(row: Row, trade_id: str, executions: tuple[Row, ...]) -> str | None:
    """Return the id of the last execution under `trade_id` that IBKR booked before `row`."""
    limit = _booking_number(row)
    earlier = [
        candidate
        for candidate in executions
        if candidate.text("tradeID") == trade_id and _booking_number(candidate) <= limit
    ]
    return external_id(max(earlier, key=_booking_number)) if earlier else None


def _booking_number(row: Row) -> int:
    text = row.text("transactionID")
    return int(text) if text.isascii() and text.isdigit() and len(text) < _LONGEST_NUMBER else 0
