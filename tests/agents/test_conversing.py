"""Conversations: complete, in order, whoever else is speaking."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from domain import Database
from domain.agents.analysing import record_analytics
from domain.agents.conversing import NewMessage, add_messages
from domain.agents.models import Agent, Conversation, MessageRole
from domain.errors import AccessDenied, AlreadyExists, CheckFailed, InvalidData, NotFound
from tests.factories.agents import Contestant, enter, make_conversation

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


def says(content: str, *, minute: int = 0, role: str = "assistant", **more: int) -> NewMessage:
    time = NOON + timedelta(minutes=minute)
    return NewMessage(role=MessageRole(role), content=content, time=time, **more)


async def begin(gpt: Contestant) -> Conversation:
    async with gpt.db.transaction(user=gpt.agent.user_id) as unit:
        return await make_conversation(unit, gpt.agent)


async def test_messages_are_numbered_in_the_order_they_came(db: Database) -> None:
    gpt = await enter(db)
    conversation = await begin(gpt)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        await add_messages(unit, conversation, [says("You trade.", role="system"), says("I do.")])
        last = await add_messages(unit, conversation, [says("Bought.", minute=2, token_count=3)])
        assert await add_messages(unit, conversation, []) == 3
    async with db.read(user=gpt.agent.user_id) as unit:
        page = await unit.messages.of(conversation)
        stored = (await unit.conversations.of(gpt.agent)).items[0]
    assert last == 3
    assert [(item.sequence, item.role, item.content) for item in page.items] == [
        (1, MessageRole.SYSTEM, "You trade."),
        (2, MessageRole.ASSISTANT, "I do."),
        (3, MessageRole.ASSISTANT, "Bought."),
    ]
    assert (stored.message_count, stored.last_message_at) == (3, NOON + timedelta(minutes=2))


async def test_many_writers_at_once_leave_no_gap_and_no_duplicate(db: Database) -> None:
    gpt = await enter(db)
    conversation = await begin(gpt)

    async def speak(number: int) -> None:
        async with db.transaction(user=gpt.agent.user_id) as unit:
            await add_messages(unit, conversation, [says(f"{number}a"), says(f"{number}b")])
            if number % 4 == 0:
                await unit.session.rollback()

    await asyncio.gather(*(speak(number) for number in range(20)))
    async with db.read(user=gpt.agent.user_id) as unit:
        found = (await unit.messages.of(conversation, limit=100)).items
    assert [item.sequence for item in found] == list(range(1, 31))
    pairs = [(found[i].content[:-1], found[i + 1].content[:-1]) for i in range(0, 30, 2)]
    assert all(first == second for first, second in pairs)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (NewMessage(role="poet", content="", time=NOON), "role"),  # type: ignore[arg-type]
        (NewMessage(role=MessageRole.USER, content="a\x00b", time=NOON), "content"),
        (NewMessage(role=MessageRole.USER, content="", time=NOON.replace(tzinfo=None)), "time"),
        (says("", token_count=-1), "token_count"),
    ],
)
async def test_a_bad_message_is_refused_and_none_of_its_batch_is_written(
    db: Database, message: NewMessage, field: str
) -> None:
    gpt = await enter(db)
    conversation = await begin(gpt)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        with pytest.raises(InvalidData) as refused:
            await add_messages(unit, conversation, [says("fine"), message])
    async with db.read(user=gpt.agent.user_id) as unit:
        assert await unit.messages.count() == 0
    assert refused.value.field == field


async def test_nobody_speaks_in_the_conversation_of_another_tenant(db: Database) -> None:
    gpt, other = await enter(db), await enter(db, username="grace")
    conversation = await begin(gpt)
    async with db.transaction(user=other.agent.user_id) as unit:
        with pytest.raises(NotFound):
            await add_messages(unit, conversation, [says("hello")])


async def test_what_was_said_cannot_be_unsaid(db: Database) -> None:
    gpt = await enter(db)
    conversation = await begin(gpt)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        await add_messages(unit, conversation, [says("Sold everything.")])
    with pytest.raises(AccessDenied):
        async with db.transaction(user=gpt.agent.user_id) as unit:
            (message,) = await unit.messages.all()
            message.content = "Bought everything."


async def test_an_analysis_replaces_an_older_one_and_never_a_newer_one(db: Database) -> None:
    gpt = await enter(db)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        for minute, rate, stored in ((5, "10.909090909090908", True), (3, "1", False)):
            payload = {"winners_losers_breakdown_table": {"win_rate": Decimal(rate)}}
            when = NOON + timedelta(minutes=minute)
            assert await record_analytics(unit, gpt.agent, payload, updated_at=when) is stored
    async with db.read(user=gpt.agent.user_id) as unit:
        exact = await unit.agent_analytics.exact([gpt.agent])
        row = await unit.agent_analytics.get(gpt.agent.id)
    table = exact[gpt.agent.id]["winners_losers_breakdown_table"]
    assert table == {"win_rate": Decimal("10.909090909090908")}
    assert row.updated_at == NOON + timedelta(minutes=5)


async def test_a_float_has_no_place_in_an_analysis(db: Database) -> None:
    gpt = await enter(db)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        with pytest.raises(InvalidData, match="json must be made of"):
            await record_analytics(unit, gpt.agent, {"win_rate": 0.1}, updated_at=NOON)


async def test_two_agents_share_neither_a_name_nor_a_portfolio(db: Database) -> None:
    gpt = await enter(db)
    of = {"user_id": gpt.agent.user_id, "display_name": "Two"}
    with pytest.raises(AlreadyExists):
        async with db.transaction(user=gpt.agent.user_id) as unit:
            unit.agents.add(Agent(slug="other", portfolio_id=gpt.account.portfolio.id, **of))
    async with db.transaction(user=gpt.agent.user_id) as unit:
        with pytest.raises(NotFound):
            await unit.agents.by_slug("other")
        assert (await unit.agents.by_slug("gpt-5")).portfolio.name == "Main"


@pytest.mark.parametrize("slug", ["", " gpt", "gpt 5", "-gpt", "g" * 101, "gpt\n5"])
async def test_a_slug_is_a_word_that_fits_an_address(db: Database, slug: str) -> None:
    gpt = await enter(db)
    with pytest.raises(CheckFailed):
        async with db.transaction(user=gpt.agent.user_id) as unit:
            (await unit.agents.get(gpt.agent.id)).slug = slug


async def test_an_agent_cannot_take_the_portfolio_of_another_tenant(db: Database) -> None:
    gpt, other = await enter(db), await enter(db, username="grace")
    with pytest.raises(Exception, match="agents"):
        async with db.transaction(system="test") as unit:
            unit.agents.add(
                Agent(
                    user_id=gpt.agent.user_id,
                    slug="thief",
                    display_name="Thief",
                    portfolio_id=other.account.portfolio.id,
                )
            )


async def test_a_user_goes_with_all_agents_and_conversations(db: Database) -> None:
    gpt = await enter(db)
    conversation = await begin(gpt)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        await add_messages(unit, conversation, [says("Goodbye.")])
        await record_analytics(unit, gpt.agent, {"id": "gpt-5"}, updated_at=NOON)
    async with db.transaction(system="test") as unit:
        await unit.users.remove(await unit.users.get(gpt.agent.user_id))
    async with db.read(system="test") as unit:
        assert await unit.agents.count() == await unit.messages.count() == 0
