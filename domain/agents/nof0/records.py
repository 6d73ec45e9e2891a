"""What nof0's files say, checked and in our units: times UTC, amounts Decimal. Pure.

`domain.agents.nof0.reading` makes them, `domain.agents.nof0.importing` books them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.agents.conversing import NewMessage
from domain.trading.terms import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An agent: its id and its name for people."""

    slug: str
    display_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price in dollars at an instant."""

    symbol: str
    price: Decimal
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What opened a position.

    Args:
        model: The agent.
        symbol: The coin.
        side: What the opening trade was: buy for a long position.
        quantity: Units, positive.
        price: Dollars a unit.
        time: When.
        commission: Paid to open, dollars.
        oid: The venue's order id.
        leverage: Chosen leverage.
        confidence: The agent's, 0 to 1.
        raw: The file's object; decimals as text.
    """

    model: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    time: datetime
    commission: Decimal
    oid: str | None
    leverage: Decimal | None
    confidence: Decimal | None
    raw: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """nof0's trade: an entry and what closed it.

    Args:
        id: nof0's id of the round trip.
        entry: What opened it.
        price: Exit price, dollars a unit.
        time: When it was closed.
        commission: Paid to close, dollars.
        oid: The venue's order id of the exit.
        gross: Profit before fees, as the file says.
        net: Profit after fees, as the file says: the venue's closed profit.
    """

    id: str
    entry: Entry
    price: Decimal
    time: datetime
    commission: Decimal
    oid: str | None
    gross: Decimal
    net: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """An open position with what is known of it beyond its entry."""

    entry: Entry
    current_price: Decimal | None
    liquidation_price: Decimal | None
    margin: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """An equity snapshot, dollars."""

    model: str
    time: datetime
    equity: Decimal
    realized: Decimal | None
    unrealized: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Inception:
    """When a model began, and with how much."""

    model: str
    time: datetime
    capital: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A payload of analytics."""

    model: str
    payload: Mapping[str, Any]
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A conversation."""

    model: str
    messages: tuple[NewMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a set of files says about one model's equity.

    Args:
        inception: When it began; None when the files do not say.
        totals: Its equity snapshots.
        entered_at: When its round trips were opened.
    """

    inception: Inception | None
    totals: Sequence[Total]
    entered_at: Sequence[datetime]


@dataclass(slots=True, kw_only=True)
class Archive:
    """Everything that a set of files says.

    Args:
        models: By id, from every file that names one.
        prices: Newest prices.
        trips: Round trips.
        positions: Open positions, by model; a model that is listed with none has none.
        totals: Equity snapshots.
        inceptions: By model.
        analyses: The newest of each model.
        talks: In the files' order.
        ignored: Names of files that are none of nof0's.
    """

    models: dict[str, Model] = field(default_factory=dict)
    prices: list[Price] = field(default_factory=list)
    trips: list[RoundTrip] = field(default_factory=list)
    positions: dict[str, list[OpenPosition]] = field(default_factory=dict)
    totals: list[Total] = field(default_factory=list)
    inceptions: dict[str, Inception] = field(default_factory=dict)
    analyses: dict[str, Analysis] = field(default_factory=dict)
    talks: list[Talk] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def of(self, model: str) -> History:
        """Return what concerns the equity of one model."""
        return History(
            inception=self.inceptions.get(model),
            totals=[total for total in self.totals if total.model == model],
            entered_at=[trip.entry.time for trip in self.trips if trip.entry.model == model],
        )
