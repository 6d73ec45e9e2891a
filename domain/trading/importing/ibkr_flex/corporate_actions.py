"""Corporate actions of a Flex statement: splits, mergers, renamings, spin-offs.

IBKR books one row for what leaves and one for what arrives, joined by an ``actionID``. A split
without a change of symbol is one row with the change of the quantity.

Source: IBKR Guides, Flex Query reference, Corporate Actions: FS forward split, RS reverse split,
TC merger, IC issue change, SO spin-off, DW delisting, OR asset purchase.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from domain.errors import InvalidData
from domain.trading.importing.amounts import gross_of, positive, price_of
from domain.trading.importing.ibkr_flex.elements import CORPORATE_ACTIONS
from domain.trading.importing.ibkr_flex.instruments import currency, instrument
from domain.trading.importing.ibkr_flex.references import dedupe_key, external_id
from domain.trading.importing.ibkr_flex.times import instant_of
from domain.trading.importing.identity import Ordinals, grouped
from domain.trading.importing.ordering import RANK_OPTION_ENDS
from domain.trading.importing.records import ParsedSplit, ParsedTrade, RejectedRow
from domain.trading.importing.tables import Row
from domain.trading.terms import Side, TradeKind

_SPLITS: Final = frozenset({"FS", "RS"})
_CONVERSIONS: Final = frozenset({"FS", "RS", "TC", "IC", "TO", "PI"})
_ENDS_IN_CASH: Final = frozenset({"TC", "TO", "PI", "BM", "DW"})
_ARRIVES_FREE: Final = frozenset({"SO", "SD", "HI"})
_RATIO: Final = re.compile(r"SPLIT\s+(\d{1,9})\s+FOR\s+(\d{1,9})", re.IGNORECASE)
_ZERO: Final = Decimal(0)

Action = ParsedTrade | ParsedSplit


@dataclass(frozen=True, slots=True)
class _Leg:
    row: Row
    kind: TradeKind
    link_key: str | None = None


def read_actions(rows: Iterable[Row], ordinals: Ordinals) -> tuple[list[Action], list[RejectedRow]]:
    """Read the rows of the section, each exactly once.

    Args:
        rows: The section's rows.
        ordinals: The file's counter of equal rows.
    """
    actions: list[Action] = []
    rejected: list[RejectedRow] = []
    for group in grouped(rows, _event_of).values():
        for row in group:
            try:
                actions.append(_read(row, group, ordinals))
            except InvalidData as error:
                rejected.append(RejectedRow.because(row.line, error))
    return actions, rejected


def _event_of(row: Row) -> str:
    number = row.text("actionID")
    # Without a number the first words of the description name what is converted.
    name = number or row.text("description").split("(")[0]
    return "|".join((row.text("dateTime") or row.text("reportDate"), row.text("type"), name))


def _read(row: Row, group: list[Row], ordinals: Ordinals) -> Action:
    kind = row.required("type").upper()
    is_alone = len(group) == 1
    if kind in _SPLITS and is_alone:
        return _split(row, ordinals)
    if kind in _CONVERSIONS and _is_pair(group):
        return _trade(_leg_of(row), ordinals)
    if kind in _ENDS_IN_CASH and row.number("quantity"):
        return _trade(_Leg(row, TradeKind.CASH_SETTLEMENT), ordinals)
    if kind in _ARRIVES_FREE and row.number("quantity") > 0:
        return _trade(_Leg(row, TradeKind.TRANSFER_IN), ordinals)
    rule = "be a split, merger, renaming or spin-off that this importer reads; book it by hand"
    raise InvalidData("type", row.text("type"), rule)


def _is_pair(group: list[Row]) -> bool:
    quantities = [row.number("quantity") for row in group]
    has_both = len(group) == 2 and min(quantities) < 0 < max(quantities)  # noqa: PLR2004 - a pair
    if has_both and any(row.number("proceeds") for row in group):
        rule = "be 0 where shares are exchanged for shares; book a mixed merger by hand"
        raise InvalidData("proceeds", group[0].text("proceeds"), rule)
    return has_both


def _leg_of(row: Row) -> _Leg:
    # A long position leaves by a negative quantity; shorts are the mirror image, which IBKR
    # marks by the order of its description only: the symbol named first is the old one.
    names_itself = row.text("description").upper().startswith(row.text("symbol").upper() + "(")
    is_leaving = row.number("quantity") < 0 or (names_itself and row.text("type") == "IC")
    kind = TradeKind.CONVERSION_OUT if is_leaving else TradeKind.CONVERSION_IN
    return _Leg(row, kind, f"conversion|{_event_of(row)}#0")


def _split(row: Row, ordinals: Ordinals) -> ParsedSplit:
    match = _RATIO.search(row.text("description"))
    if match is None:
        raise InvalidData("description", row.text("description"), 'say "SPLIT 4 FOR 1"')
    numerator, denominator = int(match[1]), int(match[2])
    change = row.required_number("quantity")
    if not numerator or not denominator or numerator == denominator or not change:
        raise InvalidData("description", row.text("description"), "name a ratio that changes it")
    return ParsedSplit(
        line=row.line,
        instrument=instrument(row),
        numerator=numerator,
        denominator=denominator,
        quantity_change=change,
        executed_at=instant_of(row, "dateTime", "reportDate"),
        sequence=0,
        dedupe_key=dedupe_key(row, CORPORATE_ACTIONS, ordinals),
        external_id=external_id(row),
        description=row.text("description") or None,
        raw=row.cells,
    )


def _trade(leg: _Leg, ordinals: Ordinals) -> ParsedTrade:
    row = leg.row
    signed = row.required_number("quantity")
    side = Side.BUY if signed > 0 else Side.SELL
    quantity = positive(abs(signed), "quantity")
    spec = instrument(row)
    is_cash = leg.kind is TradeKind.CASH_SETTLEMENT
    gross = gross_of(row.number("proceeds"), side) if is_cash else _ZERO
    return ParsedTrade(
        line=row.line,
        instrument=spec,
        kind=leg.kind,
        side=side,
        quantity=quantity,
        price=price_of(gross, quantity, spec.multiplier),
        gross_amount=gross,
        commission=_ZERO,
        fees=_ZERO,
        currency=currency(row),
        executed_at=instant_of(row, "dateTime", "reportDate"),
        sequence=RANK_OPTION_ENDS,
        dedupe_key=dedupe_key(row, CORPORATE_ACTIONS, ordinals),
        external_id=external_id(row),
        link_key=leg.link_key,
        description=row.text("description") or None,
        raw=row.cells,
    )
