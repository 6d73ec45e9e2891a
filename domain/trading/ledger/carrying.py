"""Events that span two books: lots move at cost, and nothing is realized by the move itself.

Where carried lots meet a position in the opposite direction they close it at their own basis,
because a book never holds lots of both signs.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from domain.errors import InvalidData
from domain.trading.ledger.book import Book, Piece
from domain.trading.ledger.events import Assignment, Conversion
from domain.trading.ledger.legs import Leg, buys
from domain.trading.ledger.lots import ZERO, Carry, Lot, LotOrigin, carried_key
from domain.trading.ledger.splits import share, spread


def convert(conversion: Conversion, source: Book, target: Book | None) -> None:
    """Move lots from `source` to `target`, or out of the portfolio when that is None.

    Runs inside `domain.money.exact()`.

    Raises:
        InvalidData: The books pay cash differently, or a lot would shrink below 18 decimals.
            Both books are then unchanged.
    """
    if target is None:
        _carry_away(conversion, source)
        return
    _check_cash_models(source, target)
    if conversion.is_spin_off:
        _spin_off(conversion, source, target)
    else:
        _replace(conversion, source, target)


def assign(assignment: Assignment, options: Book, stocks: Book) -> None:
    """Close the option at cost and move its premium and fees into the stock trade.

    Runs inside `domain.money.exact()`.

    Raises:
        InvalidData: The books pay cash differently, or a leg breaks a rule. Both books are then
            unchanged.
    """
    _check_cash_models(options, stocks)
    option, stock, order = assignment.option, assignment.stock, assignment.order
    option_leg = Leg.of(option, options.terms, buys=buys(option))
    stock_leg = Leg.of(stock, stocks.terms, buys=buys(stock))
    closed = options.closing_pieces(option_leg.quantity, option.lot_selection)
    pieces = stocks.closing_pieces(stock_leg.quantity, stock.lot_selection)

    carries = [
        options.carry_out(piece, key=option.key, order=order, target=stock.key) for piece in closed
    ]
    options.miss(option.key, option.quantity - _unsigned(closed))
    options.pay(option.key, option_leg.value, option_leg.fees, ZERO)
    options.contribute(-option_leg.value, -option_leg.fees)
    options.settle(option.key, order)

    premium = option_leg.value + sum((carry.value for carry in carries), ZERO)
    fees = option_leg.fees + sum((carry.fees for carry in carries), ZERO)
    value, own_fees = stock_leg.value, stock_leg.fees
    stock_leg.value += premium
    stock_leg.fees += fees
    gross = stocks.absorb(stock_leg, pieces)
    stocks.pay(stock.key, value, own_fees, gross)
    stocks.contribute(premium, fees)


def _carry_away(conversion: Conversion, source: Book) -> None:
    pieces = source.held_pieces(conversion.quantity_out)
    source.miss(conversion.key_out, conversion.quantity_out - _unsigned(pieces))
    for piece in pieces:
        source.carry_out(piece, key=conversion.key_out, order=conversion.order, target=None)
    source.settle(conversion.key_out, conversion.order)


def _replace(conversion: Conversion, source: Book, target: Book) -> None:
    """Let lots leave whole and arrive as new ones; what is not open is unmatched on both sides."""
    pieces = source.held_pieces(conversion.quantity_out)
    matched = _unsigned(pieces)
    arriving = share(conversion.quantity_in, matched, conversion.quantity_out)
    quantities = _arrivals(conversion, arriving, [quantity for _, quantity in pieces])
    source.miss(conversion.key_out, conversion.quantity_out - matched)
    target.miss(conversion.key_in, conversion.quantity_in - arriving)
    legs = []
    for piece, quantity in zip(pieces, quantities, strict=True):
        name = carried_key(conversion.key_in, piece[0].key)
        order = conversion.order
        carry = source.carry_out(piece, key=conversion.key_out, order=order, target=name)
        legs.append(_carried_leg(conversion, piece[0], carry, quantity))
    if source is not target:
        source.settle(conversion.key_out, conversion.order)
    _bring(legs, target)


def _spin_off(conversion: Conversion, source: Book, target: Book) -> None:
    """Let a fraction of the basis leave and arrive as new lots; the old lots stay."""
    lots = source.open_lots
    if not lots:
        target.miss(conversion.key_in, conversion.quantity_in)
        return
    weights = [lot.quantity_remaining for lot in lots]
    quantities = _arrivals(conversion, conversion.quantity_in, weights)
    carries = source.carry_basis(conversion)
    _bring(
        [
            _carried_leg(conversion, lot, carry, quantity)
            for lot, carry, quantity in zip(lots, carries, quantities, strict=True)
        ],
        target,
    )


def _arrivals(
    conversion: Conversion, arriving: Decimal, weights: Sequence[Decimal]
) -> list[Decimal]:
    """Spread the unsigned `arriving` over the lots' signed quantities, in the lots' direction."""
    is_short = bool(weights) and weights[0] < 0
    quantities = spread(-arriving if is_short else arriving, weights)
    if not all(quantities):
        rule = "give every lot at least 1E-18"
        raise InvalidData("quantity_in", str(conversion.quantity_in), rule)
    return quantities


def _carried_leg(conversion: Conversion, lot: Lot, carry: Carry, quantity: Decimal) -> Leg:
    return Leg(
        conversion.key_in,
        carried_key(conversion.key_in, lot.key),
        conversion.order,
        quantity,
        carry.value,
        carry.fees,
        lot.acquired_at,
        lot.sequence,
        LotOrigin.CONVERSION,
        lot.key,
    )


def _bring(legs: Iterable[Leg], target: Book) -> None:
    for leg in legs:
        value, fees = leg.value, leg.fees
        gross = target.absorb(leg, target.closing_pieces(leg.quantity))
        target.contribute(value, fees, gross)


def _check_cash_models(source: Book, target: Book) -> None:
    """Refuse to carry a value that was paid into a book where values are never paid."""
    if source.terms.cash_model != target.terms.cash_model:
        raise InvalidData("cash_model", target.terms.cash_model, "be the same in both books")


def _unsigned(pieces: Iterable[Piece]) -> Decimal:
    return abs(sum((quantity for _, quantity in pieces), ZERO))
