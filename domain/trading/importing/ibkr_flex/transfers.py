"""Positions and cash that came from, or went to, another account (section Transfers)."""

from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.trading.importing.amounts import price_of
from domain.trading.importing.ibkr_flex.elements import TRANSFERS
from domain.trading.importing.ibkr_flex.instruments import currency, instrument
from domain.trading.importing.ibkr_flex.references import dedupe_key, external_id
from domain.trading.importing.ibkr_flex.times import instant_of
from domain.trading.importing.identity import Ordinals
from domain.trading.importing.ordering import RANK_CLOSES, RANK_OPENS
from domain.trading.importing.records import ParsedCash, ParsedTrade
from domain.trading.importing.tables import Row
from domain.trading.terms import CashKind, Side, TradeKind

_DATES: Final = ("dateTime", "date", "settleDate", "reportDate")
_KINDS: Final = {"IN": TradeKind.TRANSFER_IN, "OUT": TradeKind.TRANSFER_OUT}
_ZERO: Final = Decimal(0)


def transfer(row: Row, ordinals: Ordinals) -> ParsedTrade | ParsedCash:
    """Read a row of the section Transfers.

    Raises:
        InvalidData: An attribute breaks its rule, or the row moves neither units nor cash.
    """
    if row.number("quantity"):
        return _position(row, ordinals)
    if row.number("cashTransfer"):
        return _cash(row, ordinals)
    raise InvalidData("quantity", row.text("quantity"), "not be 0 without a cashTransfer")


def _position(row: Row, ordinals: Ordinals) -> ParsedTrade:
    kind = _KINDS.get(row.required("direction").upper())
    if kind is None:
        raise InvalidData("direction", row.text("direction"), "be IN or OUT")
    spec = instrument(row)
    signed = row.number("quantity")
    gross = abs(row.number("positionAmount"))
    return ParsedTrade(
        line=row.line,
        instrument=spec,
        kind=kind,
        side=Side.BUY if signed > 0 else Side.SELL,
        quantity=abs(signed),
        price=price_of(gross, abs(signed), spec.multiplier),
        gross_amount=gross,
        commission=_ZERO,
        fees=_ZERO,
        currency=currency(row),
        executed_at=instant_of(row, *_DATES),
        sequence=RANK_OPENS if kind is TradeKind.TRANSFER_IN else RANK_CLOSES,
        dedupe_key=dedupe_key(row, TRANSFERS, ordinals),
        external_id=external_id(row),
        description=row.text("description") or None,
        raw=row.cells,
    )


def _cash(row: Row, ordinals: Ordinals) -> ParsedCash:
    return ParsedCash(
        line=row.line,
        kind=CashKind.TRANSFER,
        amount=row.number("cashTransfer"),
        currency=currency(row),
        effective_at=instant_of(row, *_DATES),
        dedupe_key=dedupe_key(row, TRANSFERS, ordinals),
        external_id=external_id(row),
        description=row.text("description") or None,
        raw=row.cells,
    )
