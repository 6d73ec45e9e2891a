"""nof0's endpoints as questions to the database: one function each, named like the endpoint.

Every one takes a reading or writing unit; the tenant of the unit decides whose agents answer.
Times of the server are taken from `domain.clock`.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased, joinedload

from domain.agents.models import Agent, Conversation, Message
from domain.agents.nof0 import shapes
from domain.agents.nof0.shapes import Json, Trip
from domain.agents.repositories import AgentAnalyticsRepository, AgentRepository, StandingRepository
from domain.clock import now
from domain.db.bulk import any_of
from domain.db.unit import Unit
from domain.market.models import Instrument, LatestPrice
from domain.market.terms import InstrumentKind
from domain.trading.models import (
    CashMovement,
    CashStatus,
    EquitySnapshot,
    Position,
    PositionStatus,
    Trade,
)
from domain.trading.valuing import CONTRIBUTIONS

_CRYPTO = (InstrumentKind.CRYPTO, InstrumentKind.PERPETUAL)


async def crypto_prices(unit: Unit) -> Json:
    """Return the newest price of each crypto or perpetual symbol."""
    newest = (
        unit[LatestPrice]
        .query(Instrument.kind.in_(_CRYPTO))
        .join(LatestPrice.instrument)
        .options(joinedload(LatestPrice.instrument))
        .ext(distinct_on(Instrument.symbol))
        .order_by(Instrument.symbol, LatestPrice.time.desc(), LatestPrice.instrument_id)
    )
    return shapes.crypto_prices(await unit[LatestPrice].all(newest), server_time=now())


async def leaderboard(unit: Unit, *, limit: int = 100) -> Json:
    """Return the leaderboard as its last refresh left it, best return first."""
    return shapes.leaderboard(await unit.repository(StandingRepository).ranked(limit=limit))


async def trades(unit: Unit, *, agent: Agent | None = None, limit: int = 100) -> Json:
    """Return the newest round trips, of one agent or of all.

    Args:
        unit: Whose agents.
        agent: None: all of the scope.
        limit: At most so many.
    """
    found = await _trips(unit, PositionStatus.CLOSED, agent=agent, limit=limit)
    return shapes.trades(found, server_time=now())


async def positions(unit: Unit) -> Json:
    """Return the open positions of each agent that is not retired, by symbol."""
    return shapes.positions(await _open(unit), server_time=now())


async def since_inception(unit: Unit, agent: Agent, *, limit: int = 500) -> list[Json]:
    """Return the agent's equity by time, thinned out to `limit` exact points."""
    points = await unit.repository(AgentRepository).since_inception(agent, limit=limit)
    return shapes.since_inception(points)


async def since_inception_values(unit: Unit) -> Json:
    """Return when each agent got its first capital, how much, and how often it answered since."""
    agents = {agent.portfolio_id: agent for agent in await _agents(unit)}
    said = await _invocations(unit, agents.values())
    first = (
        unit[CashMovement]
        .query(
            CashMovement.portfolio_id == any_of(agents),
            CashMovement.kind.in_(CONTRIBUTIONS),
            CashMovement.status == CashStatus.BOOKED,
        )
        .ext(distinct_on(CashMovement.portfolio_id))
        .order_by(CashMovement.portfolio_id, CashMovement.effective_at, CashMovement.id)
    )
    starts = {}
    for movement in await unit[CashMovement].all(first):
        agent = agents[movement.portfolio_id]
        starts[agent] = (movement.effective_at, movement.amount, said.get(agent.id, 0))
    return shapes.since_inception_values(starts, server_time=now())


async def account_totals(unit: Unit) -> Json:
    """Return each agent's newest equity with its open positions."""
    agents = {agent.portfolio_id: agent for agent in await _agents(unit)}
    newest = (
        unit[EquitySnapshot]
        .query(EquitySnapshot.portfolio_id == any_of(agents))
        .ext(distinct_on(EquitySnapshot.portfolio_id))
        .order_by(EquitySnapshot.portfolio_id, EquitySnapshot.time.desc())
    )
    lines = await unit.repository(StandingRepository).ranked(limit=len(agents) + 1)
    return shapes.account_totals(
        {agents[row.portfolio_id]: row for row in await unit[EquitySnapshot].all(newest)},
        await _open(unit),
        {line.agent: line for line in lines},
        server_time=now(),
    )


async def analytics(unit: Unit, *, agent: Agent | None = None) -> Json:
    """Return the newest analysis of one agent or of all, every digit as it came."""
    asked = None if agent is None else [agent]
    payloads = await unit.repository(AgentAnalyticsRepository).exact(asked)
    return shapes.analytics(payloads.values(), server_time=now())


async def conversations(unit: Unit, *, limit: int = 100) -> Json:
    """Return the newest conversations of agents that are not retired, each with all messages."""
    newest = (
        select(Conversation, Agent)
        .join(Agent, (Agent.user_id == Conversation.user_id) & (Agent.id == Conversation.agent_id))
        .where(Agent.id == any_of({agent.id for agent in await _agents(unit)}))
        .order_by(Conversation.id.desc())
        .limit(limit)
    )
    found = (await unit.session.execute(newest)).all()
    messages: defaultdict[object, list[Message]] = defaultdict(list)
    wanted = Message.conversation_id == any_of({conversation.id for conversation, _ in found})
    for message in await unit[Message].all(unit[Message].query(wanted).order_by(Message.sequence)):
        messages[message.conversation_id].append(message)
    spoken = [(agent, messages[conversation.id]) for conversation, agent in reversed(found)]
    return shapes.conversations(spoken, server_time=now())


async def _agents(unit: Unit) -> Sequence[Agent]:
    return await unit[Agent].all(
        unit[Agent].query(Agent.archived_at.is_(None)).order_by(Agent.slug, Agent.id)
    )


async def _open(unit: Unit) -> Mapping[Agent, Sequence[Trip]]:
    found: dict[Agent, list[Trip]] = {agent: [] for agent in await _agents(unit)}
    for trip in reversed(await _trips(unit, PositionStatus.OPEN)):
        if trip.agent in found:
            found[trip.agent].append(trip)
    return found


async def _trips(
    unit: Unit, status: PositionStatus, *, agent: Agent | None = None, limit: int | None = None
) -> Sequence[Trip]:
    """Return positions with their ends, last opened or closed first."""
    opening, last = aliased(Trade), aliased(Trade)
    when = Position.closed_at if status is PositionStatus.CLOSED else Position.opened_at
    statement = (
        select(Agent, Instrument.symbol, Position, opening, last)
        .join(
            Position,
            (Position.user_id == Agent.user_id) & (Position.portfolio_id == Agent.portfolio_id),
        )
        .join(Instrument, Instrument.id == Position.instrument_id)
        .outerjoin(opening, opening.id == Position.opening_trade_id)
        .outerjoin(last, last.id == Position.last_trade_id)
        .where(Position.status == status)
        .order_by(when.desc(), Position.id.desc())
        .limit(limit)
    )
    if unit.user_id is not None:
        statement = statement.where(Agent.user_id == unit.user_id)
    if agent is not None:
        statement = statement.where(Agent.id == agent.id)
    return [Trip(*row) for row in await unit.session.execute(statement)]


async def _invocations(unit: Unit, agents: Collection[Agent]) -> Mapping[object, int]:
    """Return how often each agent answered: nof0 counts calls of the model."""
    counted = (
        select(Conversation.agent_id, func.count())
        .join(Message, Message.conversation_id == Conversation.id)
        .where(Conversation.agent_id == any_of({agent.id for agent in agents}))
        .where(Message.role == "assistant")
        .group_by(Conversation.agent_id)
    )
    found = await unit.session.execute(counted)
    return dict(found.all())
