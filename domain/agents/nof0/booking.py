"""Books round trips and open positions of nof0's models as trades.

A round trip is two trades in a position of its own, named by nof0's id, because nof0's round
trips of one coin overlap: so the agent's portfolio hedges. An open position is a provisional
opening trade that is corrected while it is listed and busted when it is gone: its round trip then
counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sqlalchemy import func

from domain.agents.models import Agent
from domain.agents.nof0.records import Archive, Entry, Model, OpenPosition, RoundTrip
from domain.agents.nof0.shapes import SOURCE
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.identity.models import User
from domain.market.models import Instrument
from domain.market.repositories import InstrumentRepository
from domain.market.terms import InstrumentKind
from domain.money import exact
from domain.trading.correcting import bust_trade, correct_trade
from domain.trading.models import Portfolio, Position, Trade, TradeStatus
from domain.trading.recording import NewTrade, record_trades
from domain.trading.repositories import PortfolioRepository
from domain.trading.terms import PositionMode, Side, TradeKind

EXCHANGE: Final = "hyperliquid"
"""Where nof0's agents trade: its perpetuals are instruments of this exchange."""

_OPEN: Final = "position:"
_CRYPTO: Final = (InstrumentKind.PERPETUAL, InstrumentKind.CRYPTO)


@dataclass(slots=True)
class Books:
    """Agents, portfolios and instruments of the files, and what is booked with them.

    Args:
        unit: The transaction.
        agents: By slug.
        portfolios: The agents', by slug.
        instruments: By symbol.
        trips: Round trips by slug.
        made: How many agents are new.
    """

    unit: UnitOfWork
    agents: Mapping[str, Agent]
    portfolios: Mapping[str, Portfolio]
    instruments: Mapping[str, Instrument]
    trips: Mapping[str, Sequence[RoundTrip]]
    made: int

    @classmethod
    async def open(cls, unit: UnitOfWork, user: User, archive: Archive) -> "Books":
        """Find or make what the files name."""
        portfolios: dict[str, Portfolio] = {}
        agents: dict[str, Agent] = {}
        wanted = unit[Agent].query(Agent.user_id == user.id, Agent.slug.in_(archive.models))
        known = {agent.slug: agent for agent in await unit[Agent].all(wanted)}
        for slug, model in sorted(archive.models.items()):
            agent = known.get(slug)
            if agent is None:
                portfolios[slug] = await _make_portfolio(unit, user, model)
                agent = await _make_agent(unit, portfolios[slug], model)
            else:
                portfolios[slug] = await _portfolio_of(unit, agent)
            agents[slug] = agent
        trips: defaultdict[str, list[RoundTrip]] = defaultdict(list)
        for trip in archive.trips:
            trips[trip.entry.model].append(trip)
        instruments = await _instruments(unit, _symbols(archive))
        made = len(agents) - len(known)
        return cls(unit, agents, portfolios, instruments, trips, made)

    async def book_trades(
        self, agent: Agent, held: Sequence[OpenPosition] | None
    ) -> tuple[int, int]:
        """Book round trips and open positions; return (trades booked, positions busted)."""
        portfolio = self.portfolios[agent.slug]
        new = [
            trade
            for trip in self.trips.get(agent.slug, ())
            for trade in _both_trades(trip, self.instruments[trip.entry.symbol])
        ]
        gone = 0
        if held is not None:
            gone = await self._reconcile(portfolio, held)
            new += await self._openings(portfolio, held)
        booked = await record_trades(self.unit, portfolio, new)
        await self._mark(portfolio, held or ())
        return len(booked.trades), gone

    async def _provisional(self, portfolio: Portfolio) -> dict[str, Trade]:
        """Return the opening trades of positions that the files listed as open, by key."""
        listed = self.unit[Trade].query(
            Trade.portfolio_id == portfolio.id,
            Trade.source == SOURCE,
            Trade.status == TradeStatus.BOOKED,
            Trade.kind != TradeKind.BUST,
            Trade.position_ref.startswith(_OPEN, autoescape=True),
        )
        found = await self.unit[Trade].all(listed)
        return {trade.position_ref or "": trade for trade in found}

    async def _reconcile(self, portfolio: Portfolio, held: Sequence[OpenPosition]) -> int:
        """Correct provisional trades that changed and bust those that are gone."""
        wanted = {_reference(item.entry): item.entry for item in held}
        gone = 0
        for reference, trade in (await self._provisional(portfolio)).items():
            entry = wanted.get(reference)
            if entry is None:
                await bust_trade(
                    self.unit, trade.id, reason="no longer among nof0's open positions"
                )
                gone += 1
            elif _economics(trade) != (entry.side, entry.quantity, entry.price, entry.commission):
                await correct_trade(
                    self.unit,
                    trade.id,
                    side=entry.side,
                    quantity=entry.quantity,
                    price=entry.price,
                    commission=entry.commission,
                )
        return gone

    async def _openings(self, portfolio: Portfolio, held: Sequence[OpenPosition]) -> list[NewTrade]:
        known = await self._provisional(portfolio)
        entries = {_reference(item.entry): item.entry for item in held}
        counts = await self._times_listed(portfolio, entries.keys() - known.keys())
        return [
            _opening(
                entry,
                self.instruments[entry.symbol],
                reference,
                f"{reference}#{counts.get(reference, 0)}",
            )
            for reference, entry in entries.items()
            if reference not in known
        ]

    async def _times_listed(
        self, portfolio: Portfolio, references: Iterable[str]
    ) -> dict[str, int]:
        """Return how many trades each reference has: one that comes again needs a new key."""
        statement = (
            self.unit[Trade]
            .query(Trade.portfolio_id == portfolio.id, Trade.position_ref.in_(list(references)))
            .with_only_columns(Trade.position_ref, func.count())
            .group_by(Trade.position_ref)
        )
        found = await self.unit.session.execute(statement)
        return {reference: count for reference, count in found if reference is not None}

    async def _mark(self, portfolio: Portfolio, held: Sequence[OpenPosition]) -> None:
        """Write what is known of open positions beyond their trades."""
        listed = {_reference(item.entry): item for item in held}
        open_positions = self.unit[Position].query(
            Position.portfolio_id == portfolio.id, Position.position_ref.in_(listed)
        )
        for position in await self.unit[Position].all(open_positions):
            item = listed[position.position_ref or ""]
            position.leverage = item.entry.leverage
            position.confidence = item.entry.confidence
            position.current_price = item.current_price
            position.liquidation_price = item.liquidation_price
            position.margin_used = item.margin
        await self.unit.flush()


def _symbols(archive: Archive) -> set[str]:
    held = (item.entry.symbol for items in archive.positions.values() for item in items)
    traded = (trip.entry.symbol for trip in archive.trips)
    return {*held, *traded, *(price.symbol for price in archive.prices)}


async def _instruments(unit: UnitOfWork, symbols: Iterable[str]) -> dict[str, Instrument]:
    found = {}
    repository = unit.repository(InstrumentRepository)
    for symbol in sorted(symbols):
        known = [item for item in await repository.by_symbol(symbol) if _is_plain(item)]
        ours = [item for item in known if item.exchange == EXCHANGE]
        found[symbol] = (ours or known or [_perpetual(repository, symbol)])[0]
    await unit.flush()
    return found


def _is_plain(instrument: Instrument) -> bool:
    """Return whether a profit is quantity times price difference in dollars, as nof0 reckons."""
    return (
        instrument.kind in _CRYPTO
        and instrument.multiplier == 1
        and not instrument.is_inverse
        and instrument.profit_currency == "USD"
    )


def _perpetual(repository: InstrumentRepository, symbol: str) -> Instrument:
    return repository.add(
        Instrument(
            symbol=symbol,
            kind=InstrumentKind.PERPETUAL,
            quote_currency="USD",
            exchange=EXCHANGE,
            cash_model="margined",
        )
    )


async def _make_portfolio(unit: UnitOfWork, user: User, model: Model) -> Portfolio:
    repository = unit.repository(PortfolioRepository)
    is_taken = await repository.exists(
        repository.query(Portfolio.user_id == user.id, Portfolio.name == model.slug)
    )
    portfolio = repository.add(
        Portfolio(
            user_id=user.id,
            name=f"{model.slug} (nof0)" if is_taken else model.slug,
            description="Made from nof0's files",
            position_mode=PositionMode.HEDGING,
            broker=EXCHANGE,
        )
    )
    await unit.flush()
    return portfolio


async def _make_agent(unit: UnitOfWork, portfolio: Portfolio, model: Model) -> Agent:
    agent = unit[Agent].add(
        Agent(
            user_id=portfolio.user_id,
            slug=model.slug,
            display_name=model.display_name,
            portfolio_id=portfolio.id,
        )
    )
    await unit.flush()
    return agent


async def _portfolio_of(unit: UnitOfWork, agent: Agent) -> Portfolio:
    portfolio = await unit[Portfolio].get(agent.portfolio_id)
    if portfolio.position_mode is not PositionMode.HEDGING:
        raise InvalidData(
            f"portfolio of {agent.slug}",
            str(portfolio.position_mode),
            "be hedging: nof0's round trips overlap",
        )
    return portfolio


def _reference(entry: Entry) -> str:
    return f"{_OPEN}{entry.symbol}:{entry.oid}"


def _economics(trade: Trade) -> tuple[Side | None, Decimal, Decimal, Decimal]:
    return (trade.side, trade.quantity, trade.price, trade.commission)


def _opening(entry: Entry, instrument: Instrument, reference: str, key: str) -> NewTrade:
    return NewTrade(
        instrument=instrument,
        side=entry.side,
        quantity=entry.quantity,
        price=entry.price,
        executed_at=entry.time,
        commission=entry.commission,
        source=SOURCE,
        dedupe_key=key,
        external_id=entry.oid,
        position_ref=reference,
        leverage=entry.leverage,
        confidence=entry.confidence,
        raw=entry.raw,
    )


def _both_trades(trip: RoundTrip, instrument: Instrument) -> tuple[NewTrade, NewTrade]:
    """Return the two trades whose profit is to the last digit what the file says."""
    entry = trip.entry
    opening = _opening(entry, instrument, trip.id, f"{trip.id}:entry")
    with exact():
        worth = round(entry.quantity * entry.price, 18)
        proceeds = worth + trip.gross if entry.side is Side.BUY else worth - trip.gross
        # The venue's net is not always gross less commission; the rest is a fee, or a rebate.
        rest = trip.gross - entry.commission - trip.commission - trip.net
    closing = NewTrade(
        instrument=instrument,
        side=Side.SELL if entry.side is Side.BUY else Side.BUY,
        quantity=entry.quantity,
        price=trip.price,
        gross_amount=proceeds,
        executed_at=trip.time,
        commission=trip.commission,
        fees=rest,
        sequence=1,
        source=SOURCE,
        dedupe_key=f"{trip.id}:exit",
        external_id=trip.oid,
        position_ref=trip.id,
        leverage=entry.leverage,
        confidence=entry.confidence,
    )
    return opening, closing
