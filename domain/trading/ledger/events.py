"""What can happen to a position: the ledger's input, checked at construction and never changed.

Every event knows its `order` and the `books` it touches. Applying events is the business of
`domain.trading.ledger.book` (one position key) and `domain.trading.ledger.replaying` (many).
"""

from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final, TypeAlias

from domain.errors import InvalidData
from domain.money import QUANTUM, checked
from domain.trading.terms import CashModel, CostBasisMethod, Side, TradeKind

Order: TypeAlias = tuple[datetime, int, str]
"""When an event happened: (executed_at, sequence, key). Arrival plays no part."""

CASHLESS_KINDS: Final = frozenset(
    {
        TradeKind.TRANSFER_IN,
        TradeKind.TRANSFER_OUT,
        TradeKind.OPENING_BALANCE,
        TradeKind.CONVERSION_IN,
        TradeKind.CONVERSION_OUT,
    }
)
"""Trades that move no cash, neither value nor fees: their cost was paid before or elsewhere."""

LEAVING_KINDS: Final = frozenset({TradeKind.TRANSFER_OUT, TradeKind.CONVERSION_OUT})
"""Trades whose lots leave at cost: nothing is realized, price and fees are only information."""

ONLY_CLOSING_KINDS: Final = LEAVING_KINDS | {TradeKind.EXPIRATION}
"""Trades that never open a position; what finds nothing to close is kept as unmatched."""

_ZERO: Final = Decimal(0)
_SIDES: Final = frozenset(Side)
_KINDS: Final = frozenset(TradeKind) - {TradeKind.BUST}
_STORED: Final = Context(prec=38, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])


@dataclass(frozen=True, slots=True)
class Terms:
    """How one book is reckoned.

    Args:
        method: Which lots a closing trade consumes.
        multiplier: Units of the underlying per contract, 1 for shares; positive.
        inverse: The contract is quoted in one currency and settled in the other, so its value
            is -quantity * multiplier / price in the settlement currency.
        cash_model: Whether a trade moves its whole value in cash or only profit and fees.

    Raises:
        InvalidData: `multiplier` is not positive or outside the stored range.
    """

    method: CostBasisMethod = CostBasisMethod.FIFO
    multiplier: Decimal = Decimal(1)
    inverse: bool = False
    cash_model: CashModel = CashModel.UPFRONT

    def __post_init__(self) -> None:
        if _keep(self, "multiplier") <= 0:
            raise InvalidData("multiplier", str(self.multiplier), "be positive")


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, or another event that is booked like one.

    Args:
        key: Identifies the trade in its book: tie-break of the order and reference for closures.
        side: Direction. None only for an expiration, which closes whatever is open.
        quantity: Traded quantity, unsigned, in contracts or shares; positive.
        price: Price per unit of the underlying; may be zero or negative (spreads, oil in 2020).
        fees: Commissions and fees, positive when paid, negative for a rebate.
        executed_at: Aware instant of the execution.
        sequence: Order among trades of the same instant, as the broker numbers them.
        kind: What made the trade happen. A bust is never booked: leave the busted trade out.
        gross_amount: Value of the unsigned quantity as the broker states it, positive for a
            positive price; wins over price * quantity * multiplier, which the broker rounds.
        lot_selection: With method specific: the lots to close, by lot key or by the key of the
            trade that opened them, in the order of consumption.
        book: The position key: portfolio, instrument, strategy and reference in one text.

    Raises:
        InvalidData: A number is outside the stored range or a float, `quantity` is not positive,
            `side` is missing, `executed_at` is naive, or `kind` cannot be booked.
    """

    key: str
    side: Side | None
    quantity: Decimal
    price: Decimal
    _: KW_ONLY
    executed_at: datetime
    fees: Decimal = _ZERO
    sequence: int = 0
    kind: TradeKind = TradeKind.FILL
    gross_amount: Decimal | None = None
    lot_selection: tuple[str, ...] = ()
    book: str = ""

    def __post_init__(self) -> None:
        if not self.key:
            raise InvalidData("key", self.key, "not be empty")
        if _keep(self, "quantity") <= 0:
            raise InvalidData("quantity", str(self.quantity), "be positive")
        _keep(self, "price")
        _keep(self, "fees")
        if self.gross_amount is not None:
            _keep(self, "gross_amount")
        if self.kind not in _KINDS:
            raise InvalidData("kind", self.kind, "be one that can be booked")
        if self.side not in _SIDES and (self.side, self.kind) != (None, TradeKind.EXPIRATION):
            raise InvalidData("side", self.side, "be buy or sell; only an expiration has none")
        aware(self.executed_at)

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for the same trade, however often it arrives."""
        return (self.book, self.key)

    @property
    def order(self) -> Order:
        """The place of this event in the stream."""
        return (self.executed_at, self.sequence, self.key)

    @property
    def books(self) -> tuple[str, ...]:
        """The one position key that this event touches."""
        return (self.book,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """`denominator` old units become `numerator` new ones; no value changes.

    Args:
        executed_at: Aware instant from which the new units count.
        numerator: New units, a positive integer: 4 for Apple's 4:1 of 2020.
        denominator: Old units, a positive integer.
        book: The position key.
        sequence: Order among events of the same instant.
        key: Tie-break; empty sorts before the trades of the same instant and sequence.

    Raises:
        InvalidData: The ratio is not one of positive integers, or `executed_at` is naive.
    """

    executed_at: datetime
    numerator: int
    denominator: int
    book: str = ""
    sequence: int = 0
    key: str = ""

    def __post_init__(self) -> None:
        for field in ("numerator", "denominator"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                raise InvalidData(field, value, "be a positive integer")
        aware(self.executed_at)

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for the same split, however often it arrives."""
        return (self.book, self.order)

    @property
    def order(self) -> Order:
        """The place of this event in the stream."""
        return (self.executed_at, self.sequence, self.key)

    @property
    def books(self) -> tuple[str, ...]:
        """The one position key that this event touches."""
        return (self.book,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Lots move between books with their basis, fees and acquisition dates; nothing is realized.

    Symbol change, merger, spin-off, a split that the broker booked as two rows, an option that
    is adjusted in place (`book_in` is `book_out`), a transfer out (`book_in` is None).

    A spin-off has `quantity_out` 0: every open lot gives `basis_fraction` of its value and fees
    to a new lot, and `quantity_in` is spread over them by quantity.

    Args:
        key_out: Key of the outgoing trade; may be empty for a spin-off.
        key_in: Key of the incoming trade; empty when `book_in` is None.
        book_out: The position key that the lots leave.
        book_in: The position key that they enter, or None when they leave the portfolio.
        quantity_out: Unsigned quantity that leaves; the direction is that of the open lots.
        quantity_in: Unsigned quantity that arrives for it; ignored when `book_in` is None.
        executed_at: Aware instant of the conversion.
        sequence: Order among events of the same instant.
        basis_fraction: The part of the basis that moves in a spin-off, 0 to 1; 1 otherwise.

    Raises:
        InvalidData: A quantity, the fraction or the combination of them makes no sense.
    """

    key_out: str
    key_in: str
    book_out: str
    book_in: str | None
    quantity_out: Decimal
    quantity_in: Decimal
    executed_at: datetime
    sequence: int = 0
    basis_fraction: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if _keep(self, "quantity_out") < 0:
            raise InvalidData("quantity_out", str(self.quantity_out), "not be negative")
        _keep(self, "quantity_in")
        if self.book_in is not None and self.quantity_in <= 0:
            raise InvalidData("quantity_in", str(self.quantity_in), "be positive")
        if self.book_in is None and self.is_spin_off:
            raise InvalidData("book_in", None, "name the book that a spin-off's lots enter")
        if not 0 <= _keep(self, "basis_fraction") <= 1:
            raise InvalidData("basis_fraction", str(self.basis_fraction), "lie between 0 and 1")
        if self.basis_fraction != 1 and not self.is_spin_off:
            raise InvalidData("basis_fraction", str(self.basis_fraction), "be 1 when lots leave")
        aware(self.executed_at)

    @property
    def is_spin_off(self) -> bool:
        """Whether only basis leaves and the old lots stay."""
        return not self.quantity_out

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for the same conversion, however often it arrives."""
        return (self.book_out, self.book_in, self.key_out, self.key_in)

    @property
    def order(self) -> Order:
        """The place of this event in the stream."""
        return (self.executed_at, self.sequence, f"{self.key_out}>{self.key_in}")

    @property
    def books(self) -> tuple[str, ...]:
        """The position keys that this event touches, each once."""
        if self.book_in is None or self.book_in == self.book_out:
            return (self.book_out,)
        return (self.book_out, self.book_in)


@dataclass(frozen=True, slots=True)
class Assignment:
    """An assigned or exercised option whose premium moves into the underlying's basis.

    This is policy roll_into_underlying. The option's lots leave at cost, and their open value
    and fees, with the fees of the option's own closing trade, are added to the stock trade.
    Under policy separate send the two fills instead.

    Args:
        option: The trade that closes the option, normally at price 0.
        stock: The trade in the underlying at the strike.

    Source: IRS Publication 550, "Puts and Calls": the premium adjusts the basis or the amount
        realized of the underlying.
    """

    option: Fill
    stock: Fill

    def __post_init__(self) -> None:
        if self.option.side is None:
            raise InvalidData("option.side", None, "be buy or sell")
        if self.option.book == self.stock.book:
            raise InvalidData("stock.book", self.stock.book, "differ from the option's")

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for the same assignment, however often it arrives."""
        return self.option.identity

    @property
    def order(self) -> Order:
        """The place of this event in the stream: that of the stock trade."""
        return self.stock.order

    @property
    def books(self) -> tuple[str, ...]:
        """The position keys of the option and of the underlying."""
        return (self.option.book, self.stock.book)


Event: TypeAlias = Fill | Split | Conversion | Assignment


def stored(value: Decimal, field: str) -> Decimal:
    """Return `value` if it lies inside the stored range: `domain.money.checked`, made for speed.

    Raises:
        InvalidData: Not a Decimal or an int, NaN, infinite, more than 18 decimals, or 10^20 and
            above.
    """
    try:
        if type(value) is Decimal and value.quantize(QUANTUM, None, _STORED) == value:
            return value
    except InvalidOperation:
        pass  # checked() says which rule is broken
    return checked(value, field)


def booked_value(value: Decimal, field: str) -> Decimal:
    """Round a computed `value` half-even to 18 decimals.

    Raises:
        InvalidData: The value is 10^20 or above.
    """
    try:
        return value.quantize(QUANTUM, None, _STORED)
    except InvalidOperation:
        raise InvalidData(field, str(value), "be smaller than 10^20") from None


def _keep(event: object, field: str) -> Decimal:
    """Check a number of a frozen event; an int becomes the Decimal that it means."""
    given = getattr(event, field)
    number = stored(given, field)
    if number is not given:
        object.__setattr__(event, field, number)
    return number


def aware(instant: datetime) -> None:
    """Refuse a naive time.

    Raises:
        InvalidData: `instant` carries no time zone.
    """
    if instant.tzinfo is None:
        raise InvalidData("executed_at", instant.isoformat(), "carry a time zone")
