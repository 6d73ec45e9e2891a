"""What a broker file says, once it is read: the hand-over between the parsers and the booking.

A record carries everything that its row states and nothing that a database would have to answer.
Amounts are Decimals inside the stored range, instants are aware UTC. Order (`sequence`) and
identity (`dedupe_key`, `link_key`) come from the content of a row, never from its place in the
file: a shuffled file, or its halves in two imports, give the same records.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Self, TypeAlias

from domain.errors import InvalidData
from domain.market.terms import InstrumentKind, OptionType
from domain.trading.terms import CashKind, PositionEffect, Side, TradeKind

EXCERPT_LENGTH: Final = 80


@dataclass(frozen=True, slots=True)
class OptionTerms:
    """The contract of an option.

    Attributes:
        root: OCC root, 1-6 characters, or the symbol of a future for options on futures.
        expiration: The last day of trading.
        option_type: Call or put.
        strike: Price per unit of the underlying.
        underlying: Symbol of what is delivered.
    """

    root: str
    expiration: date
    option_type: OptionType
    strike: Decimal
    underlying: str


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """An instrument as a file names it.

    Attributes:
        kind: What it is.
        symbol: The broker's symbol; for options the OCC symbol, 21 characters.
        currency: Currency of its prices.
        multiplier: Units of the underlying that a price unit stands for; 1 for shares.
        name: Name of the issuer, where the file has one.
        isin: 12 characters, where the file has one.
        option: The terms, for options and options on futures.
    """

    kind: InstrumentKind
    symbol: str
    currency: str
    multiplier: Decimal = Decimal(1)
    name: str | None = None
    isin: str | None = None
    option: OptionTerms | None = None


@dataclass(frozen=True, slots=True)
class ParsedTrade:
    """One execution, or another event that changes a position.

    Attributes:
        line: Physical line of the file on which the row begins, from 1.
        instrument: What was traded.
        kind: What made the trade happen.
        side: Direction; None only for an expiration whose row does not say.
        quantity: Units or contracts, positive.
        price: Per unit, as the broker states it: informative beside `gross_amount`.
        gross_amount: Value of the unsigned quantity, signed like the price: positive for a buy
            that costs and for a sell that brings money, negative the other way round.
        commission: Positive is a cost, negative a rebate.
        fees: Exchange and regulatory fees; the same signs.
        currency: Currency of `gross_amount`, and of the fees unless `fee_currency` is given.
        executed_at: Aware UTC.
        sequence: Order among the trades of one instant, 0 to 2^63 - 1.
        dedupe_key: The broker's id, else the row's hash with "#" and an ordinal.
        external_id: The broker's id of this row, which a `ParsedBust` refers to.
        position_effect: Whether the row says that it opens or closes.
        link_key: The same text on every row of one event (assignment, conversion), in any file.
        description: The file's text.
        raw: The row as it came, without its empty cells.
        fee_currency: Currency of `commission` and `fees` when it is not `currency`.
        fees_settled: `commission` + `fees` in `currency`, when `fee_currency` is another.
    """

    line: int
    instrument: InstrumentSpec
    kind: TradeKind
    side: Side | None
    quantity: Decimal
    price: Decimal
    gross_amount: Decimal
    commission: Decimal
    fees: Decimal
    currency: str
    executed_at: datetime
    sequence: int
    dedupe_key: str
    external_id: str | None = None
    position_effect: PositionEffect | None = None
    link_key: str | None = None
    description: str | None = None
    raw: Mapping[str, str] = field(default_factory=dict)
    fee_currency: str | None = None
    fees_settled: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ParsedCash:
    """Cash that came or went without a trade.

    Attributes:
        line: Physical line of the file on which the row begins, from 1.
        kind: Why it moved.
        amount: Signed: positive came in.
        currency: Currency of the amount.
        effective_at: Aware UTC.
        instrument: What paid it, for dividends, borrowing and the like.
        dedupe_key: The broker's id, else the row's hash with "#" and an ordinal.
        external_id: The broker's id.
        description: The file's text.
        raw: The row as it came, without its empty cells.
    """

    line: int
    kind: CashKind
    amount: Decimal
    currency: str
    effective_at: datetime
    dedupe_key: str
    instrument: InstrumentSpec | None = None
    external_id: str | None = None
    description: str | None = None
    raw: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParsedBust:
    """A broker's cancellation: the trade it names never was.

    Attributes:
        line: Physical line of the file on which the row begins, from 1.
        external_id: `ParsedTrade.external_id` of the cancelled trade. IBKR files without
            origTransactionID whose original is in another file give its trade id, which is in
            ``raw["tradeID"]`` of the original.
        dedupe_key: Key of the cancellation itself.
        executed_at: Aware UTC.
        commission: What the cancellation itself charges (+) or refunds (-). The original's
            commission stays paid except for what is refunded here.
        currency: Currency of `commission`.
        raw: The row as it came, without its empty cells.
    """

    line: int
    external_id: str
    dedupe_key: str
    executed_at: datetime
    commission: Decimal = Decimal(0)
    currency: str | None = None
    raw: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParsedSplit:
    """A split that the broker reports as one row: only the change of the quantity.

    Attributes:
        line: Physical line of the file on which the row begins, from 1.
        instrument: What was split.
        numerator: New units, positive: 4 in "4 for 1".
        denominator: Old units, positive.
        quantity_change: Signed change of the signed position.
        executed_at: Aware UTC.
        sequence: Order among the events of one instant.
        dedupe_key: The broker's id, else the row's hash with "#" and an ordinal.
        external_id: The broker's id.
        description: The file's text.
        raw: The row as it came, without its empty cells.
    """

    line: int
    instrument: InstrumentSpec
    numerator: int
    denominator: int
    quantity_change: Decimal
    executed_at: datetime
    sequence: int
    dedupe_key: str
    external_id: str | None = None
    description: str | None = None
    raw: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that was refused, and why.

    Attributes:
        line: Physical line of the file on which the row begins, from 1.
        column: The column or attribute that breaks the rule; "row" when it is the row itself.
        value: What stood there, cut to 80 characters, unprintable characters escaped.
        rule: The rule in words, to be read after "must".
    """

    line: int
    column: str
    value: str
    rule: str

    @classmethod
    def because(cls, line: int, error: InvalidData) -> Self:
        """Return the refusal of the row at `line` for the reason that `error` gives."""
        return cls(line, error.field, excerpt(error.value), error.rule)


Record: TypeAlias = ParsedTrade | ParsedCash | ParsedBust | ParsedSplit


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """Everything that one file says.

    Attributes:
        source: Name of the format, as in `domain.trading.importing.formats.FORMATS`.
        rows_total: Data rows of the file: each is exactly one record or one refused row.
        trades: In ledger order: instant, sequence, dedupe key.
        cash: By instant and dedupe key.
        busts: By instant and dedupe key.
        rejected: By line.
        splits: By instant and dedupe key.
        accounts: The account numbers that the file names, sorted.

    Raises:
        InvalidData: The rows do not add up: a parser lost one.
    """

    source: str
    rows_total: int
    trades: tuple[ParsedTrade, ...] = ()
    cash: tuple[ParsedCash, ...] = ()
    busts: tuple[ParsedBust, ...] = ()
    rejected: tuple[RejectedRow, ...] = ()
    splits: tuple[ParsedSplit, ...] = ()
    accounts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parts = (self.trades, self.cash, self.busts, self.splits, self.rejected)
        if self.rows_total != sum(map(len, parts)):
            raise InvalidData("rows_total", self.rows_total, "equal the records and refused rows")


Parser: TypeAlias = Callable[[bytes], ParsedFile]


def excerpt(value: object) -> str:
    """Return `value` as one short printable line, safe to show in a report or a terminal.

    Example:
        >>> excerpt("2019-13-45"), len(excerpt("a" * 1000))
        ('2019-13-45', 80)
    """
    text = value if isinstance(value, str) else str(value)
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:EXCERPT_LENGTH])
    is_whole = len(text) <= EXCERPT_LENGTH and len(shown) <= EXCERPT_LENGTH
    return shown if is_whole else f"{shown[: EXCERPT_LENGTH - 1]}…"
