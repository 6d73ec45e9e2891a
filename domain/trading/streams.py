"""Stored trades and corporate actions become the ledger's events. Reads rows, asks nothing."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from domain.market.models import CorporateAction, Instrument
from domain.market.terms import CorporateActionKind, InstrumentKind
from domain.trading.keys import BookKey
from domain.trading.ledger import Assignment, Conversion, Event, Fill, Split, Terms
from domain.trading.models import Portfolio, Trade
from domain.trading.terms import AssignmentPolicy, CashModel, TradeKind

ROLLED_KINDS: Final = frozenset({TradeKind.ASSIGNMENT, TradeKind.EXERCISE})
CONVERSION_LINK: Final = "conversion|"
"""How the link keys of both legs of a conversion begin, whatever files they come in."""
CONVERSION_KINDS: Final = frozenset({TradeKind.CONVERSION_OUT, TradeKind.CONVERSION_IN})
RESCALING: Final = frozenset(
    {
        CorporateActionKind.SPLIT,
        CorporateActionKind.REVERSE_SPLIT,
        CorporateActionKind.STOCK_DIVIDEND,
    }
)
_SPLIT_TOLERANCE: Final = timedelta(days=4)
_OURS: Final = "corporate_action"
_OPTIONS: Final = frozenset({InstrumentKind.OPTION, InstrumentKind.FUTURE_OPTION})


def ledger_key(trade: Trade) -> str:
    """Return the trade's key in its book: unique in the portfolio, the same after re-import."""
    return f"{trade.dedupe_key}@{trade.source}"


def terms_of(portfolio: Portfolio, instrument: Instrument) -> Terms:
    """Return how a book of `instrument` is reckoned in `portfolio`."""
    return Terms(
        method=portfolio.cost_basis_method,
        multiplier=instrument.multiplier,
        inverse=instrument.is_inverse,
        cash_model=CashModel(instrument.cash_model),
    )


def fill_of(trade: Trade) -> Fill:
    """Return the trade as the ledger books it."""
    return Fill(
        ledger_key(trade),
        trade.side,
        trade.quantity,
        trade.price,
        fees=trade.fees_settled,
        executed_at=trade.executed_at,
        sequence=trade.sequence,
        kind=trade.kind,
        gross_amount=trade.gross_amount,
        lot_selection=tuple(trade.lot_selection),
        book=BookKey.of(trade).book,
    )


def splits_of(
    actions: Iterable[CorporateAction], key: BookKey, trades: Iterable[Trade]
) -> Iterator[Split]:
    """Yield the splits of the key's instrument that the broker has not booked itself.

    A broker that books a split as a pair of rows has rescaled the lots already.
    """
    booked = [
        trade.executed_at
        for trade in trades
        if trade.kind is TradeKind.CONVERSION_OUT
        and trade.source != _OURS
        and BookKey.of(trade) == key
    ]
    for action in actions:
        if action.instrument_id != key.instrument_id or action.kind not in RESCALING:
            continue
        is_booked = any(abs(action.effective_at - at) < _SPLIT_TOLERANCE for at in booked)
        if not is_booked and action.numerator and action.denominator:
            yield Split(
                executed_at=action.effective_at,
                numerator=action.numerator,
                denominator=action.denominator,
                book=key.book,
            )


@dataclass(slots=True)
class Stream:
    """All facts of some position keys, as events.

    Args:
        portfolio: Whose policies apply.
        trades: Booked trades of the keys.
        actions: Splits and spin-offs of their instruments.
        instruments: The instruments of the trades, by id.
    """

    portfolio: Portfolio
    trades: Sequence[Trade]
    actions: Sequence[CorporateAction]
    instruments: Mapping[UUID, Instrument]
    _linked: Mapping[str, list[Trade]] = field(init=False)

    def __post_init__(self) -> None:
        linked: defaultdict[str, list[Trade]] = defaultdict(list)
        for trade in self.trades:
            if trade.link_key is not None:
                linked[trade.link_key].append(trade)
        self._linked = linked

    def events(self) -> Iterator[Event]:
        """Yield every event once, in no particular order; the ledger sorts."""
        absorbed: set[UUID] = set()
        for trades in self._linked.values():
            for event, members in self._joint(trades):
                absorbed.update(trade.id for trade in members)
                yield event
        for trade in self.trades:
            if trade.id not in absorbed:
                # The other leg may come with a later file; until then this one stands alone.
                yield fill_of(trade)
        for key in {BookKey.of(trade) for trade in self.trades}:
            yield from splits_of(self.actions, key, self.trades)

    def _joint(self, trades: Sequence[Trade]) -> Iterator[tuple[Event, Sequence[Trade]]]:
        leaving = [trade for trade in trades if _leaves(trade)]
        arriving = [trade for trade in trades if _arrives(trade)]
        for out, into in zip(leaving, arriving, strict=False):
            yield _conversion(out, into), (out, into)
        if not leaving:
            yield from self._spin_offs(arriving)
        if self.portfolio.assignment_policy is AssignmentPolicy.ROLL_INTO_UNDERLYING:
            yield from self._assignments(trades)

    def _spin_offs(self, arriving: Sequence[Trade]) -> Iterator[tuple[Event, Sequence[Trade]]]:
        for into in arriving:
            for action in self.actions:
                if into.link_key == spin_off_link(action, into):
                    yield _spin_off(action, into), (into,)

    def _assignments(self, trades: Sequence[Trade]) -> Iterator[tuple[Event, Sequence[Trade]]]:
        options = [trade for trade in trades if self._is_option(trade)]
        stocks = [trade for trade in trades if not self._is_option(trade)]
        for option, stock in zip(options, stocks, strict=False):
            if option.kind in ROLLED_KINDS:
                yield Assignment(fill_of(option), fill_of(stock)), (option, stock)

    def _is_option(self, trade: Trade) -> bool:
        return self.instruments[trade.instrument_id].kind in _OPTIONS


def is_conversion(trade: Trade) -> bool:
    """Return whether the trade is, or may turn out to be, a leg of a conversion.

    A leg whose opposite comes with another file was booked for what it looks like alone, with
    the link key of both.
    """
    if trade.link_key is None:
        return False
    return trade.kind in CONVERSION_KINDS or trade.link_key.startswith(CONVERSION_LINK)


def _leaves(trade: Trade) -> bool:
    alone = is_conversion(trade) and trade.kind is TradeKind.CASH_SETTLEMENT
    return alone or trade.kind is TradeKind.CONVERSION_OUT


def _arrives(trade: Trade) -> bool:
    alone = is_conversion(trade) and trade.kind in {TradeKind.FILL, TradeKind.TRANSFER_IN}
    return alone or trade.kind is TradeKind.CONVERSION_IN


def spin_off_link(action: CorporateAction, of: Trade | BookKey) -> str:
    """Return the link key that ties a spin-off's incoming trade to its action."""
    return f"spin_off:{action.id}:{of.strategy or ''}:{of.position_ref or ''}"


def _spin_off(action: CorporateAction, into: Trade) -> Conversion:
    parent = BookKey.of(into)._replace(instrument_id=action.instrument_id)
    return Conversion(
        key_out="",
        key_in=ledger_key(into),
        book_out=parent.book,
        book_in=BookKey.of(into).book,
        quantity_out=Decimal(0),
        quantity_in=into.quantity,
        executed_at=into.executed_at,
        sequence=into.sequence,
        basis_fraction=action.basis_fraction or Decimal(0),
    )


def _conversion(out: Trade, into: Trade) -> Conversion:
    return Conversion(
        key_out=ledger_key(out),
        key_in=ledger_key(into),
        book_out=BookKey.of(out).book,
        book_in=BookKey.of(into).book,
        quantity_out=out.quantity,
        quantity_in=into.quantity,
        executed_at=out.executed_at,
        sequence=out.sequence,
    )
