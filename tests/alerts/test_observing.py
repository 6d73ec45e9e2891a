"""Where values come from: newest prices, days to expiry, short options, articles."""

import asyncio
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain import Database
from domain.alerts.matching import ArticleSeen
from domain.alerts.observing import (
    instruments_watched,
    observe_articles,
    observe_assignment_risk,
    observe_days_until,
    observe_expiries,
    observe_prices,
)
from domain.market.models import Instrument, LatestPrice
from domain.market.terms import InstrumentKind, OptionType
from domain.trading.terms import Side
from tests.factories.alerts import OPENING_BELL, make_alert
from tests.factories.market import make_instrument
from tests.factories.trading import Account, open_account

TODAY = date(2024, 3, 15)


async def option(account: Account, strike: int, days: int, right: OptionType) -> Instrument:
    """List an option on the account's instrument."""
    expires_on = TODAY + timedelta(days=days)
    async with account.db.transaction(system="listing") as unit:
        return await make_instrument(
            unit,
            f"AAPL {expires_on} {right} {strike}",
            kind=InstrumentKind.OPTION,
            option_root="AAPL",
            option_type=right,
            strike=Decimal(strike),
            expires_on=expires_on,
            multiplier=Decimal(100),
            underlying_id=account.instrument.id,
        )


async def hold(account: Account, instrument: Instrument, side: Side) -> Any:
    """Open a position of one contract and return it."""
    holder = Account(account.db, account.user, account.portfolio, instrument)
    return (await holder.trade(side, "1", "2.50")).position


async def quote(db: Database, instrument: Instrument, price: str, at: datetime) -> None:
    async with db.transaction(system="feed") as unit:
        row = {"instrument_id": instrument.id, "price": Decimal(price), "time": at, "source": "x"}
        await unit.latest_prices.upsert_many([row], key=["instrument_id"], update=["price", "time"])


async def messages(db: Database, observe: Any, *args: Any, **details: Any) -> list[str]:
    async with db.transaction(system="watcher") as unit:
        return [event.message for event in await observe(unit, *args, **details)]


async def test_newest_prices_reach_the_rules_that_watch_them(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        other = await make_instrument(unit, "MSFT")
        await make_alert(unit, account.instrument, condition="crosses_below")
    await quote(db, account.instrument, "101", OPENING_BELL)
    await quote(db, other, "99", OPENING_BELL)
    assert await messages(db, observe_prices) == []
    await quote(db, account.instrument, "98.5", OPENING_BELL + timedelta(seconds=1))
    assert await messages(db, observe_prices, [other.id]) == []
    assert await messages(db, observe_prices) == ["AAPL price is 98.5: crosses below 100"]
    assert await messages(db, observe_prices) == []
    async with db.read(system="feed") as unit:
        assert await instruments_watched(unit) == [], "it fired once and is done"
        assert await unit[LatestPrice].count() == 2


async def test_rules_see_the_days_until_contracts_expire(db: Database) -> None:
    account = await open_account(db)
    near = await option(account, 100, 7, OptionType.CALL)
    far = await option(account, 100, 40, OptionType.CALL)
    position = await hold(account, far, Side.BUY)
    async with db.transaction(user=account.user.id) as unit:
        week: dict[str, Any] = {"alert_type": "dte", "condition": "below", "threshold": Decimal(8)}
        await make_alert(unit, near, name="contract", message_template="{name} {value}", **week)
        week |= {"threshold": Decimal(41), "message_template": "{name} {value} {note}"}
        await make_alert(unit, name="position", position_id=position.id, **week)
        await make_alert(unit, name="book", portfolio_id=account.portfolio.id, **week)
        await make_alert(unit, account.instrument, name="underlying", **week)
    assert await messages(db, observe_expiries, TODAY - timedelta(days=30)) == []
    found = await messages(db, observe_expiries, TODAY, at=None)
    shown = f"40 {far.symbol}"
    assert sorted(found) == [
        f"book {shown}",
        "contract 7",
        f"position {shown}",
        f"underlying {shown}",
    ]


async def test_short_options_in_the_money_are_a_risk(db: Database) -> None:
    account = await open_account(db)
    call = await option(account, 180, 5, OptionType.CALL)
    put = await option(account, 200, 30, OptionType.PUT)
    await hold(account, call, Side.SELL)
    await hold(account, put, Side.SELL)
    await hold(account, await option(account, 100, 5, OptionType.CALL), Side.BUY)
    risk: dict[str, Any] = {"alert_type": "assignment_risk", "threshold": Decimal(0)}
    risk["message_template"] = "{name}: {value} {note}"
    async with db.transaction(user=account.user.id) as unit:
        await make_alert(unit, name="book", portfolio_id=account.portfolio.id, **risk)
        await make_alert(unit, call, name="call", **risk)
        await make_alert(
            unit, account.instrument, name="soon", conditions={"within_days": 7}, **risk
        )
    assert await messages(db, observe_assignment_risk, TODAY) == [], "no price, no answer"
    await quote(db, account.instrument, "185", OPENING_BELL)
    assert sorted(await messages(db, observe_assignment_risk, TODAY)) == [
        f"book: 15 {put.symbol}, 30 days",
        f"call: 5 {call.symbol}, 5 days",
        f"soon: 5 {call.symbol}, 5 days",
    ]


async def test_earnings_are_announced_days_ahead(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        await make_alert(
            unit,
            account.instrument,
            alert_type="earnings",
            condition="between",
            threshold=Decimal(0),
            threshold_high=Decimal(3),
            message_template="{symbol} reports in {value} days, {note}",
        )
    report = {account.instrument.id: date(2024, 3, 18)}
    assert await messages(db, observe_days_until, report, TODAY - timedelta(days=9)) == []
    assert await messages(db, observe_days_until, report, TODAY) == [
        "AAPL reports in 3 days, on 2024-03-18"
    ]


@pytest.mark.parametrize("order", [1, -1])
async def test_an_article_fires_a_rule_once_however_late_it_comes(db: Database, order: int) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        values: dict[str, Any] = {"alert_type": "news", "condition": "custom"}
        values["trigger_mode"] = "every"
        await make_alert(unit, account.instrument, name="Apple", **values)
        await make_alert(unit, name="Fed", conditions={"keywords": ["rate"]}, **values)
    of = frozenset({account.instrument.id})
    articles = [
        ArticleSeen(key="1", title="Apple opens a store", at=OPENING_BELL, instrument_ids=of),
        ArticleSeen(key="2", title="Rate unchanged", at=OPENING_BELL),
        ArticleSeen(key="3", title="Apple on rate", at=OPENING_BELL, instrument_ids=of),
    ][::order]
    found = [await messages(db, observe_articles, [article]) for article in articles[:2]]
    found.append(await messages(db, observe_articles, articles))
    assert await messages(db, observe_articles, articles) == []
    assert sorted(message for batch in found for message in batch) == [
        "Apple: Apple on rate",
        "Apple: Apple opens a store",
        "Fed: Apple on rate",
        "Fed: Rate unchanged",
    ]
    assert await messages(db, observe_articles, []) == []


async def test_eight_workers_that_see_one_article_make_one_event(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        rule = await make_alert(
            unit, alert_type="news", condition="custom", trigger_mode="every", name="All"
        )
    article = ArticleSeen(key="1", title="Apple opens a store", at=OPENING_BELL)
    found = await asyncio.gather(*(messages(db, observe_articles, [article]) for _ in range(8)))
    assert [message for batch in found for message in batch] == ["All: Apple opens a store"]
    async with db.read(system="test") as unit:
        assert (await unit.alerts.get(rule.id)).trigger_count == 1
