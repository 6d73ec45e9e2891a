"""Cost basis methods: in which order a closing trade consumes the open lots.

Only the order lives here; what a piece of a lot is worth is said by `domain.trading.ledger.book`.
Lots are kept by acquisition (acquired_at, sequence, key), so a lot that a conversion brought
takes its place by its holding period and not by its arrival.
"""

from collections import OrderedDict
from collections.abc import Iterator
from decimal import Decimal
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, TypeAlias

from domain.money import CONTEXT
from domain.trading.ledger.events import Order
from domain.trading.ledger.lots import Lot
from domain.trading.terms import CostBasisMethod

_Ranked: TypeAlias = tuple[Decimal, Order, Lot]
_PRICED: Final = frozenset({CostBasisMethod.HIFO, CostBasisMethod.LOFO})


class OpenLots:
    """First in, first out. The average and the specific method take their default from here.

    Adding, taking the next lot and removing any lot are O(1): the ordered dict is a linked list,
    where the first key of a plain dict costs a walk over all that were deleted before it.
    """

    def __init__(self) -> None:
        self._lots: OrderedDict[str, Lot] = OrderedDict()
        self._is_sorted = True

    def __len__(self) -> int:
        return len(self._lots)

    def __iter__(self) -> Iterator[Lot]:
        """Yield the lots by acquisition, the oldest first."""
        return iter(self._sorted().values())

    def closing_order(self) -> Iterator[Lot]:
        """Yield the lots in the order in which a closing trade consumes them."""
        return iter(self)

    def get(self, key: str) -> Lot | None:
        """Return the open lot with this key."""
        return self._lots.get(key)

    def add(self, lot: Lot) -> None:
        """Put a new lot in its place."""
        lots = self._lots
        if lots and lots[next(reversed(lots))].order > lot.order:
            self._is_sorted = False
        lots[lot.key] = lot

    def remove(self, lot: Lot) -> None:
        """Take out a lot that was closed."""
        del self._lots[lot.key]

    def reprice(self, lot: Lot) -> None:
        """Note that a part of the lot was closed."""

    def reprice_all(self) -> None:
        """Note that quantities or values of all lots changed."""

    def _sorted(self) -> OrderedDict[str, Lot]:
        if not self._is_sorted:
            in_order = sorted(self._lots.values(), key=lambda lot: lot.order)
            self._lots = OrderedDict((lot.key, lot) for lot in in_order)
            self._is_sorted = True
        return self._lots


class LastInFirstOut(OpenLots):
    """The youngest lot is closed first."""

    def closing_order(self) -> Iterator[Lot]:
        """Yield the youngest lot first."""
        return reversed(self._sorted().values())


class PricedLots(OpenLots):
    """The lot with the highest (or lowest) opening price is closed first; among equals the oldest.

    A lot's rank is computed from its remaining value and quantity, never remembered from its
    opening: a book resumed from stored rows then ranks exactly like a replayed one.

    Args:
        highest_first: Highest first, else lowest first. The opening price counts, long or short.
    """

    def __init__(self, *, highest_first: bool) -> None:
        super().__init__()
        self._highest_first = highest_first
        self._heap: list[_Ranked] = []

    def closing_order(self) -> Iterator[Lot]:
        """Yield the lot with the extreme price first: a walk down the heap, O(k log k) for k."""
        heap = self._heap
        frontier = [(heap[0], 0)] if heap else []
        while frontier:
            (_, _, lot), index = heappop(frontier)
            yield lot
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(heap):
                    heappush(frontier, (heap[child], child))

    def add(self, lot: Lot) -> None:
        """Put a new lot in its place by price."""
        super().add(lot)
        heappush(self._heap, self._ranked(lot))

    def remove(self, lot: Lot) -> None:
        """Take out a lot that was closed."""
        super().remove(lot)
        heappop(self._heap)  # lots are consumed in closing order, so it is the first one

    def reprice(self, lot: Lot) -> None:
        """Rank the first lot anew after a part of it was closed."""
        heapreplace(self._heap, self._ranked(lot))

    def reprice_all(self) -> None:
        """Rank all lots anew."""
        self._heap = [self._ranked(lot) for lot in self]
        heapify(self._heap)

    def _ranked(self, lot: Lot) -> _Ranked:
        unit_value = CONTEXT.divide(lot.value_remaining, lot.quantity_remaining)
        return (-unit_value if self._highest_first else unit_value, lot.order, lot)


def lots_closed_by(method: CostBasisMethod) -> OpenLots:
    """Return an empty collection of open lots that closes in the order of `method`."""
    if method == CostBasisMethod.LIFO:
        return LastInFirstOut()
    if method in _PRICED:
        return PricedLots(highest_first=method == CostBasisMethod.HIFO)
    return OpenLots()
