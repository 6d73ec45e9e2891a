"""One trade at a time: what it leaves in the database, and that it is booked once."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from domain import Database
from domain.database import Worker
from domain.errors import ConflictingTrade, InvalidData
from domain.messaging.models import OutboxMessage
from domain.trading import reporting
from domain.trading.models import (
    CashMovement,
    EquitySnapshot,
    LotClosure,
    PositionStatus,
    Trade,
)
from domain.trading.recording import NewTrade, record_trade, record_trades
from domain.trading.terms import CashKind, CostBasisMethod, PositionMode, Side, TradeKind
from domain.trading.verifying import verify
from tests.factories.market import make_instrument, make_inverse_perpetual
from tests.factories.trading import OPENING_BELL, Account, make_portfolio, open_account
from tests.roundtrips import counted_round_trips


async def breaks_of(db: Database) -> list[Any]:
    async with db.snapshot(system="verify") as unit:
        verdicts = [item async for item in verify(unit, await unit.portfolios.all())]
    return [item for verdict in verdicts for item in verdict.breaks]


async def test_a_buy_opens_a_position_a_lot_and_moves_cash(db: Database) -> None:
    account = await open_account(db)

    booked = await account.trade(
        Side.BUY, "10", "187.30", commission=Decimal("1"), fees=Decimal("0.02")
    )

    assert booked.position is not None
    assert booked.position.quantity == Decimal(10)
    assert booked.position.open_value == Decimal("1873.00")
    assert booked.position.open_fees == Decimal("1.02")
    assert booked.position.entry_price == Decimal("187.3")
    assert list(booked.closures) == []
    async with db.read(user=account.user.id) as unit:
        cash = {row["kind"]: row["amount"] for row in await reporting.cash(unit, account.portfolio)}
    assert cash == {
        CashKind.TRADE: Decimal("-1873"),
        CashKind.COMMISSION: Decimal("-1"),
        CashKind.FEE: Decimal("-0.02"),
    }


async def test_selling_more_than_held_closes_the_long_and_opens_a_short(db: Database) -> None:
    account = await open_account(db)
    await account.trade(Side.BUY, "10", "187.30", fees=Decimal("1"))

    booked = await account.trade(Side.SELL, "15", "190.00", minute=1, fees=Decimal("3"))

    assert booked.position is not None
    assert booked.position.cycle == 2
    assert booked.position.quantity == Decimal(-5)
    assert booked.position.open_fees == Decimal(1)
    assert [closure.gross_pnl for closure in booked.closures] == [Decimal("27.00")]
    assert [closure.net_pnl for closure in booked.closures] == [Decimal("24.00")]
    async with db.read(user=account.user.id) as unit:
        cycles = await unit.positions.all(unit.positions.query().order_by("cycle"))
    assert [cycle.status for cycle in cycles] == [PositionStatus.CLOSED, PositionStatus.OPEN]


async def test_sending_a_trade_twice_books_it_once(db: Database) -> None:
    account = await open_account(db)
    first = await account.trade(Side.BUY, "10", "187.30", external_id="ib-123")

    second = await account.trade(Side.BUY, "10", "187.30", external_id="ib-123")

    assert second.is_duplicate
    assert second.trade.id == first.trade.id
    async with db.read(user=account.user.id) as unit:
        assert await unit.trades.count() == 1
        assert await unit.cash_movements.count() == 1


async def test_a_duplicate_with_another_price_is_refused_and_names_the_field(
    db: Database,
) -> None:
    account = await open_account(db)
    await account.trade(Side.BUY, "10", "187.30", external_id="ib-123")

    with pytest.raises(ConflictingTrade, match="price") as caught:
        await account.trade(Side.BUY, "10", "187.31", external_id="ib-123")

    assert "gross_amount" in caught.value.fields


async def test_a_late_trade_gives_the_state_of_the_right_order(db: Database) -> None:
    account = await open_account(db)
    await account.trade(Side.BUY, "10", "100", minute=0)
    await account.trade(Side.SELL, "10", "120", minute=10)

    booked = await account.trade(Side.BUY, "10", "90", minute=-5)

    assert booked.position is not None
    assert booked.position.quantity == Decimal(10)
    assert booked.position.open_value == Decimal(1000)
    assert booked.position.realized_gross_pnl == Decimal(300)
    assert await breaks_of(db) == []


async def test_the_sell_that_comes_before_its_buy_is_mended_when_the_buy_arrives(
    db: Database,
) -> None:
    account = await open_account(db)
    short = await account.trade(Side.SELL, "5", "50", minute=10)
    assert short.position is not None and short.position.quantity == Decimal(-5)

    booked = await account.trade(Side.BUY, "5", "40", minute=1)

    assert booked.position is not None
    assert booked.position.status is PositionStatus.CLOSED
    assert booked.position.realized_gross_pnl == Decimal(50)
    async with db.read(user=account.user.id) as unit:
        assert await unit.positions.count() == 1


async def test_an_inverse_contract_is_averaged_harmonically_and_settles_in_coin(
    db: Database,
) -> None:
    async with db.transaction(system="test") as unit:
        perpetual = await make_inverse_perpetual(unit)
    account = await open_account(db)
    account.instrument = perpetual

    await account.trade(Side.BUY, "10000", "10000", minute=0)
    await account.trade(Side.BUY, "10000", "20000", minute=1)
    booked = await account.trade(Side.SELL, "20000", "15000", minute=2)

    assert booked.position is not None
    assert booked.position.currency == "BTC"
    assert booked.position.realized_gross_pnl == Decimal("0.166666666666666667")
    async with db.read(user=account.user.id) as unit:
        (row,) = await reporting.cash(unit, account.portfolio)
    assert row["currency"] == "BTC"
    assert row["amount"] == Decimal("0.166666666666666667")


async def test_fees_in_another_currency_need_a_rate_and_move_cash_there(db: Database) -> None:
    account = await open_account(db)
    with pytest.raises(InvalidData, match="fee_rate must be given"):
        await account.trade(Side.BUY, "1", "100", fees=Decimal("1"), fee_currency="EUR")

    booked = await account.trade(
        Side.BUY,
        "1",
        "100",
        fees=Decimal("1"),
        fee_currency="EUR",
        fee_rate=Decimal("1.25"),
    )

    assert booked.trade.fees_settled == Decimal("1.25")
    async with db.read(user=account.user.id) as unit:
        rows = await reporting.cash(unit, account.portfolio)
    assert {(row["kind"], row["currency"], row["amount"]) for row in rows} == {
        (CashKind.FEE, "EUR", Decimal(-1)),
        (CashKind.TRADE, "USD", Decimal(-100)),
    }


async def test_hedging_keeps_two_positions_of_one_instrument_apart(db: Database) -> None:
    account = await open_account(db, position_mode=PositionMode.HEDGING)

    await account.trade(Side.BUY, "10", "100", position_ref="long-1")
    await account.trade(Side.SELL, "4", "101", minute=1, position_ref="short-1")

    async with db.read(user=account.user.id) as unit:
        quantities = {item.position_ref: item.quantity for item in await unit.positions.all()}
    assert quantities == {"long-1": Decimal(10), "short-1": Decimal(-4)}


async def test_a_netting_portfolio_refuses_a_position_reference(db: Database) -> None:
    account = await open_account(db)

    with pytest.raises(InvalidData, match="position_ref must be absent"):
        await account.trade(Side.BUY, "10", "100", position_ref="long-1")


@pytest.mark.parametrize(
    ("details", "rule"),
    [
        ({"quantity": Decimal(0)}, "quantity must be positive"),
        ({"quantity": Decimal(-3)}, "quantity must be positive"),
        ({"price": Decimal("NaN")}, "price must be a finite number"),
        ({"price": 187.3}, "price must be a Decimal"),
        ({"price": Decimal("1e-19")}, "price must have at most 18 decimals"),
        ({"quantity": Decimal("1e20")}, "quantity must be smaller than"),
        ({"executed_at": datetime(2024, 1, 2, 15)}, "executed_at must carry a time zone"),  # noqa: DTZ001
        ({"side": None}, "side must be buy or sell"),
        ({"strategy": "a|b"}, "strategy must be 1 to 100 characters"),
    ],
)
async def test_a_bad_value_is_refused_by_name_and_nothing_is_written(
    db: Database, details: dict[str, Any], rule: str
) -> None:
    account = await open_account(db)
    values: dict[str, Any] = {
        "side": Side.BUY,
        "quantity": Decimal(1),
        "price": Decimal(100),
        "executed_at": OPENING_BELL,
    }

    with pytest.raises(InvalidData, match=rule):
        async with db.transaction(user=account.user.id) as unit:
            await record_trade(unit, account.portfolio, account.instrument, **(values | details))

    async with db.read(user=account.user.id) as unit:
        assert await unit.trades.count() == 0


async def test_a_failing_unit_leaves_no_trade_behind(db: Database) -> None:
    account = await open_account(db)

    with pytest.raises(RuntimeError):
        async with db.transaction(user=account.user.id) as unit:
            await record_trade(
                unit,
                account.portfolio,
                account.instrument,
                side=Side.BUY,
                quantity=Decimal(1),
                price=Decimal(100),
                executed_at=OPENING_BELL,
            )
            raise RuntimeError

    async with db.read(user=account.user.id) as unit:
        assert (await unit.trades.count(), await unit.positions.count()) == (0, 0)


async def test_recording_a_trade_writes_one_outbox_message_in_the_same_transaction(
    db: Database,
) -> None:
    account = await open_account(db)
    booked = await account.trade(Side.BUY, "10", "187.30", external_id="ib-1")
    await account.trade(Side.BUY, "10", "187.30", external_id="ib-1")

    async with db.read(system="test") as unit:
        (message,) = await unit[OutboxMessage].all()

    assert message.topic == "trade.recorded"
    assert message.user_id == account.user.id
    assert message.payload["tradeId"] == str(booked.trade.id)
    assert message.payload["price"] == "187.3"


async def test_a_trade_drops_the_equity_points_it_outdates(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        for day in (1, 3):
            unit.equity_snapshots.add(
                EquitySnapshot(
                    user_id=account.user.id,
                    portfolio_id=account.portfolio.id,
                    time=datetime(2024, 1, day, tzinfo=UTC),
                    currency="USD",
                    equity=Decimal(1),
                    cash=Decimal(1),
                    position_value=Decimal(0),
                    realized_pnl=Decimal(0),
                    unrealized_pnl=Decimal(0),
                    net_contributions=Decimal(1),
                )
            )

    await account.trade(Side.BUY, "1", "100")

    async with db.read(user=account.user.id) as unit:
        left = await unit.equity_snapshots.all()
    assert [point.time.day for point in left] == [1]


async def test_recording_a_trade_takes_at_most_twelve_round_trips(db: Database) -> None:
    account = await open_account(db)
    for minute in range(4):
        await account.trade(Side.BUY, "10", "100", minute=minute)
        await account.trade(Side.SELL, "15", "101", minute=minute, sequence=1)

    async with counted_round_trips(db, user=account.user.id) as count:
        async with db.transaction(user=account.user.id) as unit:
            await record_trade(
                unit,
                account.portfolio,
                account.instrument,
                side=Side.BUY,
                quantity=Decimal(50),
                price=Decimal(100),
                executed_at=OPENING_BELL + timedelta(hours=1),
            )

    assert 5 <= count.total <= 12


async def test_eight_writers_with_every_trade_sent_twice_end_exact(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(system="test") as unit:
        instruments = [
            account.instrument,
            await make_instrument(unit, "MSFT"),
            await make_instrument(unit, "NVDA"),
        ]
    chance = random.Random(7)
    trades = [
        {
            "instrument": chance.choice(instruments),
            "side": chance.choice(list(Side)),
            "quantity": Decimal(chance.randint(1, 400)) / 8,
            "price": Decimal(chance.randint(9_000, 11_000)) / 100,
            "fees": Decimal(chance.randint(0, 300)) / 100,
            "executed_at": OPENING_BELL + timedelta(minutes=chance.randint(0, 40)),
            "external_id": f"fill-{number}",
        }
        for number in range(60)
    ]
    deliveries = trades * 2
    chance.shuffle(deliveries)

    async def writer(mine: list[dict[str, Any]]) -> int:
        new = 0
        for details in mine:
            rest = {name: value for name, value in details.items() if name != "instrument"}

            async def book(
                unit: Worker, item: Any = details["instrument"], given: Any = rest
            ) -> Any:
                return await record_trade(unit, account.portfolio, item, **given)

            async with db.transaction(user=account.user.id) as unit:
                new += not (await book(unit)).is_duplicate
        return new

    results = await asyncio.gather(*(writer(deliveries[number::8]) for number in range(8)))

    assert sum(results) == 60
    assert await breaks_of(db) == []
    expected = await _booked_in_order(db, account, trades)
    assert await _figures(db, account, account.portfolio.id) == expected


async def _booked_in_order(db: Database, account: Account, trades: list[dict[str, Any]]) -> Any:
    async with db.transaction(user=account.user.id) as unit:
        twin = await make_portfolio(unit, account.user, "Twin")
        ordered = sorted(trades, key=lambda item: (item["executed_at"], item["external_id"]))
        for details in ordered:
            await record_trades(unit, twin, [NewTrade(**details)])
    return await _figures(db, account, twin.id)


async def _figures(db: Database, account: Account, portfolio_id: Any) -> Any:
    async with db.snapshot(user=account.user.id) as unit:
        portfolio = await unit.portfolios.get(portfolio_id)
        held = await reporting.positions(unit, portfolio)
        profit = await reporting.pnl(unit, portfolio, ["symbol"])
        cash = await reporting.cash(unit, portfolio)
    return held, profit, cash


@pytest.mark.parametrize("method", [CostBasisMethod.LIFO, CostBasisMethod.AVERAGE])
async def test_a_batch_in_any_order_equals_single_trades(
    db: Database, method: CostBasisMethod
) -> None:
    account = await open_account(db, cost_basis_method=method)
    chance = random.Random(3)
    trades = [
        NewTrade(
            instrument=account.instrument,
            side=chance.choice(list(Side)),
            quantity=Decimal(chance.randint(1, 90)) / 3
            if chance.random() > 0.9
            else Decimal(chance.randint(1, 90)),
            price=Decimal(chance.randint(100, 200)),
            commission=Decimal(1),
            executed_at=OPENING_BELL + timedelta(minutes=number),
            external_id=str(number),
        )
        for number in range(40)
        if number % 7
    ]
    exact = [item for item in trades if item.quantity == item.quantity.to_integral_value()]
    shuffled = list(exact)
    chance.shuffle(shuffled)

    async with db.transaction(user=account.user.id) as unit:
        batch = await record_trades(unit, account.portfolio, shuffled[:20])
        rest = await record_trades(unit, account.portfolio, shuffled)
        twin = await make_portfolio(unit, account.user, "Twin", cost_basis_method=method)
        for item in exact:
            await record_trades(unit, twin, [item])

    assert (len(batch.trades), rest.duplicates) == (20, 20)
    assert await _figures(db, account, account.portfolio.id) == await _figures(db, account, twin.id)
    assert await breaks_of(db) == []


async def test_a_trade_that_changes_behind_our_back_is_refused_by_the_database(
    db: Database,
) -> None:
    account = await open_account(db)
    booked = await account.trade(Side.BUY, "10", "187.30")

    with pytest.raises(Exception, match="may not do this"):
        async with db.transaction(staff="mallory") as unit:
            await unit.trades.patch(booked.trade.id, price=Decimal(1))
    with pytest.raises(Exception, match="may not do this"):
        async with db.transaction(staff="mallory") as unit:
            await unit.session.execute(
                CashMovement.__table__.delete().where(CashMovement.trade_id == booked.trade.id)
            )


async def test_totals_of_closures_equal_the_positions(db: Database) -> None:
    account = await open_account(db)
    for minute, (side, quantity) in enumerate(
        [(Side.BUY, "7"), (Side.BUY, "5"), (Side.SELL, "9"), (Side.SELL, "11"), (Side.BUY, "20")]
    ):
        await account.trade(side, quantity, str(100 + minute), minute=minute, fees=Decimal("0.7"))

    async with db.read(user=account.user.id) as unit:
        total = select(func.sum(LotClosure.gross_pnl), func.count(LotClosure.id))
        gross, _ = (await unit.session.execute(total)).one()
        positions = await unit.positions.all()
        traded = (await unit.session.execute(select(func.sum(Trade.signed_quantity)))).scalar_one()
    assert gross == sum(item.realized_gross_pnl for item in positions)
    assert traded == sum(item.quantity for item in positions)


async def test_an_expiration_that_finds_nothing_waits_for_the_late_trade_it_closes(
    db: Database,
) -> None:
    account = await open_account(db)
    await account.trade(Side.BUY, "1", "100", minute=0)
    await account.trade(Side.SELL, "1", "110", minute=1)
    expiry = await account.trade(None, "2", "0", minute=50, kind=TradeKind.EXPIRATION)
    assert list(expiry.closures) == []

    await account.trade(Side.BUY, "2", "3", minute=30, external_id="late")

    async with db.read(user=account.user.id) as unit:
        cycles = await unit.positions.all(unit.positions.query().order_by("cycle"))
    assert [cycle.quantity for cycle in cycles] == [Decimal(0), Decimal(0)]
    assert cycles[1].realized_gross_pnl == Decimal(-6)
    assert await breaks_of(db) == []
