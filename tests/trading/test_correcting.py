"""Busts, corrections and reverted imports: history stays, the state is as if it had been right."""

from decimal import Decimal

import pytest

from domain import Database
from domain.errors import InvalidData
from domain.trading import reporting
from domain.trading.correcting import bust_trade, correct_trade, replay_portfolio
from domain.trading.models import PositionStatus, TradeStatus
from domain.trading.terms import CashKind, CostBasisMethod, Side, TradeKind
from tests.factories.trading import open_account
from tests.trading.test_recording import breaks_of


async def test_a_busted_trade_never_was_but_its_row_stays(db: Database) -> None:
    account = await open_account(db)
    await account.trade(Side.BUY, "10", "100")
    wrong = await account.trade(Side.BUY, "90", "100", minute=1, commission=Decimal("1"))

    async with db.transaction(user=account.user.id) as unit:
        bust = await bust_trade(unit, wrong.trade.id, reason="fat finger")

    async with db.read(user=account.user.id) as unit:
        (position,) = await unit.positions.all()
        stored = await unit.trades.get(wrong.trade.id)
        cash = await reporting.cash(unit, account.portfolio)
    assert position.quantity == Decimal(10)
    assert (stored.status, stored.quantity) == (TradeStatus.BUSTED, Decimal(90))
    assert (bust.kind, bust.corrects_trade_id) == (TradeKind.BUST, wrong.trade.id)
    assert [(row["kind"], row["amount"]) for row in cash] == [(CashKind.TRADE, Decimal(-1000))]
    assert await breaks_of(db) == []


async def test_busting_the_only_trade_voids_the_position_and_keeps_its_row(db: Database) -> None:
    account = await open_account(db)
    booked = await account.trade(Side.BUY, "10", "100")
    assert booked.position is not None
    async with db.transaction(user=account.user.id) as unit:
        await bust_trade(unit, booked.trade.id, reason="never happened")
    async with db.read(user=account.user.id) as unit:
        assert await unit.positions.count() == 0
        (row,) = await unit.session.scalars(booked.position.__class__.__table__.select())
    assert row == booked.position.id
    assert await breaks_of(db) == []


async def test_a_correction_replaces_price_and_cash_and_says_what_it_corrects(
    db: Database,
) -> None:
    account = await open_account(db)
    wrong = await account.trade(Side.BUY, "10", "100")
    await account.trade(Side.SELL, "10", "130", minute=5)

    async with db.transaction(user=account.user.id) as unit:
        corrected = await correct_trade(unit, wrong.trade.id, price=Decimal("110"))

    assert corrected.trade.corrects_trade_id == wrong.trade.id
    assert corrected.trade.gross_amount == Decimal(1100)
    async with db.read(user=account.user.id) as unit:
        (position,) = await unit.positions.all()
        cash = await reporting.cash(unit, account.portfolio)
        assert (await unit.trades.get(wrong.trade.id)).status is TradeStatus.CORRECTED
    assert position.status is PositionStatus.CLOSED
    assert position.realized_gross_pnl == Decimal(200)
    assert [row["amount"] for row in cash] == [Decimal(200)]
    assert await breaks_of(db) == []


async def test_a_trade_is_corrected_or_busted_only_once(db: Database) -> None:
    account = await open_account(db)
    wrong = await account.trade(Side.BUY, "10", "100")
    async with db.transaction(user=account.user.id) as unit:
        await correct_trade(unit, wrong.trade.id, quantity=Decimal(9))
    with pytest.raises(InvalidData, match="still count; it is corrected"):
        async with db.transaction(user=account.user.id) as unit:
            await bust_trade(unit, wrong.trade.id, reason="again")


async def test_a_correction_refuses_what_it_may_not_change(db: Database) -> None:
    account = await open_account(db)
    wrong = await account.trade(Side.BUY, "10", "100")
    with pytest.raises(InvalidData, match="source must be a field that a correction may change"):
        async with db.transaction(user=account.user.id) as unit:
            await correct_trade(unit, wrong.trade.id, source="x")


async def test_sending_the_original_again_after_a_correction_changes_nothing(
    db: Database,
) -> None:
    account = await open_account(db)
    wrong = await account.trade(Side.BUY, "10", "100", external_id="ib-1")
    async with db.transaction(user=account.user.id) as unit:
        await correct_trade(unit, wrong.trade.id, quantity=Decimal(9))

    again = await account.trade(Side.BUY, "10", "100", external_id="ib-1")

    assert again.is_duplicate
    async with db.read(user=account.user.id) as unit:
        (position,) = await unit.positions.all()
    assert position.quantity == Decimal(9)


async def test_a_correction_keeps_the_rate_of_fees_in_other_money(db: Database) -> None:
    account = await open_account(db)
    wrong = await account.trade(
        Side.BUY,
        "10",
        "100",
        fees=Decimal(2),
        fee_currency="EUR",
        fee_rate=Decimal("1.25"),
    )
    async with db.transaction(user=account.user.id) as unit:
        corrected = await correct_trade(unit, wrong.trade.id, fees=Decimal(4))
    assert corrected.trade.fees_settled == Decimal(5)
    assert await breaks_of(db) == []


async def test_changing_the_method_and_replaying_gives_the_other_methods_profit(
    db: Database,
) -> None:
    account = await open_account(db)
    for minute, price in enumerate(["100", "120"]):
        await account.trade(Side.BUY, "10", price, minute=minute)
    await account.trade(Side.SELL, "10", "130", minute=3)

    async with db.transaction(user=account.user.id) as unit:
        portfolio = await unit.portfolios.get(account.portfolio.id)
        portfolio.cost_basis_method = CostBasisMethod.LIFO
        await unit.flush()
        assert await replay_portfolio(unit, portfolio) == 1

    async with db.read(user=account.user.id) as unit:
        (position,) = await unit.positions.all()
    assert position.realized_gross_pnl == Decimal(100)
    assert position.open_value == Decimal(1000)
