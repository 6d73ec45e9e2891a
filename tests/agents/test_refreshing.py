"""The leaderboard follows the facts, computes what changed, and never goes back."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import event, text

from domain import Database
from domain.agents.models import Standing
from domain.agents.refreshing import Refreshed, refresh_leaderboard
from domain.errors import InvalidData
from domain.market.models import FxRate
from domain.trading.terms import Side
from tests.factories.agents import Contestant, enter, enter_beside


async def refresh(contestant: Contestant, *, is_forced: bool = False) -> Refreshed:
    async with contestant.db.transaction(user=contestant.agent.user_id) as unit:
        return await refresh_leaderboard(unit, is_forced=is_forced)


async def standing(contestant: Contestant) -> Standing:
    async with contestant.db.read(user=contestant.agent.user_id) as unit:
        return await unit.leaderboard.get(contestant.agent.id)


async def win_and_lose(contestant: Contestant) -> None:
    trade = contestant.account.trade
    await trade(Side.BUY, "10", "100", commission=Decimal(1))
    await trade(Side.SELL, "10", "104", minute=1, commission=Decimal(1))
    await trade(Side.SELL, "5", "104", minute=2, commission=Decimal(1))
    await trade(Side.BUY, "5", "110", minute=3, commission=Decimal(1))
    await trade(Side.BUY, "1", "100", minute=4)
    await trade(Side.SELL, "1", "100", minute=5)
    await trade(Side.BUY, "2", "100", minute=6)


async def test_the_nine_figures_come_from_round_trips_and_snapshots(db: Database) -> None:
    gpt = await enter(db)
    await win_and_lose(gpt)
    await gpt.value((0, "1000", "1000"), (1, "1100", "1000"), (2, "1210", "1100"))
    assert await refresh(gpt) == Refreshed(refreshed=1, unchanged=0)
    line = await standing(gpt)
    assert (line.num_trades, line.num_wins, line.num_losses) == (3, 1, 1)
    assert (line.win_dollars, line.lose_dollars) == (Decimal(38), Decimal(-32))
    assert (line.equity, line.return_pct) == (Decimal(1210), Decimal(10))
    assert (line.sharpe, line.currency) == (Decimal("16.211107303328"), "USD")  # 0.6 * sqrt(730)


async def test_an_agent_that_never_traded_has_a_line_without_figures(db: Database) -> None:
    gpt = await enter(db)
    await refresh(gpt)
    line = await standing(gpt)
    assert (line.equity, line.sharpe, line.return_pct, line.valued_at) == (None, None, None, None)
    assert (line.num_trades, line.win_dollars) == (0, Decimal(0))


async def test_only_agents_whose_facts_changed_are_computed_again(db: Database) -> None:
    gpt = await enter(db)
    grok = await enter_beside(gpt, "grok-4")
    await win_and_lose(gpt)
    await gpt.value((0, "1000", "1000"))
    await grok.value((0, "1000", "1000"))
    assert await refresh(gpt) == Refreshed(refreshed=2, unchanged=0)
    assert await refresh(gpt) == Refreshed(refreshed=0, unchanged=2)
    before = await standing(grok)
    await gpt.value((0, "1000.000000000000000001", "1000"))
    assert await refresh(gpt) == Refreshed(refreshed=1, unchanged=1)
    assert (await standing(gpt)).equity == Decimal("1000.000000000000000001")
    assert (await standing(grok)).refreshed_at == before.refreshed_at
    assert await refresh(gpt, is_forced=True) == Refreshed(refreshed=2, unchanged=0)


async def test_a_rewritten_curve_of_the_same_length_is_noticed(db: Database) -> None:
    gpt = await enter(db)
    await gpt.value((0, "1000", "1000"), (1, "1100", "1000"), (2, "1200", "1000"))
    await refresh(gpt)
    await gpt.value((1, "1150", "1000"))
    assert await refresh(gpt) == Refreshed(refreshed=1, unchanged=0)


async def test_a_correction_of_a_closed_position_is_noticed(db: Database) -> None:
    gpt = await enter(db)
    await win_and_lose(gpt)
    await refresh(gpt)
    await gpt.account.trade(Side.BUY, "10", "90", minute=-1)
    assert await refresh(gpt) == Refreshed(refreshed=1, unchanged=0)
    assert (await standing(gpt)).num_trades < 3


async def test_a_later_inception_is_noticed_and_cuts_what_was_before(db: Database) -> None:
    gpt = await enter(db)
    await win_and_lose(gpt)
    await gpt.value((0, "1000", "1000"), (1, "500", "1000"), (2, "750", "1000"))
    await refresh(gpt)
    async with db.transaction(user=gpt.agent.user_id) as unit:
        portfolio = await unit.portfolios.get(gpt.account.portfolio.id)
        portfolio.inception_at = datetime(2024, 1, 3, 12, tzinfo=UTC)
    assert await refresh(gpt) == Refreshed(refreshed=1, unchanged=0)
    line = await standing(gpt)
    assert (line.return_pct, line.num_trades) == (Decimal(50), 0)


async def test_profits_in_another_currency_are_converted_at_the_closing_days_rate(
    db: Database,
) -> None:
    euro = await enter(db, base_currency="EUR")
    async with db.transaction(system="test") as unit:
        for day, rate in ((1, "1.10"), (4, "1.25")):
            unit.fx_rates.add(
                FxRate(
                    base_currency="EUR",
                    quote_currency="USD",
                    on=date(2024, 1, day),
                    source="ecb",
                    rate=Decimal(rate),
                )
            )
    await euro.account.trade(Side.BUY, "10", "100")
    await euro.account.trade(
        Side.SELL, "10", "111", minute=24 * 60
    )  # 3 January: the rate of the 1st
    await euro.account.trade(Side.BUY, "10", "100", minute=25 * 60)
    await euro.account.trade(Side.SELL, "10", "95", minute=72 * 60)  # 5 January: that of the 4th
    await refresh(euro)
    line = await standing(euro)
    assert (line.win_dollars, line.lose_dollars) == (Decimal(100), Decimal(-40))


async def test_without_any_exchange_rate_the_pair_is_named(db: Database) -> None:
    euro = await enter(db, base_currency="EUR")
    await euro.account.trade(Side.BUY, "10", "100")
    await euro.account.trade(Side.SELL, "10", "111", minute=1)
    with pytest.raises(InvalidData, match="USD/EUR"):
        await refresh(euro)


async def test_a_refresh_that_waited_does_not_overwrite_what_is_newer(db: Database) -> None:
    gpt = await enter(db)
    await gpt.value((0, "1000", "1000"))

    async def slow() -> None:
        async with db.transaction(user=gpt.agent.user_id) as unit:
            await refresh_leaderboard(unit)
            await asyncio.sleep(0.3)

    async def late() -> None:
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(refresh(gpt))
        await asyncio.sleep(0.1)
        await gpt.value((1, "1234", "1000"))  # commits while the second refresh waits
        await waiting

    await asyncio.gather(slow(), late())
    assert (await standing(gpt)).equity == Decimal(1234)


async def test_many_refreshes_at_once_neither_fail_nor_disagree(db: Database) -> None:
    first = await enter(db)
    others = [await enter_beside(first, f"agent-{number}") for number in range(4)]
    everyone = [first, *others]

    async def work(number: int) -> None:
        contestant = everyone[number % len(everyone)]
        await contestant.value((number, str(1000 + number), "1000"))
        chosen = [item.agent for item in (everyone if number % 2 else reversed(everyone))]
        async with db.transaction(user=first.agent.user_id) as unit:
            await refresh_leaderboard(unit, chosen)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert await refresh(first) == Refreshed(refreshed=0, unchanged=5)
    assert [(await standing(item)).equity for item in everyone] == [
        Decimal(1015 + number) for number in range(5)
    ]


async def test_a_tenant_refreshes_and_sees_their_own_agents_only(db: Database) -> None:
    mine, theirs = await enter(db), await enter(db, username="grace")
    for contestant in (mine, theirs):
        await contestant.value((0, "1000", "1000"))
    assert await refresh(mine) == Refreshed(refreshed=1, unchanged=0)
    async with db.transaction(user=mine.agent.user_id) as unit:
        assert (await refresh_leaderboard(unit, [theirs.agent])).refreshed == 0
    async with db.transaction(system="nightly") as unit:
        assert await refresh_leaderboard(unit) == Refreshed(refreshed=1, unchanged=1)
    async with db.read(user=mine.agent.user_id) as unit:
        assert [line.agent_id for line in await unit.leaderboard.ranked()] == [mine.agent.id]
        rows = await unit.session.execute(text("SELECT model_id, equity FROM agents.standings"))
        assert rows.all() == [("gpt-5", Decimal(1000))]


async def test_a_refresh_asks_as_much_for_thirty_agents_as_for_one(db: Database) -> None:
    first = await enter(db)
    contestants = [first, *[await enter_beside(first, f"agent-{n}") for n in range(29)]]
    for contestant in contestants:
        await contestant.value((0, "1000", "1000"), (1, "1001", "1000"))
    statements: list[str] = []
    event.listen(
        db.engine.sync_engine,
        "before_cursor_execute",
        lambda *arguments: statements.append(arguments[2]),
    )
    assert (await refresh(first)).refreshed == 30
    assert len(statements) <= 8


async def test_the_best_return_leads_and_the_retired_are_left_out(db: Database) -> None:
    gpt = await enter(db)
    qwen, grok, new = [await enter_beside(gpt, slug) for slug in ("qwen3-max", "grok-4", "new")]
    await gpt.value((0, "900", "1000"))
    await qwen.value((0, "1100", "1000"))
    await grok.value((0, "5000", "1000"))
    async with db.transaction(user=gpt.agent.user_id) as unit:
        (await unit.agents.get(grok.agent.id)).archived_at = datetime(2024, 2, 1, tzinfo=UTC)
    await refresh(gpt)
    async with db.read(user=gpt.agent.user_id) as unit:
        ranked = [line.agent.slug for line in await unit.leaderboard.ranked()]
    assert ranked == ["qwen3-max", "gpt-5", "new"]
    assert new.agent.archived_at is None


async def test_the_track_record_is_read_whole_or_thinned_out(db: Database) -> None:
    gpt = await enter(db)
    await gpt.value(*((day, str(1000 + day % 7), "1000") for day in range(200)))
    async with db.read(user=gpt.agent.user_id) as unit:
        whole = await unit.agents.since_inception(gpt.agent)
        thin = await unit.agents.since_inception(gpt.agent, limit=20)
        rows = await unit.session.execute(
            text("SELECT model_id, timestamp, value FROM agents.since_inception ORDER BY timestamp")
        )
        assert [(time, value) for _, time, value in rows] == list(whole)
    assert (len(whole), len(thin)) == (200, 20)
    assert set(thin) <= set(whole)
    assert whole[1][0] - whole[0][0] == timedelta(days=1)
