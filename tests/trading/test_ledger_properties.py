"""The ledger's invariants, over generated histories."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from domain.errors import InvalidData
from domain.money import QUANTUM, exact
from domain.trading.ledger import (
    CASHLESS_KINDS,
    Book,
    Event,
    Fill,
    Ledger,
    Split,
    State,
    Terms,
    ordered,
    signed_value,
)
from domain.trading.terms import CashModel, CostBasisMethod, Side
from tests.trading.histories import (
    BOOKS,
    CRYPTO,
    METHODS,
    SHARES,
    ZERO,
    Store,
    all_terms,
    booked_singly,
    decimals,
    histories,
    linear_terms,
    minute,
    portfolios,
    trades,
)

LONG_METHODS = (CostBasisMethod.FIFO, CostBasisMethod.LIFO)


def state_of(events: Iterable[Fill | Split], terms: Terms) -> State:
    ledger = Ledger(lambda _: terms)
    ledger.replay(replace(event, book="") for event in events)
    return ledger.books[""].state() if ledger.books else Book(terms).state()


def states_of(events: Iterable[Event], terms: Terms) -> dict[str, State]:
    ledger = Ledger(lambda _: terms)
    ledger.replay(events)
    return {name: book.state() for name, book in ledger.books.items()}


def signed(fill: Fill) -> Decimal:
    return fill.quantity if fill.side == Side.BUY else -fill.quantity


def total(amounts: Iterable[Decimal]) -> Decimal:
    with exact():
        return sum(amounts, ZERO)


def possible(events: Iterable[Event], terms: Terms) -> dict[str, State]:
    """Replay, unless the history asks for less than 18 decimals can hold."""
    try:
        return states_of(events, terms)
    except InvalidData as error:
        assume(error.field not in {"split", "quantity_in"})
        raise


@given(trades(), all_terms())
def test_the_signed_trades_sum_to_the_position(fills: list[Fill], terms: Terms) -> None:
    assert state_of(fills, terms).quantity == total(map(signed, fills))


@given(histories(), all_terms())
def test_lots_of_one_sign_sum_to_the_position(events: list[Fill | Split], terms: Terms) -> None:
    state = possible(events, terms).get("") or Book(terms).state()
    open_lots = [lot for lot in state.lots if lot.closed_at is None]
    assert total(lot.quantity_remaining for lot in open_lots) == state.quantity
    assert total(lot.value_remaining for lot in open_lots) == state.open_value
    assert total(lot.fees_remaining for lot in open_lots) == state.open_fees
    assert len({lot.quantity_remaining > 0 for lot in open_lots}) <= 1
    assert all(lot.quantity_remaining for lot in open_lots)
    for lot in state.lots:
        assert abs(lot.quantity_opened) >= abs(lot.quantity_remaining)
        if lot.closed_at is not None:
            assert lot.quantity_remaining == lot.value_remaining == lot.fees_remaining == 0


@given(histories(), all_terms())
def test_fees_paid_are_fees_released_and_fees_open(
    events: list[Fill | Split], terms: Terms
) -> None:
    state = possible(events, terms).get("") or Book(terms).state()
    paid = total(event.fees for event in events if isinstance(event, Fill))
    assert paid == total([state.realized_fees, state.open_fees])
    assert state.realized_fees == total(
        fee for closure in state.closures for fee in (closure.open_fees, closure.close_fees)
    )


@given(histories(), all_terms())
def test_gross_is_the_sum_of_the_closures(events: list[Fill | Split], terms: Terms) -> None:
    state = possible(events, terms).get("") or Book(terms).state()
    assert state.realized_gross == total(closure.gross for closure in state.closures)
    assert state.realized_net == total(closure.net for closure in state.closures)
    for cycle in state.cycles:
        own = [closure for closure in state.closures if closure.cycle == cycle.number]
        assert cycle.realized_gross == total(closure.gross for closure in own)
        assert cycle.closed_value == total(closure.close_value for closure in own)


@given(trades(), all_terms())
def test_a_lot_opened_what_is_left_and_what_was_closed(fills: list[Fill], terms: Terms) -> None:
    state = state_of(fills, terms)
    for lot in state.lots:
        own = [closure for closure in state.closures if closure.lot_key == lot.key]
        closed = total(closure.quantity for closure in own)
        assert lot.quantity_opened == total([lot.quantity_remaining, closed])
        if terms.method != CostBasisMethod.AVERAGE:  # which moves value between lots
            value = total(closure.open_value for closure in own)
            assert lot.value_opened == total([lot.value_remaining, value])


@given(portfolios(), linear_terms())
def test_cash_is_what_was_realized_less_what_is_invested(events: list[Event], terms: Terms) -> None:
    for state in possible(events, terms).values():
        invested = state.open_value if terms.cash_model == CashModel.UPFRONT else ZERO
        with exact():
            assert state.cash == (state.realized_net - invested - state.open_fees + state.carried)
        assert state.cash == total(state.cash_by_key.values())


@given(portfolios(), linear_terms())
def test_what_leaves_a_book_at_cost_arrives_in_another_or_leaves_the_portfolio(
    events: list[Event], terms: Terms
) -> None:
    paid = [e for e in events if not isinstance(e, Fill) or e.kind not in CASHLESS_KINDS]
    states = possible(paid, replace(terms, cash_model=CashModel.UPFRONT)).values()
    gone = total(
        amount
        for state in states
        for carry in state.carries
        if carry.target is None
        for amount in (carry.value, carry.fees)
    )
    assert total(state.carried for state in states) == -gone


@given(portfolios(), linear_terms())
def test_no_event_leaves_lots_of_both_signs_or_an_unbalanced_book(
    events: list[Event], terms: Terms
) -> None:
    for state in possible(events, terms).values():
        open_lots = [lot for lot in state.lots if lot.closed_at is None]
        assert total(lot.quantity_remaining for lot in open_lots) == state.quantity
        assert total(lot.value_remaining for lot in open_lots) == state.open_value
        assert total(lot.fees_remaining for lot in open_lots) == state.open_fees
        assert len({lot.quantity_remaining > 0 for lot in open_lots}) <= 1
        assert len({lot.key for lot in state.lots}) == len(state.lots)
        assert [cycle.number for cycle in state.cycles] == [*range(1, len(state.cycles) + 1)]
        assert all((cycle.closed_at is None) is bool(cycle.quantity) for cycle in state.cycles)


@given(portfolios(), linear_terms(), st.data())
def test_any_arrival_order_and_any_duplication_give_the_identical_state(
    events: list[Event], terms: Terms, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    arrivals = data.draw(st.permutations([*events, *again]))
    expected = possible(events, terms)
    assert states_of(arrivals, terms) == expected


@given(trades(grain=SHARES), st.sampled_from([Decimal(1), Decimal(100)]))
def test_at_flat_gross_does_not_depend_on_the_method(
    fills: list[Fill], multiplier: Decimal
) -> None:
    flat = [*fills, *_closing(fills)]
    grosses = {state_of(flat, Terms(method, multiplier)).realized_gross for method in METHODS}
    assert len(grosses) == 1


@given(trades(), all_terms())
def test_gross_less_open_value_never_depends_on_the_method(fills: list[Fill], terms: Terms) -> None:
    differences = set()
    for method in METHODS:
        state = state_of(fills, replace(terms, method=method))
        differences.add(total([state.realized_gross, -state.open_value]))
    assert len(differences) == 1


@given(trades(), all_terms(LONG_METHODS), decimals("0.01", "300", 2))
def test_cash_and_mark_equal_realized_and_unrealized(
    fills: list[Fill], terms: Terms, price: Decimal
) -> None:
    terms = replace(terms, cash_model=CashModel.UPFRONT)
    state = state_of(fills, terms)
    with exact():
        value = signed_value(terms, state.quantity, price).quantize(QUANTUM)
        unrealized = value - state.open_value - state.open_fees
        assert state.cash + value == state.realized_net + unrealized


@given(
    histories(), all_terms((CostBasisMethod.FIFO, CostBasisMethod.LIFO, CostBasisMethod.AVERAGE))
)
def test_mirrored_sides_mirror_gross_and_position(events: list[Fill | Split], terms: Terms) -> None:
    mirrored = [
        replace(event, side=Side.SELL if event.side == Side.BUY else Side.BUY)
        if isinstance(event, Fill)
        else event
        for event in events
    ]
    state = possible(events, terms).get("") or Book(terms).state()
    mirror = possible(mirrored, terms).get("") or Book(terms).state()
    assert mirror.realized_gross == -state.realized_gross
    assert mirror.quantity == -state.quantity
    assert mirror.open_value == -state.open_value
    assert mirror.realized_fees == state.realized_fees
    assert mirror.entry_price == state.entry_price


@given(trades(), all_terms(), decimals("0.01", "300", 2), st.integers(1, 50))
def test_a_flip_equals_a_close_and_an_open(
    fills: list[Fill], terms: Terms, price: Decimal, excess: int
) -> None:
    held = state_of(fills, terms).quantity
    assume(held)
    side = Side.SELL if held > 0 else Side.BUY
    with exact():
        flip = Fill("u", side, abs(held) + excess, price, fees=Decimal(3), executed_at=minute(10))
        closing_fees = (3 * abs(held) / flip.quantity).quantize(QUANTUM)
        whole = abs(signed_value(terms, flip.quantity, price)).quantize(QUANTUM)
        closing_gross = (whole * abs(held) / flip.quantity).quantize(QUANTUM)
        close = replace(flip, quantity=abs(held), fees=closing_fees, gross_amount=closing_gross)
        opening = replace(
            flip,
            key="v",
            quantity=Decimal(excess),
            fees=3 - closing_fees,
            gross_amount=whole - closing_gross,
        )
    flipped = state_of([*fills, flip], terms)
    stepwise = state_of([*fills, close, opening], terms)
    for name in ("quantity", "open_value", "open_fees", "realized_gross", "realized_fees", "cash"):
        assert getattr(flipped, name) == getattr(stepwise, name)
    assert [c.realized_gross for c in flipped.cycles] == [c.realized_gross for c in stepwise.cycles]


@given(trades(), all_terms(), st.integers(1, 20), st.integers(1, 20))
def test_a_split_changes_no_value_gross_or_cash(
    fills: list[Fill], terms: Terms, new: int, old: int
) -> None:
    before = state_of(fills, terms)
    one = Split(executed_at=minute(10), numerator=new, denominator=old)
    after = possible([*fills, one], terms).get("") or Book(terms).state()
    for name in ("open_value", "open_fees", "realized_gross", "realized_fees", "cash", "closures"):
        assert getattr(after, name) == getattr(before, name)
    if terms.method != CostBasisMethod.AVERAGE:  # where lots share a pool by what is shown
        assert [lot.value_remaining for lot in after.lots] == [
            lot.value_remaining for lot in before.lots
        ]
    exact_quantity = Fraction(before.quantity) * new / old
    assert abs(Fraction(after.quantity) - exact_quantity) <= Fraction(QUANTUM) / 2


@given(trades(), all_terms(), st.integers(1, 20), st.integers(1, 20))
def test_a_split_and_its_opposite_restore_every_quantity(
    fills: list[Fill], terms: Terms, new: int, old: int
) -> None:
    before = state_of(fills, terms)
    there = Split(executed_at=minute(10), numerator=new, denominator=old)
    back = Split(executed_at=minute(11), numerator=old, denominator=new)
    after = possible([*fills, there, back], terms).get("") or Book(terms).state()
    assert after.lots == before.lots
    assert after.quantity == before.quantity
    assert [(c.peak_quantity, c.closed_quantity, c.residue) for c in after.cycles] == [
        (c.peak_quantity, c.closed_quantity, c.residue) for c in before.cycles
    ]


@given(trades(), all_terms(), st.data())
def test_a_busted_trade_never_was(fills: list[Fill], terms: Terms, data: st.DataObject) -> None:
    assume(fills)
    bust = data.draw(st.sampled_from(fills))
    rest = [fill for fill in fills if fill is not bust]
    after = state_of(rest, terms)
    assert all(bust.key not in (c.closing_key, c.lot_key) for c in after.closures)
    assert all(bust.key != lot.key for lot in after.lots)
    assert bust.key not in after.cash_by_key
    assert state_of([*rest, bust], terms) == state_of(fills, terms)


@given(portfolios(), st.lists(linear_terms(), min_size=3, max_size=3))
def test_booking_each_event_from_stored_rows_equals_the_replay_of_all_facts(
    events: list[Event], terms: list[Terms]
) -> None:
    one_model = [replace(each, cash_model=terms[0].cash_model) for each in terms]
    by_book = dict(zip(BOOKS, one_model, strict=True))
    ledger = Ledger(by_book)
    try:
        ledger.replay(events)
    except InvalidData as error:
        assume(error.field != "quantity_in")
        raise
    stores = booked_singly(ordered(events), by_book)
    for name, book in ledger.books.items():
        assert_stored(stores[name], book)


@given(histories(), all_terms())
def test_booking_between_splits_from_stored_rows_equals_the_replay(
    events: list[Fill | Split], terms: Terms
) -> None:
    ledger = Ledger({"": terms})
    try:
        ledger.replay(events)
    except InvalidData as error:
        assume(error.field != "split")
        raise
    stores = booked_singly(events, {"": terms})
    for book in ledger.books.values():
        assert_stored(stores[""], book)


@given(trades(grain=CRYPTO), all_terms())
def test_eighteen_decimals_lose_nothing(fills: list[Fill], terms: Terms) -> None:
    terms = replace(terms, cash_model=CashModel.UPFRONT)
    flat = [*fills, *_closing(fills)]
    state = state_of(flat, terms)
    assert state.quantity == state.open_value == state.open_fees == 0
    assert state.realized_net == state.cash
    for lot in state.lots:
        for amount in (lot.value_opened, lot.fees_opened, lot.quantity_opened):
            assert amount == amount.quantize(QUANTUM)


@given(
    trades(grain=SHARES),
    st.sampled_from(
        [CostBasisMethod.FIFO, CostBasisMethod.LIFO, CostBasisMethod.HIFO, CostBasisMethod.LOFO]
    ),
    st.sampled_from([Decimal(1), Decimal(100)]),
)
def test_gross_is_that_of_matching_share_by_share(
    fills: list[Fill], method: CostBasisMethod, multiplier: Decimal
) -> None:
    whole = [replace(fill, quantity=Decimal(int(fill.quantity) or 1)) for fill in fills]
    gross = _gross_share_by_share(whole, method) * Fraction(multiplier)
    assert Fraction(state_of(whole, Terms(method, multiplier)).realized_gross) == gross


@given(trades(grain=SHARES))
def test_average_gross_is_that_of_one_pool(fills: list[Fill]) -> None:
    quantity = cost = gross = Fraction(0)
    for fill in fills:
        step, price = Fraction(signed(fill)), Fraction(fill.price)
        closing = Fraction(0)
        if quantity * step < 0:
            closing = min(abs(step), abs(quantity)) * (1 if quantity > 0 else -1)
            average = cost / quantity
            gross += closing * (price - average)
            cost -= closing * average
            quantity -= closing
        quantity += step + closing
        cost += (step + closing) * price
    state = state_of(fills, Terms(CostBasisMethod.AVERAGE))
    tolerance = Fraction(QUANTUM) * max(len(state.closures), 1)
    assert abs(Fraction(state.realized_gross) - gross) <= tolerance
    assert abs(Fraction(state.open_value) - cost) <= tolerance


@given(trades(grain=SHARES))
def test_inverse_gross_is_that_of_reciprocal_prices(fills: list[Fill]) -> None:
    contracts: list[tuple[int, Fraction]] = []
    gross = Fraction(0)
    for fill in fills:
        direction, coins = (1 if fill.side == Side.BUY else -1), 1 / Fraction(fill.price)
        for _ in range(int(fill.quantity) or 1):
            if contracts and contracts[0][0] != direction:
                opened, opened_at = contracts.pop(0)
                gross += opened * (opened_at - coins)
            else:
                contracts.append((direction, coins))
    whole = [replace(fill, quantity=Decimal(int(fill.quantity) or 1)) for fill in fills]
    state = state_of(whole, Terms(inverse=True))
    tolerance = Fraction(QUANTUM) * (len(fills) + len(state.closures))
    assert abs(Fraction(state.realized_gross) - gross) <= tolerance


def _closing(fills: Sequence[Fill]) -> list[Fill]:
    """Return the trade that makes the position flat, if it is not."""
    held = total(map(signed, fills))
    if not held:
        return []
    side = Side.SELL if held > 0 else Side.BUY
    with exact():
        return [Fill("z", side, abs(held), Decimal("101.5"), executed_at=minute(10))]


def _gross_share_by_share(fills: Sequence[Fill], method: CostBasisMethod) -> Fraction:
    """Match single shares by linear search: slow, and nothing like the ledger."""
    held: list[tuple[int, Fraction]] = []
    gross = Fraction(0)
    for fill in fills:
        direction, price = (1 if fill.side == Side.BUY else -1), Fraction(fill.price)
        for _ in range(int(fill.quantity)):
            if not held or held[0][0] == direction:
                held.append((direction, price))
                continue
            prices = [bought for _, bought in held]
            place = {
                CostBasisMethod.FIFO: 0,
                CostBasisMethod.LIFO: len(held) - 1,
                CostBasisMethod.HIFO: prices.index(max(prices)),
                CostBasisMethod.LOFO: prices.index(min(prices)),
            }[method]
            opened, bought = held.pop(place)
            gross += opened * (price - bought)
    return gross


def assert_stored(store: Store, book: Book) -> None:
    """Compare stored rows with a replayed book."""
    state = book.state()
    assert list(store.cycles.values()) == list(state.cycles)
    assert list(store.lots.values()) == list(state.lots)
    assert store.closures == list(state.closures)
    assert store.carries == list(state.carries)
    assert store.cash == state.cash_by_key
    assert store.unmatched == list(state.unmatched)
