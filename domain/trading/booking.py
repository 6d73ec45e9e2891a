"""The desk: locks keys, inserts trades, and brings their projections up to date.

A key whose new trades all come after what it has seen is continued from its stored rows. A late
trade, a correction or a linked event replays the key from all its facts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Executable,
    Select,
    Text,
    any_,
    exists,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import aliased

from domain.db.bulk import insert_new, none_of
from domain.db.unit import UnitOfWork
from domain.errors import ConflictingTrade
from domain.market.models import CorporateAction, Instrument
from domain.market.repositories import CorporateActionRepository
from domain.trading.cash import settle
from domain.trading.keys import BookKey
from domain.trading.ledger import Book, Ledger, Order
from domain.trading.models import LotClosure, Portfolio, Position, Trade, TradeStatus
from domain.trading.projection import (
    Owner,
    Saved,
    clear,
    last_order,
    latest_position,
    resume,
    save,
)
from domain.trading.streams import (
    CONVERSION_KINDS,
    CONVERSION_LINK,
    ROLLED_KINDS,
    Stream,
    fill_of,
    is_conversion,
    ledger_key,
    terms_of,
)
from domain.trading.terms import AssignmentPolicy, TradeKind

_DEDUPE_KEY: Final = ("user_id", "portfolio_id", "source", "dedupe_key")
_ECONOMICS: Final = (
    "instrument_id",
    "side",
    "quantity",
    "price",
    "gross_amount",
    "fees_settled",
    "currency",
    "executed_at",
    "strategy",
    "position_ref",
)
# The instrument's lock is shared: many keys book at once, a split registers alone.
_LOCK: Final = text(
    "SELECT CASE WHEN shared THEN pg_advisory_xact_lock_shared(hashtextextended(name, 0))"
    " ELSE pg_advisory_xact_lock(hashtextextended(name, 0)) END"
    " FROM (SELECT name, shared FROM unnest(CAST(:names AS text[]), CAST(:shared AS boolean[]))"
    " AS wanted (name, shared) ORDER BY shared DESC, name) AS sorted"
)


Identity = tuple[str, str]
"""Source and dedupe key: what makes two rows the same trade."""


@dataclass(slots=True)
class Outcome:
    """What the desk did.

    Args:
        trades: The stored trade of each identity, duplicates as first booked.
        new_ids: Which of them are new.
        conflicts: Identities that were given or booked with other economics, and the fields.
        positions: The newest cycle of each key that changed.
        closures: Closures written now.
    """

    trades: dict[Identity, Trade] = field(default_factory=dict)
    new_ids: frozenset[UUID] = frozenset()
    conflicts: dict[Identity, tuple[str, ...]] = field(default_factory=dict)
    positions: dict[BookKey, Position] = field(default_factory=dict)
    closures: list[LotClosure] = field(default_factory=list)

    def require_no_conflict(self) -> None:
        """Refuse the whole booking when any trade contradicts another.

        Raises:
            ConflictingTrade: For the first of them.
        """
        for (_, dedupe_key), fields in self.conflicts.items():
            raise ConflictingTrade(dedupe_key, fields)

    def add(self, key: BookKey, saved: Saved) -> None:
        """Take in what was saved for `key`."""
        self.closures.extend(saved.closures)
        for position in saved.positions:
            known = self.positions.get(key)
            if known is None or known.cycle < position.cycle:
                self.positions[key] = position


class Desk:
    """Books into one portfolio inside one unit.

    Args:
        unit: An open READ COMMITTED transaction.
        portfolio: Where to book.
    """

    def __init__(self, unit: UnitOfWork, portfolio: Portfolio) -> None:
        self.unit = unit
        self.portfolio = portfolio
        self._instruments: dict[UUID, Instrument] = {}

    async def book(
        self, rows: Sequence[dict[str, Any]], instruments: Mapping[UUID, Instrument]
    ) -> Outcome:
        """Insert the trades that are new and update the projections of their keys.

        Trades that contradict each other or what is booked are left out and reported.
        """
        self._instruments.update(instruments)
        outcome = Outcome()
        unique = _without_repetition(rows, outcome.conflicts)
        if not unique:
            return outcome
        await self.lock(_keys_of(unique))
        inserted = await insert_new(
            self.unit.session, Trade, unique, key=_DEDUPE_KEY, where=text("status <> 'reverted'")
        )
        outcome.trades = {(trade.source, trade.dedupe_key): trade for trade in inserted}
        outcome.new_ids = frozenset(trade.id for trade in inserted)
        if len(inserted) < len(unique):
            await self._take_duplicates(unique, outcome)
        await self._project(inserted, outcome)
        return outcome

    async def lock(self, keys: Iterable[BookKey]) -> None:
        """Take the locks of `keys`, sorted, so that two batches cannot wait for each other."""
        keys = set(keys)
        names = [key.book for key in keys]
        shared = [f"instrument|{item}" for item in {key.instrument_id for key in keys}]
        flags = [False] * len(names) + [True] * len(shared)
        await self.unit.session.execute(_LOCK, {"names": names + shared, "shared": flags})

    async def position(self, key: BookKey) -> Position | None:
        """Return the newest cycle of `key`."""
        return await latest_position(self.unit, key)

    async def rebuild(self, keys: Iterable[BookKey], outcome: Outcome | None = None) -> Outcome:
        """Lock and replay `keys`, and every key that is linked to them, from all their facts."""
        outcome = outcome or Outcome()
        connected = await self._connected(set(keys))
        await self.lock(connected)
        await self._replay(connected, outcome)
        return outcome

    async def _take_duplicates(self, rows: Sequence[Mapping[str, Any]], outcome: Outcome) -> None:
        wanted = {identity_of(row): row for row in rows if identity_of(row) not in outcome.trades}
        keys: defaultdict[str, list[str]] = defaultdict(list)
        for source, key in wanted:
            keys[source].append(key)
        for source, known in keys.items():
            for trade in await self.unit.session.scalars(self._booked(source, known)):
                identity = (trade.source, trade.dedupe_key)
                stored = {name: getattr(trade, name) for name in _ECONOMICS}
                if differing := _differing(stored, wanted[identity]):
                    outcome.conflicts[identity] = differing
                else:
                    outcome.trades[identity] = trade

    def _booked(self, source: str, dedupe_keys: Sequence[str]) -> Select[Trade]:
        # All columns of the unique index, so that it serves; the tenant comes first in it.
        return select(Trade).where(
            Trade.user_id == self.portfolio.user_id,
            Trade.portfolio_id == self.portfolio.id,
            Trade.source == source,
            Trade.dedupe_key == any_(literal(list(dedupe_keys), ARRAY(Text()))),
            Trade.status != TradeStatus.REVERTED,
        )

    async def _project(self, trades: Sequence[Trade], outcome: Outcome) -> None:
        by_key: defaultdict[BookKey, list[Trade]] = defaultdict(list)
        for trade in trades:
            by_key[BookKey.of(trade)].append(trade)
        late: set[BookKey] = set()
        for key, members in by_key.items():
            if any(self._is_linked(trade) for trade in members) or not await self._continue(
                key, members, outcome
            ):
                late.add(key)
        if late:
            await self.rebuild(late, outcome)

    def _is_linked(self, trade: Trade) -> bool:
        if trade.link_key is None:
            return False
        rolls = self.portfolio.assignment_policy is AssignmentPolicy.ROLL_INTO_UNDERLYING
        return is_conversion(trade) or rolls

    async def _continue(self, key: BookKey, trades: Sequence[Trade], outcome: Outcome) -> bool:
        """Apply new trades to the stored book; False when one of them is late."""
        fills = sorted((fill_of(trade) for trade in trades), key=lambda fill: fill.order)
        position = await latest_position(self.unit, key)
        newest = (
            last_order(position)
            if position is not None
            else await self._newest_order(key, {trade.id for trade in trades})
        )
        if newest is not None and fills[0].order < newest:
            return False
        owner = await self._owner(key)
        book = await resume(self.unit, owner, position)
        for fill in fills:
            book.apply(fill)
        if not book.changes().cycles:
            # It matched nothing: only a replay remembers that it was the key's last event.
            return False
        ids = {ledger_key(trade): trade.id for trade in trades}
        outcome.add(key, await save(self.unit, owner, book, trade_ids=ids))
        await settle(self.unit, trades, book.changes().cash_by_key, is_new=True)
        return True

    async def _newest_order(self, key: BookKey, besides: set[UUID]) -> Order | None:
        """Return the order of the newest event of a key that never had a position."""
        newest = (
            select(Trade)
            .where(
                key.matches(Trade),
                Trade.status == TradeStatus.BOOKED,
                Trade.kind != TradeKind.BUST,
                Trade.id != none_of(besides),
            )
            .order_by(Trade.executed_at.desc(), Trade.sequence.desc())
            .limit(1)
        )
        trade = (await self.unit.session.scalars(newest)).first()
        actions = self.unit.repository(CorporateActionRepository)
        times = [
            action.effective_at for action in await actions.of_instruments([key.instrument_id])
        ]
        orders: list[Order] = [(time, 0, "") for time in times]
        if trade is not None:
            orders.append((trade.executed_at, trade.sequence, ledger_key(trade)))
        return max(orders, default=None)

    async def _connected(self, keys: set[BookKey]) -> set[BookKey]:
        """Return `keys` and all keys that conversions or rolled premiums tie to them."""
        pairs = await self._spin_offs()
        connected: set[BookKey] = set()
        frontier = keys
        while frontier:
            connected |= frontier
            found = await self.unit.session.execute(self._linked_keys(frontier))
            linked = {BookKey(self.portfolio.id, *row) for row in found}
            linked |= {key for pair in pairs if pair & frontier for key in pair}
            frontier = linked - connected
        return connected

    async def _spin_offs(self) -> list[set[BookKey]]:
        """Return the pairs of keys, parent and child, that spin-offs tie together."""
        statement = select(Trade, CorporateAction.instrument_id).join(
            CorporateAction,
            Trade.link_key.startswith(
                func.concat("spin_off:", CorporateAction.id, ":"), autoescape=False
            ),
        )
        found = await self.unit.session.execute(
            statement.where(
                Trade.portfolio_id == self.portfolio.id,
                Trade.link_key.like("spin_off:%"),
                Trade.status == TradeStatus.BOOKED,
            )
        )
        return [
            {BookKey.of(trade), BookKey.of(trade)._replace(instrument_id=parent)}
            for trade, parent in found
        ]

    def _linked_keys(self, keys: set[BookKey]) -> Executable:
        here, there = aliased(Trade), aliased(Trade)
        kinds = set(CONVERSION_KINDS)
        if self.portfolio.assignment_policy is AssignmentPolicy.ROLL_INTO_UNDERLYING:
            kinds |= ROLLED_KINDS
        linking = exists().where(
            here.portfolio_id == self.portfolio.id,
            here.link_key == there.link_key,
            here.status == TradeStatus.BOOKED,
            or_(
                here.kind.in_(kinds),
                there.kind.in_(kinds),
                here.link_key.startswith(CONVERSION_LINK, autoescape=True),
            ),
            or_(*(key.matches(here) for key in keys)),
        )
        return (
            select(there.instrument_id, there.strategy, there.position_ref)
            .where(
                there.portfolio_id == self.portfolio.id,
                there.link_key.is_not(None),
                there.status == TradeStatus.BOOKED,
                linking,
            )
            .distinct()
        )

    async def _replay(self, keys: set[BookKey], outcome: Outcome) -> None:
        trades = await self.facts(keys)
        stream = await self._stream(trades, keys)
        owners = {key.book: await self._owner(key) for key in keys}
        ledger = Ledger({book: owner.terms for book, owner in owners.items()})
        ledger.replay(stream.events())
        ids = {ledger_key(trade): trade.id for trade in trades}
        cash: dict[str, Any] = {}
        for key in sorted(keys, key=lambda item: item.book):
            await clear(self.unit, self.portfolio.user_id, key)
            book: Book | None = ledger.books.get(key.book)
            if book is not None:
                outcome.add(key, await save(self.unit, owners[key.book], book, trade_ids=ids))
                cash.update(book.changes().cash_by_key)
        await settle(self.unit, await self._all_trades(keys), cash, is_new=False)

    async def facts(self, keys: Iterable[BookKey]) -> Sequence[Trade]:
        """Return the trades of `keys` that count."""
        return [
            trade
            for trade in await self._all_trades(keys)
            if trade.status is TradeStatus.BOOKED and trade.kind is not TradeKind.BUST
        ]

    async def _all_trades(self, keys: Iterable[BookKey]) -> Sequence[Trade]:
        conditions = or_(*(key.matches(Trade) for key in keys))
        statement = select(Trade).where(conditions).order_by(Trade.executed_at, Trade.id)
        found = await self.unit.session.scalars(
            statement, execution_options={"populate_existing": True}
        )
        return found.all()

    async def _stream(self, trades: Sequence[Trade], keys: Iterable[BookKey]) -> Stream:
        await self._load_instruments({key.instrument_id for key in keys})
        actions = self.unit.repository(CorporateActionRepository)
        return Stream(
            self.portfolio,
            trades,
            await actions.of_instruments(self._instruments),
            self._instruments,
        )

    async def _owner(self, key: BookKey) -> Owner:
        await self._load_instruments({key.instrument_id})
        instrument = self._instruments[key.instrument_id]
        return Owner(
            user_id=self.portfolio.user_id,
            key=key,
            terms=terms_of(self.portfolio, instrument),
            instrument=instrument,
        )

    async def _load_instruments(self, ids: set[UUID]) -> None:
        missing = ids - self._instruments.keys()
        if missing:
            self._instruments |= await self.unit[Instrument].many(missing)


def identity_of(row: Mapping[str, Any]) -> Identity:
    """Return what makes `row` the same trade as another."""
    return (row["source"], row["dedupe_key"])


def _keys_of(rows: Iterable[Mapping[str, Any]]) -> set[BookKey]:
    return {
        BookKey(row["portfolio_id"], row["instrument_id"], row["strategy"], row["position_ref"])
        for row in rows
    }


def _without_repetition(
    rows: Sequence[dict[str, Any]], conflicts: dict[Identity, tuple[str, ...]]
) -> list[dict[str, Any]]:
    unique: dict[Identity, dict[str, Any]] = {}
    for row in rows:
        first = unique.setdefault(identity_of(row), row)
        if differing := _differing(first, row):
            conflicts[identity_of(row)] = differing
    # Nobody can tell which of two contradicting rows is right: neither is booked.
    return [row for identity, row in unique.items() if identity not in conflicts]


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in _ECONOMICS if first[name] != second[name])
