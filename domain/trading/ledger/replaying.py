"""Many books and whole histories: events in any arrival order become one state.

Sorting, dropping duplicates and finding the books of an event live here; the rules of booking
live in `domain.trading.ledger.book` and `domain.trading.ledger.carrying`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from domain.errors import ConflictingTrade, InvalidData
from domain.money import exact
from domain.trading.ledger.book import Book
from domain.trading.ledger.carrying import assign, convert
from domain.trading.ledger.events import Assignment, Conversion, Event, Fill, Split, Terms
from domain.trading.ledger.outcome import State
from domain.trading.terms import CashModel, CostBasisMethod

AnyEvent = TypeVar("AnyEvent", bound=Event)
AnyWord = TypeVar("AnyWord", bound=StrEnum)


class Ledger:
    """All books that events touch.

    Args:
        terms: How each book is reckoned, by position key: a mapping or a function.

    Attributes:
        books: The books so far, by position key. Put a resumed book in before applying events
            that touch it; a missing one starts empty.

    Example:
        >>> ledger = Ledger(lambda book: Terms())
        >>> ledger.books
        {}
    """

    def __init__(self, terms: Callable[[str], Terms] | Mapping[str, Terms]) -> None:
        self._terms = terms.__getitem__ if isinstance(terms, Mapping) else terms
        self.books: dict[str, Book] = {}

    def apply(self, event: Event) -> tuple[str, ...]:
        """Book the next event.

        Returns:
            The position keys of the books that it touched; none when it is a duplicate of the
            event that each of them booked last.

        Raises:
            InvalidData: It lies before the last event of one of its books (replay that key
                instead), or breaks a rule. All books are then unchanged.
        """
        with exact():
            return self._enter(event)

    def replay(self, events: Iterable[Event]) -> None:
        """Book events in their own order, however they arrive and however often.

        Raises:
            ConflictingTrade: Two events carry the same key and say different things.
            InvalidData: An event breaks a rule, or lies before what a book has booked already.
        """
        in_order = ordered(events)
        with exact():
            for event in in_order:
                self._enter(event)

    def _enter(self, event: Event) -> tuple[str, ...]:
        books = [self._book(key) for key in event.books]
        if not all(book.is_next(event.order) for book in books):
            return ()
        if isinstance(event, Conversion):
            convert(event, books[0], None if event.book_in is None else books[-1])
        elif isinstance(event, Assignment):
            assign(event, books[0], books[1])
        else:
            books[0].enter(event)
        for book in books:
            book.last_order = event.order
        return event.books

    def _book(self, key: str) -> Book:
        book = self.books.get(key)
        if book is None:
            book = self.books[key] = Book(self._terms(key))
        return book


def replay(
    fills: Iterable[Fill | Split],
    method: CostBasisMethod | str = CostBasisMethod.FIFO,
    *,
    multiplier: Decimal = Decimal(1),
    inverse: bool = False,
    cash_model: CashModel | str = CashModel.UPFRONT,
) -> State:
    """Return the state of one position key after all its trades and splits.

    Args:
        fills: Trades and splits in any order, duplicates allowed; they all count as one book.
        method: Which lots a closing trade consumes.
        multiplier: Units of the underlying per contract.
        inverse: Whether the contract is quoted in one currency and settled in the other.
        cash_model: Whether trades move their whole value in cash or profit and fees only.

    Raises:
        ConflictingTrade: Two trades carry the same key and say different things.
        InvalidData: A trade breaks a rule, or `method` or `cash_model` is unknown.
    """
    terms = Terms(
        method=_member(CostBasisMethod, method, "method"),
        multiplier=multiplier,
        inverse=inverse,
        cash_model=_member(CashModel, cash_model, "cash_model"),
    )
    book = Book(terms)
    in_order = ordered(fills)
    with exact():
        for event in in_order:
            book.enter(event)
    return book.state()


def ordered(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """Return the events by (executed_at, sequence, key), each once.

    Raises:
        ConflictingTrade: Two events carry the same key and say different things.
    """
    known: dict[tuple[object, ...], AnyEvent] = {}
    for event in events:
        first = known.setdefault(event.identity, event)
        if first is not event and first != event:
            raise ConflictingTrade(str(event.identity[-1]), _differences(first, event))
    return sorted(known.values(), key=lambda event: event.order)


def _differences(first: Event, second: Event) -> tuple[str, ...]:
    if type(first) is not type(second):
        return ("kind",)
    names = (field.name for field in fields(first))
    return tuple(name for name in names if getattr(first, name) != getattr(second, name))


def _member(vocabulary: type[AnyWord], word: str, field: str) -> AnyWord:
    try:
        return vocabulary(word)
    except ValueError:
        raise InvalidData(field, word, f"be one of {', '.join(vocabulary)}") from None
