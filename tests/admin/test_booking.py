"""Trades booked, corrected and busted by form: the ledger decides, the form shows what it says."""

from decimal import Decimal

import pytest
from httpx2 import AsyncClient

from domain import Database
from domain.trading.models import BatchStatus, Position, PositionStatus, Trade, TradeStatus
from domain.trading.terms import Side, TradeKind
from tests.admin.browsing import Page, key_of, send, visit
from tests.admin.records import content, make_everything
from tests.factories.trading import Account, open_account

AT = "2024-01-02 14:30:00.000001+00:00"


async def positions(db: Database) -> list[Position]:
    async with db.read(system="test") as unit:
        return list(await unit.positions.all())


async def trade_with(db: Database, status: TradeStatus) -> Trade:
    async with db.read(system="test") as unit:
        return await unit.trades.one(unit.trades.query(Trade.status == status))


async def new_trade(client: AsyncClient, account: Account, **changes: str) -> dict[str, str]:
    page = await visit(client, f"/trades/new?portfolio_id={key_of(account.portfolio)}")
    given = {"instrument_id": key_of(account.instrument), "side": "buy", "quantity": "10"}
    return page.form().submitted(**{**given, "price": "190.25", "executed_at": AT, **changes})


async def test_a_trade_is_booked_by_form(db: Database, boss: AsyncClient) -> None:
    account = await open_account(db)
    data = await new_trade(boss, account, quantity="1,000.5", commission="1.05", external_id="ib-7")
    answer = await send(boss, "/trades/new", data)
    assert answer.status_code == 303
    (position,) = await positions(db)
    assert (position.quantity, position.open_fees) == (Decimal("1000.5"), Decimal("1.05"))
    page = await visit(boss, answer.headers["location"].removeprefix("/admin"))
    assert "Buy 1,000.5 AAPL @ 190.25" in page.text

    before = await content(db)
    again = await send(boss, "/trades/new", data)
    assert again.headers["location"] == answer.headers["location"]
    assert await content(db) == before, "the broker's id makes it the same trade"
    other = await send(boss, "/trades/new", {**data, "quantity": "999"})
    assert other.status_code == 422 and "was booked before" in other.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantity": "abc"}, "Quantity must be a decimal number."),
        ({"quantity": "0"}, "Quantity must be"),
        ({"quantity": "-1"}, "Quantity must be"),
        ({"quantity": ""}, "Quantity must be filled in."),
        ({"side": ""}, "Side must be filled in."),
        ({"side": "hold"}, "Side must be one of the choices."),
        ({"price": "1e3"}, "Price must be a decimal number."),
        ({"executed_at": "2024-01-02 14:30"}, "Executed at must carry a time zone."),
        ({"instrument_id": "AAPL"}, "Instrument must be a record from the list."),
        ({"instrument_id": "00000000-0000-7000-8000-000000000000"}, "was not found"),
        ({"external_id": "x" * 300}, "must be at most 200 characters"),
        ({"quantity": "99999999999999999999", "price": "99999999999999999999"}, "must"),
    ],
)
async def test_a_trade_that_cannot_be_is_refused_with_the_reason(
    db: Database, boss: AsyncClient, changes: dict[str, str], words: str
) -> None:
    account = await open_account(db)
    data = await new_trade(boss, account, **changes)
    before = await content(db)
    answer = await send(boss, "/trades/new", data)
    assert answer.status_code == 422, answer.text
    assert words in Page(answer.text).text
    assert await content(db) == before


async def test_a_correction_changes_the_position_as_the_ledger_says(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    wrong = await account.trade(Side.BUY, "10", "100", commission=Decimal(2))
    await account.trade(Side.SELL, "10", "130", minute=5)
    path = f"/trades/{wrong.trade.id}/correct"
    form = (await visit(boss, path)).form()
    assert (form.values["quantity"], form.values["price"]) == ("10", "100")

    answer = await send(boss, path, form.submitted(price="110", commission=""))
    assert answer.status_code == 303
    (position,) = await positions(db)
    assert (position.status, position.realized_pnl) == (PositionStatus.CLOSED, Decimal(200))
    corrected = await visit(boss, f"/trades/details/{wrong.trade.id}")
    assert "does not count any more: it was corrected" in corrected.text
    assert "Bust trade" not in corrected.text

    before = await content(db)
    again = await send(boss, path, form.submitted(price="120"))
    assert (again.status_code, "still count" in again.text) == (422, True)
    assert await content(db) == before


async def test_a_correction_that_changes_nothing_books_nothing(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    booked = await account.trade(Side.BUY, "10", "100")
    path = f"/trades/{booked.trade.id}/correct"
    form = (await visit(boss, path)).form()
    before = await content(db)
    answer = await send(boss, path, form.submitted())
    assert (answer.status_code, "Nothing differs" in answer.text) == (422, True)
    wrong = await send(boss, path, form.submitted(quantity="-3"))
    assert (wrong.status_code, "Quantity must be" in wrong.text) == (422, True)
    assert await content(db) == before


async def test_a_bust_needs_a_reason_and_takes_the_position_back(
    db: Database, boss: AsyncClient
) -> None:
    account = await open_account(db)
    booked = await account.trade(Side.BUY, "10", "100")
    path = f"/trades/{booked.trade.id}/bust"
    before = await content(db)
    refused = await send(boss, path, {"reason": "   "})
    assert (refused.status_code, "1 to 500 characters" in refused.text) == (400, True)
    assert await content(db) == before

    assert (await send(boss, path, {"reason": "fat finger"})).status_code == 303
    assert await positions(db) == []
    assert (await trade_with(db, TradeStatus.BUSTED)).id == booked.trade.id
    async with db.read(system="test") as unit:
        bust = await unit.trades.one(unit.trades.query(Trade.kind == TradeKind.BUST))
    assert bust.description == "fat finger"
    assert (await send(boss, path, {"reason": "again"})).status_code == 400


async def test_an_import_is_taken_back_once(db: Database, boss: AsyncClient) -> None:
    await make_everything(db)
    async with db.read(system="test") as unit:
        (batch,) = await unit.import_batches.all()
    path = f"/imports/{batch.id}/revert"
    assert (await send(boss, path)).status_code == 303
    async with db.read(system="test") as unit:
        assert (await unit.import_batches.get(batch.id)).status is BatchStatus.REVERTED
    assert (await send(boss, path)).status_code == 400
    assert "Revert import" not in (await visit(boss, f"/imports/details/{batch.id}")).text


async def test_the_dashboard_says_what_to_do_where_nothing_is(boss: AsyncClient) -> None:
    page = await visit(boss, "/")
    assert "tradekeep run --demo" in page.text and "There are no portfolios yet." in page.text
    assert "Nothing was imported yet." in page.text


async def test_the_dashboard_shows_the_chosen_portfolio(db: Database, boss: AsyncClient) -> None:
    account = await make_everything(db)
    second = await open_account(db, "grace", name="Empty")
    page = await visit(boss, "/")
    assert "1,000.50" in page.text and "AAPL" in page.text and "+20.50" in page.text
    assert page.html.count('<svg class="chart"') == 2
    page = await visit(boss, f"/?portfolio={key_of(second.portfolio)}")
    assert "Nothing is open." in page.text and "No trades yet." in page.text
    for key in (account, second):
        await visit(boss, f"/portfolio/{key_of(key.portfolio)}")
