"""Exact scaling of quantities: what a split does, and how a quantity is spread over lots.

Quantities are shown with 18 decimals and add up exactly; what 18 decimals cannot hold stays in
the residues, so that 1:3 and later 3:1 restore every quantity. Values are never touched here.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from domain.errors import InvalidData
from domain.money import MAX_SCALE, QUANTUM
from domain.trading.ledger.events import stored
from domain.trading.ledger.lots import ZERO, Cycle, Lot, Residue

_STEPS: Final = 10**MAX_SCALE
_NOTHING: Final = Fraction(0)
_WHOLE: Final[Residue] = (_NOTHING, _NOTHING)


def share(total: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return what `part` of `whole` is of `total`, rounded half-even to 18 decimals.

    Taking `total - share` for the rest makes every allocation add up exactly. Runs inside
    `domain.money.exact()`.
    """
    if part == whole or not total:
        return total
    return (total * part / whole).quantize(QUANTUM)


def spread(total: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Spread `total` over `weights` so that the parts add up to it exactly.

    Each part is the difference of two rounded running sums, so no part strays by more than one
    unit of the 18th decimal, wherever it stands. Runs inside `domain.money.exact()`.
    """
    whole = sum(weights, ZERO)
    parts, running, given = [], ZERO, ZERO
    for weight in weights:
        running += weight
        part = share(total, running, whole) - given
        given += part
        parts.append(part)
    return parts


def split_lots(lots: Iterable[Lot], cycle: Cycle, ratio: Fraction) -> None:
    """Scale the open lots and their cycle by `ratio`.

    Raises:
        InvalidData: A lot would vanish below 18 decimals, or the quantity reach 10^20.
    """
    planned = list(_scaled_lots(lots, ratio))
    cycle.quantity = stored(sum((shown for _, shown, _ in planned), ZERO), "quantity")
    for lot, shown, (opened, remaining) in planned:
        shown_opened = shown + _on_grid(opened - remaining)
        lot.residue = _residue(opened - Fraction(shown_opened), remaining - Fraction(shown))
        lot.quantity_opened, lot.quantity_remaining = shown_opened, shown
    _scale_cycle(cycle, ratio)


def hand_over(closed: Lot, heir: Lot | None) -> None:
    """Give what 18 decimals could not hold of a closed lot to the next open one, if any."""
    if closed.residue is not None and heir is not None:
        opened, remaining = heir.residue or _WHOLE
        left = closed.residue[1]
        heir.residue = _residue(opened + left, remaining + left)
    closed.residue = None


def note_peak(cycle: Cycle) -> None:
    """Make the open quantity the peak of the cycle; a residue of the former peak is void."""
    cycle.peak_quantity = abs(cycle.quantity)
    if cycle.residue is not None:
        cycle.residue = _residue(_NOTHING, cycle.residue[1])


def _scaled_lots(
    lots: Iterable[Lot], ratio: Fraction
) -> Iterable[tuple[Lot, Decimal, tuple[Fraction, Fraction]]]:
    """Yield each lot with its shown remaining quantity and the exact (opened, remaining)."""
    running, given = _NOTHING, ZERO
    for lot in lots:
        opened, remaining = (
            (Fraction(quantity) + residue) * ratio
            for quantity, residue in zip(
                (lot.quantity_opened, lot.quantity_remaining), lot.residue or _WHOLE, strict=True
            )
        )
        running += remaining
        shown = _on_grid(running) - given
        if not shown:
            rule = f"leave at least 1E-18 of lot {lot.key}"
            raise InvalidData("split", str(ratio), rule)
        given += shown
        yield lot, shown, (opened, remaining)


def _scale_cycle(cycle: Cycle, ratio: Fraction) -> None:
    peak_residue, closed_residue = cycle.residue or _WHOLE
    peak = (Fraction(cycle.peak_quantity) + peak_residue) * ratio
    closed = (Fraction(cycle.closed_quantity) + closed_residue) * ratio
    cycle.peak_quantity = max(_on_grid(peak), abs(cycle.quantity))
    cycle.closed_quantity = _on_grid(closed)
    cycle.residue = _residue(
        peak - Fraction(cycle.peak_quantity), closed - Fraction(cycle.closed_quantity)
    )


def _on_grid(exact: Fraction) -> Decimal:
    return Decimal(round(exact * _STEPS)).scaleb(-MAX_SCALE)


def _residue(first: Fraction, second: Fraction) -> Residue | None:
    return (first, second) if first or second else None
