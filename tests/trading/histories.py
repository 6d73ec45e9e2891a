"""Trading histories: short words for examples, and Hypothesis strategies for properties."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from domain.trading.ledger import (
    Assignment,
    Book,
    Closure,
    Conversion,
    Cycle,
    Event,
    Fill,
    Ledger,
    Lot,
    Order,
    Split,
    Terms,
    parse_residue,
    residue_text,
)
from domain.trading.terms import CashModel, CostBasisMethod, Side, TradeKind

OPENING_BELL = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
METHODS = tuple(CostBasisMethod)
BOOKS = ("GE", "GEHC", "GE 240621C00150000")
ZERO = Decimal(0)


def minute(number: int) -> datetime:
    """Return a minute after the opening bell."""
    return OPENING_BELL + timedelta(minutes=number)


def fill(key: str, side: Side | None, quantity: str, price: str, **more: Any) -> Fill:
    """Return a trade; `at` is the minute after the opening bell."""
    fees = Decimal(more.pop("fees", "0"))
    gross = more.pop("gross_amount", None)
    return Fill(
        key,
        side,
        Decimal(quantity),
        Decimal(price),
        fees=fees,
        executed_at=minute(more.pop("at", 0)),
        gross_amount=None if gross is None else Decimal(gross),
        **more,
    )


def buy(key: str, quantity: str, price: str, **more: Any) -> Fill:
    """Return a purchase."""
    return fill(key, Side.BUY, quantity, price, **more)


def sell(key: str, quantity: str, price: str, **more: Any) -> Fill:
    """Return a sale."""
    return fill(key, Side.SELL, quantity, price, **more)


def split(ratio: str, *, at: int, **more: Any) -> Split:
    """Return a split, `ratio` written as ``new:old``."""
    new, old = ratio.split(":")
    return Split(executed_at=minute(at), numerator=int(new), denominator=int(old), **more)


@dataclass
class Store:
    """The tables of one key, as a database would keep them between two bookings."""

    terms: Terms
    cycles: dict[int, Cycle] = field(default_factory=dict)
    lots: dict[str, Lot] = field(default_factory=dict)
    closures: list[Closure] = field(default_factory=list)
    carries: list[Any] = field(default_factory=list)
    cash: dict[str, Decimal] = field(default_factory=dict)
    unmatched: list[Any] = field(default_factory=list)
    last_order: Order | None = None

    def resume(self) -> Book:
        """Return the book as a database would hand it back: latest cycle, open lots, any order."""
        latest = self.cycles[max(self.cycles)] if self.cycles else None
        open_lots = [lot for lot in self.lots.values() if lot.closed_at is None]
        return Book.resume(
            self.terms, cycle=latest, open_lots=reversed(open_lots), last_order=self.last_order
        )

    def write(self, book: Book) -> None:
        """Keep what the book reports as changed, and nothing else."""
        changes = book.changes()
        self.cycles |= {cycle.number: _stored(cycle) for cycle in changes.cycles}
        self.lots |= {lot.key: _stored(lot) for lot in changes.lots}
        self.closures += changes.closures
        self.carries += changes.carries
        self.cash |= changes.cash_by_key
        self.unmatched += changes.unmatched
        self.last_order = book.last_order


def _stored(row: Any) -> Any:
    """Return a copy whose residue went through its text."""
    return replace(row, residue=parse_residue(residue_text(row.residue)))


def booked_singly(events: Iterable[Event], terms: dict[str, Terms]) -> dict[str, Store]:
    """Book event by event, each time from stored rows, and return what is stored."""
    stores = {name: Store(book_terms) for name, book_terms in terms.items()}
    for event in events:
        ledger = Ledger(terms)
        ledger.books |= {name: stores[name].resume() for name in event.books}
        ledger.apply(event)
        for name in event.books:
            stores[name].write(ledger.books[name])
    return stores


def decimals(smallest: str, largest: str, places: int) -> st.SearchStrategy[Decimal]:
    """Return exact decimals with up to `places` decimals."""
    step = Decimal(1).scaleb(-places)
    low, high = int(Decimal(smallest) / step), int(Decimal(largest) / step)
    return st.integers(low, high).map(lambda number: Decimal(number).scaleb(-places))


@dataclass(frozen=True)
class Grain:
    """How fine the numbers of a history are."""

    quantity: int = 0
    price: int = 2
    fees: int = 2


SHARES = Grain()
CRYPTO = Grain(quantity=18, price=8, fees=18)

grains = st.sampled_from([SHARES, Grain(quantity=4), CRYPTO])


def quantities(grain: Grain) -> st.SearchStrategy[Decimal]:
    """Return positive quantities, small ones often so that positions get flat."""
    fine = decimals("0", "40", grain.quantity).filter(bool)
    return st.integers(1, 12).map(Decimal) | fine


@st.composite
def trades(
    draw: st.DrawFn,
    *,
    grain: Grain | None = None,
    books: Sequence[str] = ("",),
    max_size: int = 24,
) -> list[Fill]:
    """Return trades with distinct keys, in order, with many ties in time."""
    grain = draw(grains) if grain is None else grain
    one = st.tuples(
        st.sampled_from(list(Side)),
        quantities(grain),
        decimals("0.01", "300", grain.price),
        decimals("-1", "5", grain.fees) | st.just(ZERO),
        st.integers(0, 9),
        st.integers(0, 1),
        st.sampled_from(books),
    )
    drawn = draw(st.lists(one, max_size=max_size))
    made = [
        Fill(
            f"t{number:02}",
            side,
            quantity,
            price,
            fees=fees,
            executed_at=minute(at),
            sequence=sequence,
            book=book,
        )
        for number, (side, quantity, price, fees, at, sequence, book) in enumerate(drawn)
    ]
    return sorted(made, key=lambda trade: trade.order)


@st.composite
def histories(draw: st.DrawFn) -> list[Fill | Split]:
    """Return trades with splits between them, in order."""
    events: list[Fill | Split] = [*draw(trades())]
    ratios = st.sampled_from([(4, 1), (1, 3), (3, 1), (3, 2), (1, 7), (10, 1)])
    for (new, old), at in draw(st.lists(st.tuples(ratios, st.integers(0, 9)), max_size=3)):
        one = Split(executed_at=minute(at), numerator=new, denominator=old, sequence=-1)
        if one.order not in {event.order for event in events}:
            events.append(one)
    return sorted(events, key=lambda event: event.order)


def all_terms(methods: Sequence[CostBasisMethod] = METHODS) -> st.SearchStrategy[Terms]:
    """Return how a book of futures, shares or inverse contracts is reckoned."""
    return _terms(methods, inverse=st.booleans())


def linear_terms() -> st.SearchStrategy[Terms]:
    """Return how a book is reckoned in which a price may be zero."""
    return _terms(METHODS, inverse=st.just(value=False))


def _terms(
    methods: Sequence[CostBasisMethod], inverse: st.SearchStrategy[bool]
) -> st.SearchStrategy[Terms]:
    return st.builds(
        Terms,
        method=st.sampled_from(methods),
        multiplier=st.sampled_from([Decimal(1), Decimal(100), Decimal("0.001")]),
        inverse=inverse,
        cash_model=st.sampled_from(list(CashModel)),
    )


@st.composite
def portfolios(draw: st.DrawFn) -> list[Event]:
    """Return events over three books of one portfolio, conversions and assignments included."""
    events: list[Event] = [*draw(trades(books=BOOKS))]
    makers = st.lists(
        st.one_of(_conversions(), _spin_offs(), _departures(), _assignments(), _endings()),
        max_size=5,
    )
    for number, make in enumerate(draw(makers)):
        events.append(make(f"x{number}"))
    return sorted(events, key=lambda event: event.order)


@st.composite
def _conversions(draw: st.DrawFn) -> Any:
    source, target = draw(st.sampled_from(BOOKS)), draw(st.sampled_from(BOOKS))
    given, taken = draw(quantities(SHARES)), draw(quantities(SHARES))
    at = draw(st.integers(0, 9))
    return lambda key: Conversion(
        key_out=f"{key}-out",
        key_in=f"{key}-in",
        book_out=source,
        book_in=target,
        quantity_out=given,
        quantity_in=taken,
        executed_at=minute(at),
    )


@st.composite
def _spin_offs(draw: st.DrawFn) -> Any:
    fraction, quantity = draw(decimals("0", "1", 4)), draw(quantities(SHARES))
    at = draw(st.integers(0, 9))
    return lambda key: Conversion(
        key_out="",
        key_in=f"{key}-in",
        book_out=BOOKS[0],
        book_in=BOOKS[1],
        quantity_out=ZERO,
        quantity_in=quantity,
        executed_at=minute(at),
        basis_fraction=fraction,
    )


@st.composite
def _departures(draw: st.DrawFn) -> Any:
    book, quantity = draw(st.sampled_from(BOOKS)), draw(quantities(SHARES))
    at = draw(st.integers(0, 9))
    return lambda key: Conversion(
        key_out=f"{key}-out",
        key_in="",
        book_out=book,
        book_in=None,
        quantity_out=quantity,
        quantity_in=ZERO,
        executed_at=minute(at),
    )


@st.composite
def _assignments(draw: st.DrawFn) -> Any:
    side, quantity = draw(st.sampled_from(list(Side))), draw(quantities(SHARES))
    stock_side, at = draw(st.sampled_from(list(Side))), draw(st.integers(0, 9))

    def make(key: str) -> Assignment:
        kind = TradeKind.ASSIGNMENT
        return Assignment(
            option=fill(f"{key}-o", side, f"{quantity}", "0", at=at, kind=kind, book=BOOKS[2]),
            stock=fill(
                f"{key}-s", stock_side, "100", "150", fees="5", at=at, kind=kind, book=BOOKS[0]
            ),
        )

    return make


@st.composite
def _endings(draw: st.DrawFn) -> Any:
    kind, side = draw(
        st.sampled_from(
            [
                (TradeKind.EXPIRATION, None),
                (TradeKind.EXPIRATION, Side.BUY),
                (TradeKind.TRANSFER_OUT, Side.SELL),
                (TradeKind.TRANSFER_IN, Side.BUY),
                (TradeKind.OPENING_BALANCE, Side.SELL),
            ]
        )
    )
    quantity, at = draw(quantities(SHARES)), draw(st.integers(0, 9))
    return lambda key: fill(
        key, side, f"{quantity}", "1.5", fees="0.07", at=at, kind=kind, book=BOOKS[2]
    )
