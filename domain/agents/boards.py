"""The agents' boards in Redis: nof0's keys, filled from PostgreSQL when they are missing.

Every value is plain JSON with amounts as strings, for readers in any language. How boards are made
once, kept and taken down: `domain.realtime.boards`. After a change, say so: `traded`,
`valued`, `spoke`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy.orm import joinedload

from domain.agents.models import Agent, Message, Standing
from domain.agents.repositories import AgentRepository, MessageRepository, StandingRepository
from domain.cache.keys import Keyspace
from domain.db.connection import Connections
from domain.db.unit import Unit
from domain.realtime.boards import Board, Boards, HashBoard, ListBoard, RankBoard, TextBoard
from domain.trading.models import Position, PositionStatus, Trade, TradeStatus
from domain.trading.repositories import PositionRepository, TradeRepository

T = TypeVar("T")

MOST_TRADES: Final = 100
MOST_MESSAGES: Final = 200
MOST_PLACES: Final = 100
MOST_POINTS: Final = 500

TRADES_SECONDS: Final = 60
POSITIONS_SECONDS: Final = 30
LEADERBOARD_SECONDS: Final = 60
SINCE_INCEPTION_SECONDS: Final = 300
CONVERSATION_SECONDS: Final = 300

_JOB: Final = "boards"


class TradeLine(msgspec.Struct, frozen=True):
    """One trade of an agent."""

    id: UUID
    symbol: str
    side: str | None
    quantity: Decimal
    price: Decimal
    currency: str
    executed_at: datetime


class PositionLine(msgspec.Struct, frozen=True):
    """One open position of an agent; the quantity is negative when it is short."""

    id: UUID
    symbol: str
    quantity: Decimal
    entry_price: Decimal | None
    current_price: Decimal | None
    currency: str
    leverage: Decimal | None
    liquidation_price: Decimal | None
    opened_at: datetime


class Place(msgspec.Struct, frozen=True):
    """One line of the leaderboard with nof0's figures."""

    rank: int
    agent_id: UUID
    model_id: str
    display_name: str
    equity: Decimal | None
    return_pct: Decimal | None
    sharpe: Decimal | None
    num_trades: int
    num_wins: int
    num_losses: int
    win_dollars: Decimal
    lose_dollars: Decimal
    currency: str


class Point(msgspec.Struct, frozen=True):
    """The equity at one instant."""

    timestamp: datetime
    value: Decimal


class Said(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    sequence: int
    role: str
    content: str
    time: datetime


class AgentBoards:
    """Reads the agents' boards. They are of all tenants: who may see which agent is the caller's.

    Args:
        db: Where the facts are.
        boards: Makes and keeps boards.
        keys: Names them.
    """

    def __init__(self, db: Connections[Any, Any], boards: Boards, keys: Keyspace) -> None:
        self._db, self._boards, self._keys = db, boards, keys

    async def recent_trades(self, agent: Agent, *, limit: int = 50) -> list[TradeLine]:
        """Return the agent's newest trades, the newest first; ``trades:recent``.

        Raises:
            InvalidData: `limit` is not 1 to `MOST_TRADES`.
        """

        async def load(unit: Unit) -> Sequence[bytes]:
            trades = unit.repository(TradeRepository)
            newest = (
                trades.query(
                    Trade.portfolio_id == agent.portfolio_id,
                    Trade.status == TradeStatus.BOOKED,
                )
                .options(joinedload(Trade.instrument))
                .order_by(Trade.executed_at.desc(), Trade.id.desc())
            )
            return [_trade_line(trade) for trade in await trades.all(newest.limit(MOST_TRADES))]

        board = self._trades(agent.id, limit)
        found = await self._read(board, load)
        return [msgspec.json.decode(item, type=TradeLine) for item in found[:limit]]

    async def positions(self, agent: Agent) -> Mapping[str, list[PositionLine]]:
        """Return the agent's open positions by symbol, mostly one each; ``positions``."""

        async def load(unit: Unit) -> Mapping[str, bytes]:
            positions = unit.repository(PositionRepository)
            statement = positions.query(
                Position.portfolio_id == agent.portfolio_id, Position.status == PositionStatus.OPEN
            )
            found = await positions.all(
                statement.options(joinedload(Position.instrument)).order_by(Position.id)
            )
            lines: dict[str, list[PositionLine]] = {}
            for position in found:
                lines.setdefault(position.instrument.symbol, []).append(_position_line(position))
            return {symbol: msgspec.json.encode(held) for symbol, held in lines.items()}

        found = await self._read(self._positions(agent.id), load)
        return {
            symbol: msgspec.json.decode(item, type=list[PositionLine])
            for symbol, item in found.items()
        }

    async def leaderboard(self, *, limit: int = 10) -> list[Place]:
        """Return the first places with exact figures; ``leaderboard:top``."""

        async def load(unit: Unit) -> bytes:
            return msgspec.json.encode(_places(await self._standings(unit)))

        found = await self._read(self._top(), load)
        return msgspec.json.decode(found, type=list[Place])[:limit]

    async def ranking(self) -> list[UUID]:
        """Return the agents in their order, best first; ``leaderboard``.

        The set's scores are floats and order only: figures are in `leaderboard`.
        """

        async def load(unit: Unit) -> Sequence[tuple[str, float]]:
            standings = await self._standings(unit)
            return [(str(item.agent_id), float(item.return_order)) for item in standings]

        return [UUID(member) for member, _ in await self._read(self._ranks(), load)]

    async def since_inception(self, agent: Agent) -> list[Point]:
        """Return the agent's track record in at most `MOST_POINTS`; ``since_inception``."""

        async def load(unit: Unit) -> bytes:
            agents = unit.repository(AgentRepository)
            points = await agents.since_inception(agent, limit=MOST_POINTS)
            return msgspec.json.encode([Point(time, equity) for time, equity in points])

        found = await self._read(self._curve(agent.id), load)
        return msgspec.json.decode(found, type=list[Point])

    async def conversation(self, conversation_id: UUID, *, limit: int = 50) -> list[Said]:
        """Return a conversation's newest messages, the newest first; ``conversation``.

        Raises:
            InvalidData: `limit` is not 1 to `MOST_MESSAGES`.
        """

        async def load(unit: Unit) -> Sequence[bytes]:
            messages = unit.repository(MessageRepository)
            newest = messages.query(Message.conversation_id == conversation_id)
            found = await messages.all(
                newest.order_by(Message.sequence.desc()).limit(MOST_MESSAGES)
            )
            return [msgspec.json.encode(_said(message)) for message in found]

        found = await self._read(self._talk(conversation_id, limit), load)
        return [msgspec.json.decode(item, type=Said) for item in found[:limit]]

    async def traded(self, agent_id: UUID, *trades: Trade) -> None:
        """Say after the commit that an agent traded.

        Args:
            agent_id: Who.
            *trades: The new trades, the oldest first, with their instruments: they are put in
                front. Without them the list is made anew when somebody asks.
        """
        if trades:
            await self._boards.push(self._trades(agent_id), *map(_trade_line, trades))
        else:
            await self._boards.drop(self._trades(agent_id))
        await self._boards.drop(self._positions(agent_id))

    async def valued(self, agent_id: UUID) -> None:
        """Say after the commit that an agent's equity or standing changed."""
        for board in (self._curve(agent_id), self._ranks(), self._top()):
            await self._boards.drop(board)

    async def spoke(self, conversation_id: UUID) -> None:
        """Say after the commit that a conversation has new messages."""
        await self._boards.drop(self._talk(conversation_id))

    async def _read(self, board: Board[T], load: Callable[[Unit], Awaitable[T]]) -> T:
        async def from_database() -> T:
            async with self._db.read(system=_JOB) as unit:
                return await load(unit)

        return await self._boards.read(board, from_database)

    async def _standings(self, unit: Unit) -> Sequence[Standing]:
        return await unit.repository(StandingRepository).ranked(limit=MOST_PLACES)

    def _trades(self, agent_id: UUID, limit: int | None = None) -> ListBoard:
        key = self._keys.recent_trades(agent_id)
        return ListBoard(self._keys, key, TRADES_SECONDS, most=MOST_TRADES, wanted=limit)

    def _positions(self, agent_id: UUID) -> HashBoard:
        return HashBoard(self._keys, self._keys.positions(agent_id), POSITIONS_SECONDS)

    def _ranks(self) -> RankBoard:
        return RankBoard(self._keys, self._keys.leaderboard(), LEADERBOARD_SECONDS)

    def _top(self) -> TextBoard:
        return TextBoard(self._keys, self._keys.leaderboard_top(), LEADERBOARD_SECONDS)

    def _curve(self, agent_id: UUID) -> TextBoard:
        key = self._keys.since_inception(agent_id)
        return TextBoard(self._keys, key, SINCE_INCEPTION_SECONDS)

    def _talk(self, conversation_id: UUID, limit: int | None = None) -> ListBoard:
        key = self._keys.conversation(conversation_id)
        return ListBoard(self._keys, key, CONVERSATION_SECONDS, most=MOST_MESSAGES, wanted=limit)


def _trade_line(trade: Trade) -> bytes:
    return msgspec.json.encode(
        TradeLine(
            id=trade.id,
            symbol=trade.instrument.symbol,
            side=trade.side,
            quantity=trade.quantity,
            price=trade.price,
            currency=trade.currency,
            executed_at=trade.executed_at,
        )
    )


def _position_line(position: Position) -> PositionLine:
    return PositionLine(
        id=position.id,
        symbol=position.instrument.symbol,
        quantity=position.quantity,
        entry_price=position.entry_price,
        current_price=position.current_price,
        currency=position.currency,
        leverage=position.leverage,
        liquidation_price=position.liquidation_price,
        opened_at=position.opened_at,
    )


def _places(standings: Sequence[Standing]) -> list[Place]:
    return [
        Place(
            rank=rank,
            agent_id=item.agent_id,
            model_id=item.agent.slug,
            display_name=item.agent.display_name,
            equity=item.equity,
            return_pct=item.return_pct,
            sharpe=item.sharpe,
            num_trades=item.num_trades,
            num_wins=item.num_wins,
            num_losses=item.num_losses,
            win_dollars=item.win_dollars,
            lose_dollars=item.lose_dollars,
            currency=item.currency,
        )
        for rank, item in enumerate(standings, start=1)
    ]


def _said(message: Message) -> Said:
    return Said(message.sequence, message.role, message.content, message.time)
