"""What charts draw: the curve, the bars and the trades in them; the pages around them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from httpx2 import AsyncClient

from admin.calendars import calendar_of
from admin.charts import histogram
from domain import Database
from domain.agents import refresh_leaderboard
from domain.market.models import Bar, CorporateAction, DailyBar, Instrument, LatestPrice
from domain.market.terms import CorporateActionKind, InstrumentKind, OptionType, Timeframe
from domain.trading.adjusting import register_action
from domain.trading.correcting import bust_trade
from domain.trading.terms import Side
from tests.admin.browsing import Page, key_of, visit
from tests.admin.records import make_everything
from tests.factories.agents import enter
from tests.factories.market import make_instrument
from tests.factories.trading import OPENING_BELL, Account, open_account

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
PRICE = "190.123456789"


def split_of(
    instrument: Instrument, ex_on: date, numerator: int, denominator: int
) -> CorporateAction:
    kind = CorporateActionKind.SPLIT
    if numerator < denominator:
        kind = CorporateActionKind.REVERSE_SPLIT
    return CorporateAction(
        instrument_id=instrument.id,
        kind=kind,
        ex_on=ex_on,
        effective_at=datetime(ex_on.year, ex_on.month, ex_on.day, tzinfo=UTC),
        source="test",
        numerator=numerator,
        denominator=denominator,
    )


async def bars_of(db: Database, instrument: Instrument, *days: int, source: str = "lean") -> None:
    async with db.transaction(system="test") as unit:
        for day in days:
            prices: dict[str, Any] = {
                name: Decimal("190.123456789") for name in ("open", "high", "low", "close")
            }
            unit.bars.add(
                Bar(
                    instrument_id=instrument.id,
                    timeframe=Timeframe.D1,
                    time=MONDAY + timedelta(days=day),
                    source=source,
                    volume=Decimal(1000),
                    **prices,
                )
            )


async def chart(client: AsyncClient, path: str, *, status: int = 200) -> Any:
    answer = await client.get(f"/admin/charts/{path}")
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else Page(answer.text).text


async def test_the_curve_has_every_digit_and_what_each_day_earned(
    db: Database, boss: AsyncClient
) -> None:
    contestant = await enter(db)
    await contestant.value(
        (0, "1000", "1000"), (1, "1250.123456789012", "1000"), (2, "1125", "1000")
    )
    found = await chart(boss, f"equity/{key_of(contestant.account.portfolio)}")
    assert found["currency"] == "USD"
    assert found["points"][1][1:4] == ["1250.123456789012", "1000", "250.123456789012"]
    assert found["points"][0][4] == "0" and found["points"][2][4].startswith("-10.00888")


async def test_bars_come_oldest_first_with_the_trades_that_count(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    await bars_of(db, account.instrument, 0, 1, 2)
    await bars_of(db, account.instrument, 2, source="other")
    kept = await account.trade(Side.BUY, "3", "190.50")
    busted = await account.trade(Side.BUY, "4", "191", minute=1)
    async with db.transaction(user=account.user.id) as unit:
        await bust_trade(unit, busted.trade.id, reason="never was")
    found = await chart(boss, f"bars/{key_of(account.instrument)}")
    assert [bar[0] for bar in found["bars"]] == [
        int((MONDAY + timedelta(days=day)).timestamp()) for day in range(3)
    ]
    assert found["bars"][0][1] == "190.123456789"
    assert (found["timeframe"], found["timeframes"], found["is_all"]) == ("1d", ["1d"], True)
    assert found["trades"] == [
        {
            "time": int(OPENING_BELL.timestamp()),
            "side": "buy",
            "quantity": "3",
            "price": "190.5",
            "link": f"/admin/trades/details/{kept.trade.id}",
        }
    ]


async def test_a_chart_shows_the_trades_of_one_portfolio_and_what_lies_before(
    db: Database, boss: AsyncClient
) -> None:
    ada, bob = await open_account(db), await open_account(db, "bob")
    await bars_of(db, ada.instrument, 0, 1, 2)
    for account in (ada, bob):
        await account.trade(Side.BUY, "1", "190")
    path = f"bars/{key_of(ada.instrument)}"
    assert len((await chart(boss, path))["trades"]) == 2
    of_bob = await chart(boss, f"{path}?portfolio={key_of(bob.portfolio)}")
    assert len(of_bob["trades"]) == 1
    before = int((MONDAY + timedelta(days=1)).timestamp())
    assert len((await chart(boss, f"{path}?before={before}"))["bars"]) == 1


async def test_bars_are_comparable_across_a_split_unless_one_asks_for_what_was_traded(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    await bars_of(db, account.instrument, 0, 1, 2)
    async with db.transaction(system="test") as unit:
        # Sources date daily bars by midnight UTC, wherever the exchange is.
        (await unit.instruments.get(account.instrument.id)).time_zone = "America/New_York"
        await register_action(unit, split_of(account.instrument, date(2024, 1, 2), 3, 1))
        await register_action(unit, split_of(account.instrument, date(2024, 1, 3), 1, 2))
    path = f"bars/{key_of(account.instrument)}"
    found = await chart(boss, path)
    assert (found["prices"], found["has_splits"]) == ("adjusted", True)
    # Three new shares for one, then one for two: two thirds of the price, then twice it.
    assert [bar[4] for bar in found["bars"]] == ["126.748971192666666667", "380.246913578", PRICE]
    assert [bar[5] for bar in found["bars"]] == ["1500", "500", "1000"]
    raw = await chart(boss, f"{path}?prices=traded")
    assert {bar[4] for bar in raw["bars"]} == {PRICE} and {bar[5] for bar in raw["bars"]} == {
        "1000"
    }
    assert "adjusted or traded" in await chart(boss, f"{path}?prices=real", status=400)


async def test_an_option_without_bars_is_drawn_on_its_underlying(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    await bars_of(db, account.instrument, 0, 1)
    async with db.transaction(system="test") as unit:
        option = await make_instrument(
            unit,
            "AAPL  240119C00190000",
            kind=InstrumentKind.OPTION,
            option_root="AAPL",
            option_type=OptionType.CALL,
            strike=Decimal(190),
            expires_on=date(2024, 1, 19),
            multiplier=Decimal(100),
            underlying_id=account.instrument.id,
        )
    assert len((await chart(boss, f"bars/{key_of(option)}"))["bars"]) == 2


async def test_a_chart_refuses_what_it_cannot_draw(db: Database, boss: AsyncClient) -> None:
    account = await open_account(db)
    path = f"bars/{key_of(account.instrument)}"
    await bars_of(db, account.instrument, 0)
    for query in ("timeframe=7y", "before=soon", "before=99999999999999999", "portfolio=1"):
        refused = await chart(boss, f"{path}?{query}", status=400)
        assert query.partition("=")[0].capitalize() in refused
    await chart(boss, "bars/00000000-0000-7000-8000-000000000000", status=404)
    await chart(boss, "equity/nobody", status=404)


async def test_the_page_of_an_instrument_begins_with_its_quote_and_who_holds_it(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    await account.trade(Side.BUY, "3", "190")
    async with db.transaction(system="test") as unit:
        unit.latest_prices.add(
            LatestPrice(
                instrument_id=account.instrument.id,
                price=Decimal("202.40"),
                time=OPENING_BELL,
                source="lean",
            )
        )
        closes: dict[str, Any] = {name: Decimal(200) for name in ("open", "high", "close")}
        unit.daily_bars.add(
            DailyBar(
                instrument_id=account.instrument.id,
                on=date(2024, 1, 1),
                source="lean",
                timeframe=Timeframe.D1,
                low=Decimal("181.5"),
                volume=Decimal(1),
                bars_count=1,
                **closes,
            )
        )
    path = f"/instruments/details/{key_of(account.instrument)}"
    text = (await visit(boss, path)).text
    assert "202.40 USD" in text and "+1.20" in text and "52-week low 181.50" in text
    assert "Open positions" in text and "Main" in text

    async with db.transaction(system="test") as unit:
        await register_action(unit, split_of(account.instrument, OPENING_BELL.date(), 1, 2))
    text = (await visit(boss, path)).text
    assert "52-week low 363.00" in text and "52-week high 400.00" in text
    assert "\N{MINUS SIGN}49.40" in text, "the close before was of half as much"


async def test_the_calendar_colours_days_by_what_they_earned() -> None:
    days = [(date(2024, 1, 1) + timedelta(days=at), Decimal(at - 2) * 100) for at in range(5)]
    calendar = calendar_of(days)
    assert calendar is not None
    assert [square.kind for square in calendar.squares] == [
        "loss-4",
        "loss-3",
        "even",
        "gain-3",
        "gain-4",
    ]
    assert (calendar.green, calendar.red) == (2, 2)
    assert calendar.best == "05 Jan 2024: +200.00"
    assert calendar_of([]) is None and calendar_of([(date(2024, 1, 1), Decimal(0))]) is None


def test_a_histogram_stands_on_its_axis() -> None:
    spread = histogram([(Decimal("-0.5"), 2, "lost"), (Decimal(0), 4, "won")])
    assert spread is not None and histogram([]) is None
    assert [bar.kind for bar in spread.bars] == ["negative", "positive"]
    low, high = (bar.height for bar in spread.bars)
    assert abs(high - 2 * low) < 1
    assert all(abs(bar.y + bar.height - spread.zero) < 0.2 for bar in spread.bars)


async def test_the_race_shows_growth_without_deposits(db: Database, boss: AsyncClient) -> None:
    contestant = await enter(db)
    await contestant.value((0, "1000", "1000"), (1, "2200", "2000"))
    async with db.transaction(system="test") as unit:
        await refresh_leaderboard(unit)
    found = await chart(boss, "race")
    assert [line["name"] for line in found["lines"]] == ["GPT-5"]
    assert [percent for _, percent in found["lines"][0]["points"]] == ["0", "20"]
    assert "GPT-5" in (await visit(boss, "/race")).text


async def test_the_review_says_how_each_setup_went(db: Database, boss: AsyncClient) -> None:
    account: Account = await make_everything(db)
    page = await visit(boss, "/review")
    assert "<b>Breakout</b>" in page.text and "Earnings" in page.text
    nothing = await visit(boss, f"/review?user_id={account.user.id}&from=2099-01-01")
    assert "Nothing matches." in nothing.text
    refused = await visit(boss, "/review?from=soon", status=400)
    assert "2026-01-31" in refused.text


async def test_anything_is_found_by_the_beginning_of_its_name_or_by_its_id(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    offered = (await boss.get("/admin/search.json?q=aapl")).json()
    assert {"kind": "Instrument", "text": "AAPL"}.items() <= offered[0].items()
    by_id = (await boss.get(f"/admin/search.json?q={account.portfolio.id}")).json()
    assert [item["kind"] for item in by_id] == ["Portfolio"]
    pages = (await boss.get("/admin/search.json?q=cash")).json()
    assert pages == [
        {"kind": "Page", "text": "Cash movements", "link": "/admin/cash-movements/list"}
    ]
    assert "Nothing was found." in (await visit(boss, "/search?q=zzzz%00")).text
