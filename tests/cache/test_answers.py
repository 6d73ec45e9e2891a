"""Every declared answer: equal to the plain read, kept, fresh after every write, its owner's only."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Computed, delete, text, update

from domain import Database
from domain.agents.analysing import record_analytics
from domain.agents.conversing import add_messages
from domain.agents.models import Agent
from domain.agents.refreshing import refresh_leaderboard
from domain.cache import CachedRead
from domain.database import Answers
from domain.identity.models import Role, User, UserSession
from domain.identity.signing_in import close_session, set_password, token_hash
from domain.market.ingesting import advance_latest_prices, ingest_ticks
from domain.market.models import CorporateAction, Instrument, LatestPrice
from domain.market.terms import CorporateActionKind, InstrumentKind, OptionType
from domain.news.calendar import NewEvent, ingest_events
from domain.news.releases import Release, ingest_releases
from domain.research.analysing import save_analysis
from domain.schema import metadata
from domain.trading.adjusting import register_action
from domain.trading.cached import recent_trades
from domain.trading.correcting import bust_trade, correct_trade, revert_import
from domain.trading.importing.booking import BrokerFile, import_file
from domain.trading.models import Portfolio, Trade
from domain.trading.recording import record_trade
from domain.trading.terms import Side
from domain.trading.valuing import mark_positions, refresh_equity
from tests.cache.worlds import (
    EXPIRY,
    LIFETIME,
    OPENED,
    Answer,
    World,
    of_the_product,
    said,
    snapshot,
    statements,
)
from tests.factories.market import make_instrument
from tests.trading.test_importing_files import BUY_OLDA, HEADER

LATER = OPENED + timedelta(hours=1)
NAMES = sorted(of_the_product())
QUALIFIED = re.compile(r'\b(?:FROM|JOIN)\s+(?:ONLY\s+)?"?(\w+)"?\."?(\w+)"?', re.IGNORECASE)


def test_every_declared_answer_of_the_product_is_reached_from_the_database() -> None:
    reached = {item.read.name for item in vars(Answers).values() if hasattr(item, "read")}
    assert reached == set(NAMES)


async def test_answers_equal_the_plain_reads_and_are_then_read_without_the_database(
    world: World,
) -> None:
    for name, answer in world.answers(world.ada).items():
        plain = await answer.plain()
        assert plain not in (None, ()), name
        assert await answer.keep() == plain, name
        with statements(world.db) as sql:
            assert await answer.cached() == plain, name
        assert [line for line in sql if "cache." not in line] == [], name


async def test_no_loader_reads_a_table_or_column_whose_writes_make_nothing_stale(
    world: World,
) -> None:
    answers = world.answers(world.ada)
    assert sorted(answers) == NAMES
    for name, answer in answers.items():
        with statements(world.db) as sql:
            await answer.plain()
        queries = " ".join(line for line in sql if line.startswith("SELECT") and "FROM" in line)
        tables = {".".join(found) for found in QUALIFIED.findall(queries)}
        assert tables, name
        assert tables <= {rows.table.fullname for rows in answer.read.stale_by}, name
        for rows in answer.read.stale_by:
            for column in rows.ignored | generated_from(rows.table, rows.ignored):
                assert not re.search(rf"\b{rows.table.name}\.{column}\b", queries), (name, column)


def generated_from(table: Any, columns: frozenset[str]) -> set[str]:
    return {
        column.name
        for column in table.columns
        if isinstance(column.computed, Computed)
        and any(re.search(rf"\b{name}\b", str(column.computed.sqltext)) for name in columns)
    }


async def test_another_user_gets_nothing_of_an_owners_answer(world: World) -> None:
    for name, answer in world.answers(world.ada).items():
        if answer.read.audience == "owner":
            mine = await answer.keep()
            theirs = await Answer(world.db, answer.read, answer.args, world.bob.id).cached()
            assert theirs in (None, ()) or theirs != mine, name


async def test_nobody_may_ask_for_an_owners_answer(world: World) -> None:
    with pytest.raises(Exception, match="be asked for a user"):
        await world.db.cached().open_positions(world.ada.portfolio.id)


Write = Callable[[World], Awaitable[Any]]


async def books_a_trade(world: World) -> None:
    await world.account(world.ada).trade(Side.BUY, "5", "190", executed_at=LATER)


async def books_a_trade_as_system(world: World) -> None:
    async with world.db.transaction(system="import") as unit:
        await record_trade(
            unit,
            world.ada.portfolio,
            world.apple,
            side=Side.SELL,
            quantity=Decimal(10),
            price=Decimal(190),
            executed_at=LATER,
        )


async def _only_trade(world: World) -> Trade:
    async with world.db.read(user=world.ada.id) as unit:
        return (await unit.trades.all())[0]


async def corrects_a_trade(world: World) -> None:
    trade = await _only_trade(world)
    async with world.db.transaction(system="correction") as unit:
        await correct_trade(unit, trade.id, quantity=Decimal(7))


async def busts_a_trade(world: World) -> None:
    trade = await _only_trade(world)
    async with world.db.transaction(system="correction") as unit:
        await bust_trade(unit, trade.id, reason="never was")


async def _import(world: World) -> Any:
    file = BrokerFile("tastytrade", f"{HEADER}\n{BUY_OLDA}\n".encode())
    async with world.db.transaction(user=world.ada.id) as unit:
        return await import_file(unit, world.ada.portfolio, file)


async def imports_a_file(world: World) -> None:
    report = await _import(world)
    assert report.batch_id is not None


async def imports_and_reverts_a_file(world: World) -> None:
    report = await _import(world)
    ledger = world.answers(world.ada)["portfolio_ledger"]
    assert len((await ledger.keep()).positions) == 2
    async with world.db.transaction(system="revert") as unit:
        await revert_import(unit, report.batch_id)


async def splits_the_share(world: World) -> None:
    async with world.db.transaction(system="actions") as unit:
        action = CorporateAction(
            instrument_id=world.apple.id,
            kind=CorporateActionKind.SPLIT,
            ex_on=LATER.date(),
            effective_at=LATER,
            source="test",
            numerator=4,
            denominator=1,
        )
        await register_action(unit, action)


async def copies_cash_in(world: World) -> None:
    row = {
        "user_id": world.ada.id,
        "portfolio_id": world.ada.portfolio.id,
        "kind": "deposit",
        "amount": Decimal(500),
        "currency": "USD",
        "effective_at": LATER,
        "source": "manual",
        "dedupe_key": "d1",
    }
    async with world.db.transaction(system="load") as unit:
        await unit.cash_movements.copy_in([row])


async def renames_the_portfolio(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        (await unit.portfolios.get(world.ada.portfolio.id)).name = "Renamed"


async def moves_portfolios_in_bulk(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        await unit.session.execute(
            update(Portfolio)
            .where(Portfolio.id.in_([world.ada.portfolio.id]))
            .values(base_currency="EUR", inception_at=LATER)
        )


async def renames_the_portfolio_in_sql(world: World) -> None:
    async with world.db.transaction(system="sql") as unit:
        await unit.session.execute(
            text("UPDATE trading.portfolios SET name = 'By hand', inception_at = :at"),
            {"at": LATER},
        )


async def ticks(world: World) -> None:
    tick = {
        "instrument_id": world.apple.id,
        "time": LATER,
        "price": Decimal("188"),
        "source": "feed",
    }
    async with world.db.transaction(system="feed") as unit:
        await ingest_ticks(unit, [tick])


async def advances_a_price(world: World) -> None:
    price = {
        "instrument_id": world.apple.id,
        "price": Decimal("1.5"),
        "time": LATER,
        "source": "feed",
    }
    async with world.db.transaction(system="feed") as unit:
        await advance_latest_prices(unit, [price])


async def edits_a_price(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        (await unit.latest_prices.get(world.apple.id)).mark = Decimal("187.3")


async def deletes_a_price(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        await unit.session.execute(
            delete(LatestPrice).where(LatestPrice.instrument_id == world.apple.id)
        )


async def edits_the_instrument(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        await unit.instruments.patch(world.apple.id, name="Apple Inc.", symbol="APPL")


async def lists_an_option(world: World) -> None:
    async with world.db.transaction(system="feed") as unit:
        await make_instrument(
            unit,
            "AAPL  260619P00250000",
            kind=InstrumentKind.OPTION,
            underlying_id=world.apple.id,
            option_root="AAPL",
            option_type=OptionType.PUT,
            strike=Decimal(250),
            expires_on=EXPIRY,
        )


async def delists_options_in_bulk(world: World) -> None:
    async with world.db.transaction(system="feed") as unit:
        await unit.session.execute(
            update(Instrument).where(Instrument.expires_on <= EXPIRY).values(status="expired")
        )


async def locks_the_account(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        user = await unit.users.get(world.ada.id)
        user.is_active = False
        await unit.user_sessions.revoke_all(user, at=LATER.replace(year=2099), reason="locked")


async def gives_a_role(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        await unit.users.patch(world.ada.id, role=Role.MANAGER)


async def allows_a_role_more(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        for rule in await unit.role_permissions.all():
            await unit.role_permissions.remove(rule)


async def logs_out(world: World) -> None:
    async with world.db.transaction(system="logout") as unit:
        await close_session(unit, world.ada.token, reason="logout")


async def changes_the_password(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        user = await unit.users.get(world.ada.id)
        await set_password(unit, user, "correct horse battery staple")


async def revokes_the_key(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        key = await unit.api_keys.by_key_hash(token_hash(world.ada.secret))
        assert key is not None
        await unit.api_keys.patch(key.id, revoked_at=LATER)


async def concludes_anew(world: World) -> None:
    async with world.db.transaction(system="workflow") as unit:
        await save_analysis(unit, world.apple, "chart", {"trend": "down"}, user_id=world.ada.id)


async def values_the_portfolio(world: World) -> None:
    async with world.db.transaction(system="valuation") as unit:
        portfolio = await unit.portfolios.get(world.ada.portfolio.id)
        await refresh_equity(unit, portfolio, until=LATER.date())


async def refreshes_the_leaderboard(world: World) -> None:
    async with world.db.transaction(system="refresh") as unit:
        await unit.equity_snapshots.insert_many([snapshot(world.ada.portfolio, 9, "12000")])
        await refresh_leaderboard(unit, [await unit.agents.get(world.ada.agent.id)])


async def retires_the_agent(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        await unit.agents.patch(world.ada.agent.id, archived_at=LATER)


async def analyses_the_agent(world: World) -> None:
    async with world.db.transaction(system="analysis") as unit:
        agent = await unit.agents.get(world.ada.agent.id)
        await record_analytics(unit, agent, {"fees": Decimal("13.10")}, updated_at=LATER)


async def says_something(world: World) -> None:
    async with world.db.transaction(system="agent") as unit:
        conversation = await unit.conversations.get(world.ada.conversation.id)
        await add_messages(unit, conversation, [said("sell")])


async def deletes_the_conversation(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        await unit.conversations.remove(await unit.conversations.get(world.ada.conversation.id))


async def deletes_agents_in_bulk(world: World) -> None:
    async with world.db.transaction(staff="mia") as unit:
        await unit.session.execute(delete(Agent).where(Agent.slug == world.ada.agent.slug))


LEDGER = ("portfolio_ledger", "open_positions", "recent_trades")
PORTFOLIO = ("portfolio_ledger", "track_record")
WRITES: list[tuple[Write, tuple[str, ...]]] = [
    (books_a_trade, LEDGER),
    (books_a_trade_as_system, LEDGER),
    (corrects_a_trade, LEDGER),
    (busts_a_trade, LEDGER),
    (imports_a_file, LEDGER),
    (splits_the_share, ("portfolio_ledger", "open_positions")),
    (copies_cash_in, ("portfolio_ledger",)),
    (renames_the_portfolio, ("portfolio_ledger",)),
    (moves_portfolios_in_bulk, PORTFOLIO),
    (renames_the_portfolio_in_sql, PORTFOLIO),
    (ticks, ("quote",)),
    (advances_a_price, ("quote",)),
    (edits_a_price, ("quote",)),
    (deletes_a_price, ("quote",)),
    (edits_the_instrument, ("instrument", "company_facts", "instruments_named")),
    (lists_an_option, ("option_chain",)),
    (delists_options_in_bulk, ("option_chain",)),
    (locks_the_account, ("account", "login")),
    (gives_a_role, ("account",)),
    (allows_a_role_more, ("role_rules",)),
    (logs_out, ("login",)),
    (changes_the_password, ("login",)),
    (revokes_the_key, ("api_key",)),
    (concludes_anew, ("latest_analysis",)),
    (values_the_portfolio, ("track_record",)),
    (refreshes_the_leaderboard, ("leaderboard", "track_record")),
    (retires_the_agent, ("agent", "agent_named", "leaderboard")),
    (analyses_the_agent, ("analytics",)),
    (says_something, ("conversation", "conversations")),
    (deletes_the_conversation, ("conversation", "conversations")),
    (deletes_agents_in_bulk, ("agent", "agent_named", "leaderboard", "analytics", "conversation")),
]


@pytest.mark.parametrize(("write", "names"), WRITES, ids=lambda item: getattr(item, "__name__", ""))
async def test_the_very_next_read_sees_every_way_of_writing_and_other_users_keep_theirs(
    world: World, write: Write, names: tuple[str, ...]
) -> None:
    answers = world.answers(world.ada)
    before = {name: await answers[name].keep() for name in names}
    of_others = {
        name: answer
        for name, answer in world.answers(world.bob).items()
        if name not in OF_EVERYBODY
    }
    for answer in of_others.values():
        await answer.keep()
    await write(world)
    gone = {name for name, answer in of_others.items() if not await answer.is_kept()}
    for name in names:
        seen = await answers[name].cached()
        assert seen != before[name], name
        assert seen == await answers[name].plain(), name
    assert gone == WIDE.get(write.__name__, set())


OF_EVERYBODY = {
    "role_rules",
    "instrument",
    "instruments_named",
    "company_facts",
    "quote",
    "option_chain",
}
WIDE: dict[str, set[str]] = {
    # Statements that name no owner: whoever could be meant loads anew.
    "moves_portfolios_in_bulk": {"portfolio_ledger", "track_record"},
    "renames_the_portfolio_in_sql": {"portfolio_ledger", "track_record"},
    "revokes_the_key": {"api_key"},
    "retires_the_agent": {"agent_named", "leaderboard"},
    "deletes_agents_in_bulk": {
        *("agent", "leaderboard", "analytics", "conversation", "conversations")
    },
    # Both hold the share.
    "splits_the_share": {"portfolio_ledger", "open_positions"},
}


async def test_a_reverted_import_is_gone_from_the_next_read(world: World) -> None:
    answers = world.answers(world.ada)
    before = {name: await answers[name].keep() for name in LEDGER}
    await imports_and_reverts_a_file(world)
    for name in LEDGER:
        assert await answers[name].cached() == await answers[name].plain() == before[name]


async def test_a_deleted_user_is_gone_with_all_that_went_with_him(world: World) -> None:
    async with world.db.transaction(system="test") as unit:
        eve = unit.users.add(User(username="eve", role=Role.USER))
        await unit.flush()
        portfolio = unit.portfolios.add(Portfolio(user_id=eve.id, name="Main"))
        await unit.flush()
    mine = [
        Answer(world.db, of_the_product()["account"], (eve.id,), None),
        Answer(world.db, of_the_product()["portfolio_ledger"], (portfolio.id,), eve.id),
        Answer(world.db, of_the_product()["leaderboard"], (), eve.id),
    ]
    others = world.answers(world.bob).values()
    for answer in [*mine, *others]:
        await answer.keep()
    async with world.db.transaction(staff="mia") as unit:
        await unit.users.remove(await unit.users.get(eve.id))
    assert [await answer.cached() for answer in mine] == [None, None, ()]
    gone = [answer.read.name for answer in others if not await answer.is_kept()]
    # A login is known by its token alone, which the deleted user's row does not tell.
    assert set(gone) <= {"login", "api_key"}


async def test_a_price_throws_out_that_quote_only_and_no_ledger(world: World) -> None:
    other = world.answer(of_the_product()["quote"], world.other.id)
    kept = [other, *(world.answers(world.ada)[name] for name in LEDGER)]
    for answer in kept:
        await answer.keep()
    await ticks(world)
    async with world.db.transaction(system="valuation") as unit:
        assert await mark_positions(unit) == 2
    assert [await answer.is_kept() for answer in kept] == [True] * 4


async def test_an_overview_follows_prices_though_its_ledger_stays_cached(world: World) -> None:
    reader = world.db.cached(user=world.ada.id)
    before = await reader.portfolio_overview(world.ada.portfolio.id)
    await ticks(world)
    after = await reader.portfolio_overview(world.ada.portfolio.id)
    assert before is not None
    assert after is not None
    (position,) = after.positions
    assert (position.symbol, position.price, position.market_value) == (
        "AAPL",
        Decimal(188),
        Decimal(1880),
    )
    assert position.unrealized == Decimal("1880") - Decimal("1801") - Decimal("1.25")
    (total,) = after.totals
    assert total.cash == Decimal("-1802.25")
    assert total.equity == total.cash + 1880
    assert before.positions[0].price == Decimal("187.25")


async def test_a_cached_overview_takes_no_statement_at_all(world: World) -> None:
    reader = world.db.cached(user=world.ada.id)
    answers = world.answers(world.ada)
    for name in ("portfolio_ledger", "instrument", "quote"):
        await answers[name].keep()
    with statements(world.db) as sql:
        await reader.portfolio_overview(world.ada.portfolio.id)
    assert [line for line in sql if "cache." not in line] == []


async def test_a_margined_position_adds_its_profit_to_equity_and_not_its_value(
    world: World,
) -> None:
    async with world.db.transaction(system="test") as unit:
        future = await make_instrument(
            unit, "ESM6", kind=InstrumentKind.FUTURE, cash_model="margined", multiplier=Decimal(50)
        )
        price = {"instrument_id": future.id, "price": Decimal(5010), "time": LATER, "source": "x"}
        await advance_latest_prices(unit, [price])
        await record_trade(
            unit,
            world.bob.portfolio,
            future,
            side=Side.BUY,
            quantity=Decimal(1),
            price=Decimal(5000),
            executed_at=LATER,
        )
    overview = await world.db.cached(user=world.bob.id).portfolio_overview(world.bob.portfolio.id)
    assert overview is not None
    (held,) = [item for item in overview.positions if item.symbol == "ESM6"]
    assert (held.market_value, held.unrealized, held.counts) == (
        Decimal(250_500),
        Decimal(500),
        Decimal(500),
    )


async def test_a_unit_sees_its_own_writes_before_it_commits_and_nobody_else_does(
    world: World,
) -> None:
    answer = world.answers(world.ada)["recent_trades"]
    before = await answer.keep()
    async with world.db.transaction(user=world.ada.id) as unit:
        await record_trade(
            unit,
            world.ada.portfolio,
            world.apple,
            side=Side.SELL,
            quantity=Decimal(4),
            price=Decimal(190),
            executed_at=LATER,
        )
        mine = await unit.cached.recent_trades(world.ada.portfolio.id)
        overview = await unit.cached.portfolio_overview(world.ada.portfolio.id)
        assert await answer.cached() == before
        await unit.session.rollback()
    assert len(mine) == len(before) + 1
    assert overview is not None
    assert overview.positions[0].facts.quantity == 6
    assert await answer.cached() == before


async def test_a_symbol_leads_to_quote_chain_and_analysis(world: World) -> None:
    reader = world.db.cached(user=world.ada.id)
    quote = await reader.quote_of_symbol("AAPL")
    assert quote is not None
    assert quote.price == Decimal("187.25")
    (option,) = await reader.quoted_chain(world.apple.id, EXPIRY)
    assert option.quote is not None
    assert (option.contract.strike, option.quote.price) == (Decimal(250), Decimal("12.4"))
    analysis = await reader.latest_analysis_of_symbol("AAPL", "chart")
    assert analysis is not None
    assert bytes(analysis.result) == b'{"trend": "up"}'
    assert await reader.latest_analysis_of_symbol("NONE", "chart") is None
    points = await reader.since_inception(world.ada.agent.id)
    assert [point.equity for point in points] == [10_000, 10_001, 10_002]


async def test_news_of_an_issuer_makes_its_facts_and_analyses_stale_in_the_same_commit(
    world: World,
) -> None:
    answers = world.answers(world.ada)
    stale = [answers["company_facts"], answers["latest_analysis"]]
    of_other = world.answer(of_the_product()["latest_analysis"], world.other.id, "chart")
    for answer in [*stale, of_other]:
        await answer.keep()
    earnings = NewEvent(
        event_type="earnings", name="Q1 2026", occurs_at=LATER, source="feed", symbol="AAPL"
    )
    async with world.db.transaction(system="calendar") as unit:
        await ingest_events(unit, [earnings])
        assert [await answer.is_kept() for answer in stale] == [True, True]
    assert [await answer.is_kept() for answer in [*stale, of_other]] == [False, False, True]


async def test_a_release_makes_conclusions_stale(world: World) -> None:
    analysis = world.answers(world.ada)["latest_analysis"]
    await analysis.keep()
    release = Release(
        symbol="CPI", observed_on=OPENED.date(), vintage_on=LATER.date(), value=Decimal("3.1")
    )
    async with world.db.transaction(system="releases") as unit:
        await ingest_releases(unit, [release])
    assert not await analysis.is_kept()


async def test_a_revoked_login_or_key_and_a_locked_account_are_refused_at_once(
    world: World,
) -> None:
    reader = world.db.cached()
    ada = world.ada
    caller = await reader.caller_of_api_key(ada.secret)
    account = await reader.account_of_session(ada.token, LIFETIME)
    assert caller is not None
    assert account is not None
    assert (caller.account.username, caller.permissions) == ("ada", ("trade",))
    await revokes_the_key(world)
    assert await reader.caller_of_api_key(ada.secret) is None
    await logs_out(world)
    assert await reader.account_of_session(ada.token, LIFETIME) is None
    assert await reader.account_of_session(world.bob.token, LIFETIME) is not None
    async with world.db.transaction(staff="mia") as unit:
        await unit.users.patch(world.bob.id, is_active=False)
    assert await reader.account_of_session(world.bob.token, LIFETIME) is None
    assert await reader.account_of_session("guessed", LIFETIME) is None


async def test_no_token_or_secret_reaches_the_cache(world: World) -> None:
    reader = world.db.cached()
    await reader.caller_of_api_key(world.ada.secret)
    await reader.account_of_session(world.ada.token, LIFETIME)
    for name in ("login", "api_key"):
        await world.answers(world.ada)[name].keep()
    kept = [key for key, _ in await world.db.cache.scan()]
    client = world.db.cache.store._store.client  # type: ignore[attr-defined]  # the tests' real server
    written = [await client.get(key) for key in kept if ":session:" in key]
    assert len(written) >= 2
    shown = str(kept) + str(written)
    assert world.ada.token not in shown
    assert world.ada.secret not in shown
    assert token_hash(world.ada.token).hex() in shown


async def test_use_of_a_key_or_login_throws_no_other_login_out(world: World) -> None:
    async with world.db.transaction(system="seen") as unit:
        login = await unit.user_sessions.by_token_hash(token_hash(world.ada.token))
        assert login is not None
    answers = [world.answers(world.bob)[name] for name in ("login", "api_key", "account")]
    for answer in answers:
        await answer.keep()
    async with world.db.transaction(system="seen") as unit:
        await unit.session.execute(
            update(UserSession)
            .where(UserSession.token_hash == token_hash(world.ada.token))
            .values(last_seen_at=LATER)
        )
        user = await unit.users.get(world.bob.id)
        user.last_login_at = LATER
    assert [await answer.is_kept() for answer in answers] == [True, True, True]


async def test_questions_asked_together_inside_a_writing_unit_take_turns(world: World) -> None:
    async with world.db.transaction(user=world.ada.id) as unit:
        (await unit.portfolios.get(world.ada.portfolio.id)).name = "Renamed"
        overview = await unit.cached.portfolio_overview(world.ada.portfolio.id)
    assert overview is not None
    assert (overview.portfolio.name, overview.positions[0].symbol) == ("Renamed", "AAPL")


def test_an_ignored_attribute_must_exist() -> None:
    read: CachedRead[Any, Any] = recent_trades
    with pytest.raises(Exception, match="be an attribute of Trade"):
        read.stale_by[0].ignoring("colour")


async def test_an_answer_of_a_database_without_a_cache_is_the_plain_read(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        apple = await make_instrument(unit)
    assert await db.cached().instruments_named("AAPL") == (apple.id,)
    assert metadata.tables
