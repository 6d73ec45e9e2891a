"""nof0's keys hold what PostgreSQL says, made once, and follow what is announced."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.orm import joinedload

from domain import Database
from domain.agents.boards import AgentBoards
from domain.agents.conversing import NewMessage, add_messages
from domain.agents.models import MessageRole
from domain.agents.refreshing import refresh_leaderboard
from domain.cache.client import Client, Use, build_client, parse_redis_url
from domain.cache.keys import Keyspace
from domain.errors import InvalidData
from domain.realtime.boards import Boards, Upkeep
from domain.trading.models import Trade
from domain.trading.terms import Side
from tests.factories.agents import Contestant, enter, enter_beside, make_conversation


@dataclass
class Wall:
    """The boards, and what Redis holds."""

    boards: AgentBoards
    engine: Boards
    client: Client
    keys: Keyspace


@pytest.fixture
async def wall(db: Database, redis_url: str, cache_prefix: str) -> AsyncIterator[Wall]:
    client, keys = build_client(parse_redis_url(redis_url), Use.CACHE), Keyspace(cache_prefix)
    engine = Boards(client, upkeep=Upkeep(budget=20, lease=60, patience=60))
    yield Wall(AgentBoards(db, engine, keys), engine, client, keys)
    await client.aclose()


async def ranked(first: Contestant, second: Contestant) -> None:
    await first.value((0, "1000", "1000"), (1, "900", "1000"))
    await second.value((0, "1000", "1000"), (1, "1100.000000000000000001", "1000"))
    async with first.db.transaction(user=first.agent.user_id) as unit:
        await refresh_leaderboard(unit)


async def test_two_hundred_readers_make_each_board_once(db: Database, wall: Wall) -> None:
    gpt = await enter(db)
    await gpt.account.trade(Side.BUY, "10", "100")
    await ranked(gpt, await enter_beside(gpt, "grok-4"))
    reads = (
        lambda: wall.boards.recent_trades(gpt.agent),
        lambda: wall.boards.positions(gpt.agent),
        wall.boards.leaderboard,
        lambda: wall.boards.since_inception(gpt.agent),
    )
    for read in reads:
        before = wall.engine.tally.made
        found: list[Any] = await asyncio.gather(*(read() for _ in range(200)))
        assert all(item == found[0] for item in found)
        assert found[0]
        assert wall.engine.tally.made == before + 1


async def test_new_trades_come_first_and_positions_follow(db: Database, wall: Wall) -> None:
    gpt = await enter(db)
    assert await wall.boards.recent_trades(gpt.agent) == []
    assert await wall.boards.positions(gpt.agent) == {}
    await gpt.account.trade(Side.BUY, "10", "187.30")
    await gpt.account.trade(Side.SELL, "4", "190", minute=1)
    assert await wall.boards.recent_trades(gpt.agent) == [], "nobody said a word"
    async with db.read(user=gpt.agent.user_id) as unit:
        trades = await unit.trades.all(
            unit.trades.query().options(joinedload(Trade.instrument)).order_by(Trade.executed_at)
        )
    await wall.boards.traded(gpt.agent.id, *trades)
    newest, oldest = await wall.boards.recent_trades(gpt.agent)
    assert (newest.side, newest.price, oldest.price) == ("sell", Decimal(190), Decimal("187.30"))
    (held,) = (await wall.boards.positions(gpt.agent))["AAPL"]
    assert (held.quantity, held.entry_price) == (Decimal(6), Decimal("187.30"))
    stored: Any = await wall.client.lrange(wall.keys.recent_trades(gpt.agent.id), 0, -1)
    assert json.loads(stored[1])["price"] == "187.30"

    made = wall.engine.tally.made
    await wall.boards.traded(gpt.agent.id)
    assert await wall.boards.recent_trades(gpt.agent) == [newest, oldest]
    assert wall.engine.tally.made == made + 1
    assert await wall.boards.recent_trades(gpt.agent, limit=1) == [newest]
    with pytest.raises(InvalidData, match="limit must be 1 to 100"):
        await wall.boards.recent_trades(gpt.agent, limit=101)


async def test_the_leaderboard_orders_by_score_and_shows_exact_figures(
    db: Database, wall: Wall
) -> None:
    gpt = await enter(db)
    grok = await enter_beside(gpt, "grok-4")
    await ranked(gpt, grok)
    first, second = await wall.boards.leaderboard()
    assert (first.model_id, first.rank, first.equity) == (
        "grok-4",
        1,
        Decimal("1100.000000000000000001"),
    )
    assert (second.model_id, second.return_pct) == ("gpt-5", Decimal(-10))
    assert await wall.boards.ranking() == [grok.agent.id, gpt.agent.id]
    assert await wall.boards.leaderboard(limit=1) == [first]

    await gpt.value((2, "5000", "1000"))
    async with db.transaction(user=gpt.agent.user_id) as unit:
        await refresh_leaderboard(unit)
    assert (await wall.boards.leaderboard())[0].model_id == "grok-4"
    await wall.boards.valued(gpt.agent.id)
    assert (await wall.boards.leaderboard())[0].model_id == "gpt-5"
    assert (await wall.boards.ranking())[0] == gpt.agent.id


async def test_a_long_curve_is_thinned_to_five_hundred_exact_points(
    db: Database, wall: Wall
) -> None:
    gpt = await enter(db)
    await gpt.value(*((day / 10, str(1000 + day % 37), "1000") for day in range(1_200)))
    points = await wall.boards.since_inception(gpt.agent)
    assert len(points) == 500
    assert (points[0].value, points[-1].value) == (Decimal(1000), Decimal(1000 + 1_199 % 37))
    stored: Any = await wall.client.get(wall.keys.since_inception(gpt.agent.id))
    assert json.loads(stored)[0] == {"timestamp": "2024-01-02T00:00:00Z", "value": "1000"}
    assert 0 < await wall.client.ttl(wall.keys.since_inception(gpt.agent.id)) <= 300


async def test_a_conversation_shows_its_newest_messages_first(db: Database, wall: Wall) -> None:
    gpt = await enter(db)
    start = datetime(2025, 10, 1, tzinfo=UTC)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        talk = await make_conversation(unit, gpt.agent)
        await add_messages(
            unit,
            talk,
            [
                NewMessage(role=MessageRole.USER, content=str(n), time=start + timedelta(minutes=n))
                for n in range(5)
            ],
        )
    found = await wall.boards.conversation(talk.id, limit=2)
    assert [(item.sequence, item.content, item.role) for item in found] == [
        (5, "4", "user"),
        (4, "3", "user"),
    ]
    async with db.transaction(user=gpt.agent.user_id) as unit:
        fresh = await unit.conversations.get(talk.id)
        await add_messages(unit, fresh, [NewMessage(role=MessageRole.ASSISTANT, content="buy", time=start + timedelta(hours=1))])  # fmt: skip
    await wall.boards.spoke(talk.id)
    assert (await wall.boards.conversation(talk.id))[0].content == "buy"


async def test_without_redis_the_answers_are_the_same(db: Database, cache_prefix: str) -> None:
    gpt = await enter(db)
    await gpt.account.trade(Side.BUY, "10", "100")
    bare = AgentBoards(db, Boards(None), Keyspace(cache_prefix))
    assert len(await bare.recent_trades(gpt.agent, limit=1)) == 1
    assert set(await bare.positions(gpt.agent)) == {"AAPL"}
    assert await bare.ranking() == []
