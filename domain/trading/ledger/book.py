"""One position key: books trades and splits in order and knows what changed since.

The rules that span two books, conversions and assignments, live in
`domain.trading.ledger.carrying`; the choice of lots in `domain.trading.ledger.methods`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Self, TypeAlias, cast

from domain.errors import InvalidData
from domain.money import exact, plain
from domain.trading.ledger.events import (
    CASHLESS_KINDS,
    LEAVING_KINDS,
    ONLY_CLOSING_KINDS,
    Conversion,
    Fill,
    Order,
    Split,
    Terms,
    booked_value,
)
from domain.trading.ledger.legs import Leg, buys
from domain.trading.ledger.lots import ZERO, Carry, Closure, Cycle, Lot, carried_key
from domain.trading.ledger.methods import lots_closed_by
from domain.trading.ledger.outcome import Changes, State
from domain.trading.ledger.splits import hand_over, note_peak, share, split_lots, spread
from domain.trading.terms import CashModel, CostBasisMethod, Side

Piece: TypeAlias = tuple[Lot, Decimal]
"""A lot and the part of its remaining quantity, signed alike, that is taken."""


class Book:
    """One position key.

    `resume`, `apply` and `changes` are the whole story for single trades and splits. The verbs
    below them serve `replaying` and `carrying`, which enter `domain.money.exact()` once for many
    events and check their order.

    Attributes:
        terms: How this book is reckoned.
        last_order: Order of the last event; the next one must be later.
        cycle: The open cycle, or None when flat.
        closures: Closures added since the book was made or resumed.
        carries: Carries added since then.
        cash: Signed cash moved since then.
        carried: Basis that came in without cash since then, less what left so.
        cash_by_key: Signed cash of each trade since then.
        unmatched: (trade key, unsigned quantity) of what found nothing to close since then.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.last_order: Order | None = None
        self.cycle: Cycle | None = None
        self.closures: list[Closure] = []
        self.carries: list[Carry] = []
        self.cash = ZERO
        self.carried = ZERO
        self.cash_by_key: dict[str, Decimal] = {}
        self.unmatched: list[tuple[str, Decimal]] = []
        self._open = lots_closed_by(terms.method)
        self._pools = terms.method == CostBasisMethod.AVERAGE
        self._pays_value = terms.cash_model == CashModel.UPFRONT
        self._last_number = 0
        self._known_lots: dict[str, Lot] = {}
        self._changed_lots: dict[str, Lot] = {}
        self._changed_cycles: dict[int, Cycle] = {}

    @classmethod
    def resume(
        cls,
        terms: Terms,
        *,
        cycle: Cycle | None,
        open_lots: Iterable[Lot] = (),
        last_order: Order | None = None,
    ) -> Self:
        """Continue a book from its stored rows without reading its history.

        Args:
            terms: As the rows were booked.
            cycle: The latest cycle of the key, open or closed, since numbering goes on from it;
                None when the key never traded. It and the lots are copied.
            open_lots: Its lots with something remaining, in any order.
            last_order: Order of the last event of the key, also of one that matched nothing;
                None takes the cycle's.

        Raises:
            InvalidData: The lots do not add up to the cycle: replay the key instead.
        """
        book = cls(terms)
        lots = sorted((replace(lot) for lot in open_lots), key=lambda lot: lot.order)
        with exact():
            _check_sums(cycle, lots)
        for lot in lots:
            book._open.add(lot)
            book._known_lots[lot.key] = lot
        if cycle is not None:
            book._last_number = cycle.number
            book.cycle = replace(cycle, terms=terms) if cycle.closed_at is None else None
        book.last_order = last_order or (cycle.last_order if cycle else None)
        return book

    def apply(self, event: Fill | Split) -> None:
        """Book the next event; the one that was booked last is a duplicate and ignored.

        Raises:
            InvalidData: The event lies before the last one (replay the key instead), or breaks a
                rule. The book is then unchanged.
        """
        if self.is_next(event.order):
            with exact():
                self.enter(event)

    def changes(self) -> Changes:
        """Return what was added or changed since the book was made or resumed."""
        self._spread_pool()
        return Changes(
            cycles=tuple(self._changed_cycles.values()),
            lots=tuple(self._changed_lots.values()),
            closures=tuple(self.closures),
            carries=tuple(self.carries),
            cash_by_key=self.cash_by_key,
            unmatched=tuple(self.unmatched),
        )

    def state(self) -> State:
        """Return the whole book; after `resume`, what is known since then."""
        cycles = self._changed_cycles | ({self.cycle.number: self.cycle} if self.cycle else {})
        open_cycle = self.cycle
        with exact():
            gross = sum((cycle.realized_gross for cycle in cycles.values()), ZERO)
            fees = sum((cycle.realized_fees for cycle in cycles.values()), ZERO)
            return State(
                quantity=open_cycle.quantity if open_cycle else ZERO,
                entry_price=open_cycle.entry_price if open_cycle else None,
                open_value=open_cycle.open_value if open_cycle else ZERO,
                open_fees=open_cycle.open_fees if open_cycle else ZERO,
                realized_gross=gross,
                realized_fees=fees,
                realized_net=gross - fees,
                cash=self.cash,
                carried=self.carried,
                lots=self.lots,
                closures=tuple(self.closures),
                carries=tuple(self.carries),
                cycles=tuple(cycles.values()),
                cash_by_key=self.cash_by_key,
                unmatched=tuple(self.unmatched),
            )

    @property
    def quantity(self) -> Decimal:
        """The signed position."""
        return self.cycle.quantity if self.cycle is not None else ZERO

    @property
    def lots(self) -> tuple[Lot, ...]:
        """The lots known here by arrival: those resumed from and all newer ones."""
        self._spread_pool()
        return tuple(self._known_lots.values())

    @property
    def open_lots(self) -> tuple[Lot, ...]:
        """The open lots by acquisition, the oldest first."""
        self._spread_pool()
        return tuple(self._open)

    def is_next(self, order: Order) -> bool:
        """Return whether an event of this order comes after the last one; False if it is the last.

        Raises:
            InvalidData: It lies before the last one: the key must be replayed.
        """
        if self.last_order is None or order > self.last_order:
            return True
        if order == self.last_order:
            return False
        raise InvalidData("executed_at", order[0].isoformat(), "not lie before the last event")

    def enter(self, event: Fill | Split) -> None:
        """Book `event`, whose order was checked."""
        if isinstance(event, Split):
            self._split(event)
        elif event.kind in ONLY_CLOSING_KINDS:
            self._close_only(event)
        else:
            self._trade(event, Leg.of(event, self.terms, buys=buys(event)))
        self.last_order = event.order

    def closing_pieces(self, quantity: Decimal, selection: Sequence[str] = ()) -> list[Piece]:
        """Choose the pieces of lots that a trade of `quantity` closes; nothing changes yet.

        Args:
            quantity: Signed like the trade. What exceeds the position is not covered, and a
                trade in the position's own direction closes nothing.
            selection: Under the specific method the lots to close, by lot key or opening key.

        Raises:
            InvalidData: A selected lot is not open, or the selection holds too little.
        """
        held = self.quantity
        closes = bool(held) and (held > 0) is not (quantity > 0)
        wanted = (-quantity if abs(quantity) < abs(held) else held) if closes else ZERO
        if selection and self.terms.method == CostBasisMethod.SPECIFIC:
            return _pieces(self._selected(selection, wanted), wanted)
        return _pieces(self._open.closing_order(), wanted) if closes else []

    def held_pieces(self, quantity: Decimal) -> list[Piece]:
        """Choose the pieces of lots that make up an unsigned `quantity`, as far as it is open."""
        return self.closing_pieces(-quantity if self.quantity > 0 else quantity)

    def absorb(self, leg: Leg, pieces: Sequence[Piece] = ()) -> Decimal:
        """Close `pieces` with `leg`, open a lot with its rest, and return the gross realized."""
        gross = ZERO
        if pieces:
            closing = leg.split_off(-sum((quantity for _, quantity in pieces), ZERO))
            for lot, quantity in pieces:
                gross += self._close(lot, quantity, closing)
            self.settle(leg.key, leg.order)
        if leg.quantity:
            self._open_lot(leg)
            self.settle(leg.key, leg.order)
        return gross

    def carry_out(self, piece: Piece, *, key: str, order: Order, target: str | None) -> Carry:
        """Let a piece of a lot leave at cost. Call `settle` after the last one."""
        lot, quantity = piece
        value, fees = self._release(lot, quantity, order[0])
        carry = Carry(lot.key, key, lot.cycle, quantity, value, fees, order[0], target)
        self.carries.append(carry)
        self.contribute(-value, -fees)
        return carry

    def carry_basis(self, spin_off: Conversion) -> list[Carry]:
        """Let a fraction of the basis of each of `open_lots` leave, in their order; lots stay."""
        carries = [self._carry_fraction(lot, spin_off) for lot in self.open_lots]
        self._open.reprice_all()
        self.settle(spin_off.key_out, spin_off.order)
        return carries

    def settle(self, key: str, order: Order) -> None:
        """Note that an event touched the open cycle, and end the cycle if it is flat."""
        cycle = self.cycle
        if cycle is None:
            return
        cycle.last_order = order
        cycle.last_key = key or cycle.last_key
        self._changed_cycles[cycle.number] = cycle
        if not cycle.quantity:
            cycle.closed_at = order[0]
            self.cycle = None

    def pay(self, key: str, value: Decimal, fees: Decimal, gross: Decimal) -> None:
        """Move the cash of a trade: its whole value, or only what it realized, and its fees."""
        cash = -value - fees if self._pays_value else gross - fees
        self.cash_by_key[key] = cash
        self.cash += cash

    def contribute(self, value: Decimal, fees: Decimal, gross: Decimal = ZERO) -> None:
        """Note basis that came in without cash (negative: left), and gross realized without it."""
        self.carried += value + fees if self._pays_value else fees - gross

    def miss(self, key: str, quantity: Decimal) -> None:
        """Note that `quantity` of a trade found nothing to close."""
        if quantity:
            self.unmatched.append((key, quantity))

    def _trade(self, fill: Fill, leg: Leg) -> None:
        value, fees = leg.value, leg.fees
        gross = self.absorb(leg, self.closing_pieces(leg.quantity, fill.lot_selection))
        if fill.kind in CASHLESS_KINDS:
            self.contribute(value, fees, gross)
        else:
            self.pay(fill.key, value, fees, gross)

    def _close_only(self, fill: Fill) -> None:
        """Book a trade that never opens; what finds nothing to close is kept as unmatched."""
        is_purchase = self.quantity < 0 if fill.side is None else buys(fill)
        quantity = fill.quantity if is_purchase else -fill.quantity
        pieces = self.closing_pieces(quantity, fill.lot_selection)
        if pieces and fill.kind in LEAVING_KINDS:
            self._leave(fill, pieces)
        elif pieces:
            self._expire(fill, pieces, Leg.of(fill, self.terms, buys=is_purchase))
        matched = sum((piece for _, piece in pieces), ZERO)
        self.miss(fill.key, fill.quantity - abs(matched))

    def _expire(self, fill: Fill, pieces: Sequence[Piece], leg: Leg) -> None:
        matched = leg.split_off(-sum((piece for _, piece in pieces), ZERO))
        value, fees = matched.value, matched.fees
        self.pay(fill.key, value, fees, self.absorb(matched, pieces))

    def _leave(self, fill: Fill, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self.carry_out(piece, key=fill.key, order=fill.order, target=None)
        self.settle(fill.key, fill.order)

    def _carry_fraction(self, lot: Lot, spin_off: Conversion) -> Carry:
        fraction, at = spin_off.basis_fraction, spin_off.executed_at
        value = booked_value(lot.value_remaining * fraction, "value")
        fees = booked_value(lot.fees_remaining * fraction, "fees")
        cycle = self._held()
        lot.value_remaining -= value
        lot.fees_remaining -= fees
        cycle.open_value -= value
        cycle.open_fees -= fees
        self._changed_lots[lot.key] = lot
        target = carried_key(spin_off.key_in, lot.key)
        carry = Carry(lot.key, spin_off.key_out, lot.cycle, ZERO, value, fees, at, target)
        self.carries.append(carry)
        self.contribute(-value, -fees)
        return carry

    def _split(self, split: Split) -> None:
        if self.cycle is None:
            return
        split_lots(self._open, self.cycle, Fraction(split.numerator, split.denominator))
        self._open.reprice_all()
        self._changed_lots.update((lot.key, lot) for lot in self._open)
        self.settle("", split.order)

    def _close(self, lot: Lot, quantity: Decimal, leg: Leg) -> Decimal:
        """Match a piece of a lot with a part of `leg` and return the gross realized."""
        order = leg.order
        open_value, open_fees = self._release(lot, quantity, order[0])
        leg_value, close_fees = leg.take(-quantity)
        close_value = -leg_value
        self.closures.append(
            Closure(
                lot.key,
                leg.key,
                lot.cycle,
                quantity,
                open_value,
                close_value,
                open_fees,
                close_fees,
                lot.acquired_at,
                order[0],
            )
        )
        gross = close_value - open_value
        cycle = self._held()
        cycle.realized_gross += gross
        cycle.realized_fees += open_fees + close_fees
        cycle.closed_quantity += quantity
        cycle.closed_value += close_value
        return gross

    def _release(self, lot: Lot, quantity: Decimal, at: datetime) -> tuple[Decimal, Decimal]:
        """Take a piece of an open lot and return the value and fees that it takes along."""
        cycle = self._held()
        if self._pools:
            value = share(cycle.open_value, quantity, cycle.quantity)
            fees = share(cycle.open_fees, quantity, cycle.quantity)
        else:
            value = share(lot.value_remaining, quantity, lot.quantity_remaining)
            fees = share(lot.fees_remaining, quantity, lot.quantity_remaining)
        cycle.quantity -= quantity
        cycle.open_value -= value
        cycle.open_fees -= fees
        lot.quantity_remaining -= quantity
        self._changed_lots[lot.key] = lot
        if lot.quantity_remaining:
            lot.value_remaining -= value
            lot.fees_remaining -= fees
            self._open.reprice(lot)
        else:
            self._retire(lot, at)
        return value, fees

    def _retire(self, lot: Lot, at: datetime) -> None:
        lot.value_remaining = lot.fees_remaining = ZERO
        lot.closed_at = at
        self._open.remove(lot)
        hand_over(lot, next(self._open.closing_order(), None))

    def _open_lot(self, leg: Leg) -> None:
        cycle = self.cycle or self._new_cycle(leg)
        lot = Lot(
            key=leg.lot_key,
            cycle=cycle.number,
            opening_key=leg.key,
            origin=leg.origin,
            acquired_at=leg.acquired_at,
            sequence=leg.sequence,
            opened_at=leg.order[0],
            quantity_opened=leg.quantity,
            quantity_remaining=leg.quantity,
            value_opened=leg.value,
            value_remaining=leg.value,
            fees_opened=leg.fees,
            fees_remaining=leg.fees,
            parent=leg.parent,
        )
        self._open.add(lot)
        self._known_lots[lot.key] = self._changed_lots[lot.key] = lot
        cycle.quantity += leg.quantity
        cycle.open_value += leg.value
        cycle.open_fees += leg.fees
        if abs(cycle.quantity) > cycle.peak_quantity:
            note_peak(cycle)

    def _new_cycle(self, leg: Leg) -> Cycle:
        self._last_number += 1
        self.cycle = Cycle(
            terms=self.terms,
            number=self._last_number,
            side=Side.BUY if leg.quantity > 0 else Side.SELL,
            opened_at=leg.order[0],
            opening_key=leg.key,
            last_key=leg.key,
            last_order=leg.order,
        )
        self._changed_cycles[self._last_number] = self.cycle
        return self.cycle

    def _held(self) -> Cycle:
        return cast("Cycle", self.cycle)  # where there is an open lot there is an open cycle

    def _selected(self, selection: Sequence[str], wanted: Decimal) -> Iterable[Lot]:
        """Return the named lots, each once, in the order of their names."""
        named: dict[str, Lot] = {}
        for name in selection:
            lot = self._open.get(name)
            found = [lot] if lot else [lot for lot in self._open if lot.opening_key == name]
            if not found:
                raise InvalidData("lot_selection", name, "name an open lot")
            named.update((lot.key, lot) for lot in found)
        available = sum((lot.quantity_remaining for lot in named.values()), ZERO)
        if not wanted or abs(available) < abs(wanted):
            rule = f"hold what is closed, {plain(abs(wanted))}; {plain(abs(available))} is open"
            raise InvalidData("lot_selection", ", ".join(selection), rule)
        return named.values()

    def _spread_pool(self) -> None:
        """Under the average method, show every open lot its share of the pool.

        The pool is the cycle's open value and fees, so a closing trade touches only the lots that
        it consumes; the lots' shares follow from the pool whenever somebody looks.
        """
        if not self._pools or self.cycle is None:
            return
        lots = tuple(self._open)
        weights = [lot.quantity_remaining for lot in lots]
        with exact():
            values = spread(self.cycle.open_value, weights)
            fees = spread(self.cycle.open_fees, weights)
        for lot, value, fee in zip(lots, values, fees, strict=True):
            if (lot.value_remaining, lot.fees_remaining) != (value, fee):
                lot.value_remaining, lot.fees_remaining = value, fee
                self._changed_lots[lot.key] = lot


def _pieces(lots: Iterable[Lot], wanted: Decimal) -> list[Piece]:
    """Take `wanted`, signed like the lots, from `lots` in their order."""
    pieces: list[Piece] = []
    consumed = iter(lots)
    while wanted:
        lot = next(consumed)  # callers want no more than the lots hold
        remaining = lot.quantity_remaining
        piece = wanted if abs(wanted) < abs(remaining) else remaining
        pieces.append((lot, piece))
        wanted -= piece
    return pieces


def _check_sums(cycle: Cycle | None, lots: Iterable[Lot]) -> None:
    """Refuse stored lots that are not the stored cycle's."""
    for field, remaining in (
        ("quantity", "quantity_remaining"),
        ("open_value", "value_remaining"),
        ("open_fees", "fees_remaining"),
    ):
        total = sum((getattr(lot, remaining) for lot in lots), ZERO)
        expected = getattr(cycle, field) if cycle else ZERO
        if total != expected:
            rule = f"be the sum of the open lots, {plain(total)}"
            raise InvalidData(field, plain(expected), rule)
