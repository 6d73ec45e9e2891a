"""What the ledger answers: the state of a book, and what changed in it. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from domain.trading.ledger.lots import Carry, Closure, Cycle, Lot


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a book did since it was made or resumed: exactly the rows to write.

    Attributes:
        cycles: New and changed cycles, by number.
        lots: New and changed lots, by arrival.
        closures: Added closures, in order.
        carries: Added carries, in order.
        cash_by_key: Signed cash that each trade moved, in the settlement currency; trades of
            `CASHLESS_KINDS` are absent.
        unmatched: (trade key, unsigned quantity) of what found nothing to close.
    """

    cycles: tuple[Cycle, ...]
    lots: tuple[Lot, ...]
    closures: tuple[Closure, ...]
    carries: tuple[Carry, ...]
    cash_by_key: Mapping[str, Decimal]
    unmatched: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A whole book: position, profit, cash and where they come from.

    The cash identity holds exactly: `cash` = realized_net - open_value - open_fees + carried
    (upfront), realized_net - open_fees + carried (margined).

    Attributes:
        quantity: Signed position; the sum of the lots.
        entry_price: Average price of what is open, 18 decimals; None when flat.
        open_value: Signed value of the open lots.
        open_fees: Fees of the open lots.
        realized_gross: Sum of the closures' gross.
        realized_fees: Sum of the closures' opening and closing fees.
        realized_net: realized_gross - realized_fees.
        cash: Signed cash that the trades moved.
        carried: Basis that came in without cash (transfers, conversions, premiums), less what
            left so.
        lots: All lots by arrival, open and closed.
        closures: All closures in order.
        carries: All pieces of lots that left at cost.
        cycles: All flat-to-flat cycles by number; the last one may be open.
        cash_by_key: Signed cash of each trade.
        unmatched: (trade key, unsigned quantity) of what found nothing to close.
    """

    quantity: Decimal
    entry_price: Decimal | None
    open_value: Decimal
    open_fees: Decimal
    realized_gross: Decimal
    realized_fees: Decimal
    realized_net: Decimal
    cash: Decimal
    carried: Decimal
    lots: tuple[Lot, ...]
    closures: tuple[Closure, ...]
    carries: tuple[Carry, ...]
    cycles: tuple[Cycle, ...]
    cash_by_key: Mapping[str, Decimal]
    unmatched: tuple[tuple[str, Decimal], ...]
