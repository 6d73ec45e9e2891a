"""Broker files in the database: conversions, splits, assignments, busts and contradictions."""

from decimal import Decimal

import pytest

from domain import Database
from domain.errors import InvalidData
from domain.trading import reporting
from domain.trading.importing.booking import BrokerFile, ImportReport, import_file
from domain.trading.models import Lot
from domain.trading.terms import AssignmentPolicy, CashKind, Side
from tests.factories.trading import Account, open_account
from tests.trading.test_recording import breaks_of

HEADER = (
    "Date,Type,Sub Type,Action,Symbol,Instrument Type,Description,Value,Quantity,Average Price,"
    "Commissions,Fees,Multiplier,Root Symbol,Underlying Symbol,Expiration Date,Strike Price,"
    "Call or Put,Order #,Currency"
)
BUY_OLDA = (
    "2022-02-01T16:00:00+0100,Trade,Buy to Open,BUY_TO_OPEN,OLDA,Equity,Bought 200 OLDA @ 11.00,"
    '"-2,200.00",200,-11.00,0.00,-0.16,,,,,,,7000001,USD'
)
RENAMED = (
    (
        "2022-03-01T12:00:05+0100,Receive Deliver,Symbol Change,BUY_TO_OPEN,NEWA,Equity,"
        'Symbol change:  Open 200.0 NEWA,"-3,000.00",200,-15.00,--,0.00,,,,,,,,USD'
    ),
    (
        "2022-03-01T12:00:05+0100,Receive Deliver,Symbol Change,SELL_TO_CLOSE,OLDA,Equity,"
        'Symbol change:  Close 200.0 OLDA,"3,000.00",200,15.00,--,0.00,,,,,,,,USD'
    ),
)
SELL_NEWA = (
    "2022-04-01T16:00:00+0200,Trade,Sell to Close,SELL_TO_CLOSE,NEWA,Equity,"
    'Sold 200 NEWA @ 16.00,"3,200.00",200,16.00,0.00,-0.18,,,,,,,7000002,USD'
)
SHORT_PUT = (
    "2019-05-07T16:02:11+0200,Trade,Sell to Open,SELL_TO_OPEN,BABA  190816P00190000,Equity Option,"
    'Sold 1 BABA 08/16/19 Put 190.00 @ 15.65,"1,565.00",1,"1,565.00",-1.00,-0.18,100,BABA,BABA,'
    "8/16/19,190,PUT,42299198,USD"
)
ASSIGNED = (
    (
        "2019-08-07T23:00:00+0200,Receive Deliver,Assignment,,BABA  190816P00190000,Equity Option,"
        "Removal of option due to assignment,0.00,1,0.00,--,0.00,100,BABA,BABA,8/16/19,190,PUT,,USD"
    ),
    (
        "2019-08-07T23:00:00+0200,Receive Deliver,Buy to Open,BUY_TO_OPEN,BABA,Equity,"
        'Buy to Open 100 BABA @ 190.00,"-19,000.00",100,-190.00,--,-5.00,,,,,,,,USD'
    ),
)
SELL_BABA = (
    "2019-08-08T19:59:33+0200,Trade,Sell to Close,SELL_TO_CLOSE,BABA,Equity,"
    'Sold 100 BABA @ 160.73,"16,073.00",100,160.73,0.00,-0.43,,,,,,,50536161,USD'
)


async def take_in(account: Account, *rows: str, is_preview: bool = False) -> ImportReport:
    content = "\n".join([HEADER, *rows]).encode() + b"\n"
    async with account.db.transaction(user=account.user.id) as unit:
        portfolio = await unit.portfolios.get(account.portfolio.id)
        file = BrokerFile("tastytrade", content, "rows.csv")
        return await import_file(unit, portfolio, file, is_preview=is_preview)


async def profit(account: Account) -> dict[str, Decimal]:
    async with account.db.snapshot(user=account.user.id) as unit:
        rows = await reporting.pnl(unit, account.portfolio, ["symbol"])
    return {row["symbol"]: row["gross"] for row in rows}


@pytest.mark.parametrize(
    "order",
    [
        [BUY_OLDA, *RENAMED, SELL_NEWA],
        [SELL_NEWA, *RENAMED, BUY_OLDA],
        [RENAMED[0], SELL_NEWA, BUY_OLDA, RENAMED[1]],
    ],
    ids=["oldest first", "newest first", "legs apart"],
)
async def test_a_renamed_stock_keeps_its_basis_in_whatever_order_and_files_the_rows_come(
    db: Database, order: list[str]
) -> None:
    account = await open_account(db)
    for row in order:
        assert (await take_in(account, row)).rows_new == 1

    assert await profit(account) == {"NEWA": Decimal("1000.00")}
    async with db.read(user=account.user.id) as unit:
        cash = {row["kind"]: row["amount"] for row in await reporting.cash(unit, account.portfolio)}
        carried = await unit.lots.all(unit.lots.query(Lot.parent_lot_key.is_not(None)))
    assert cash == {CashKind.TRADE: Decimal("1000.00"), CashKind.FEE: Decimal("-0.34")}
    assert [lot.acquired_at.date().isoformat() for lot in carried] == ["2022-02-01"]
    assert await breaks_of(db) == []


async def test_an_assigned_put_keeps_its_premium_or_hands_it_to_the_stock(db: Database) -> None:
    rows = [SHORT_PUT, *ASSIGNED, SELL_BABA]
    separate = await open_account(db, "ada")
    rolled = await open_account(db, "bob", assignment_policy=AssignmentPolicy.ROLL_INTO_UNDERLYING)
    for account in (separate, rolled):
        await take_in(account, *rows)

    assert await profit(separate) == {
        "BABA  190816P00190000": Decimal("1565.00"),
        "BABA": Decimal("-2927.00"),
    }
    assert await profit(rolled) == {"BABA": Decimal("-1362.00")}
    totals = []
    for account in (separate, rolled):
        async with db.read(user=account.user.id) as unit:
            rows_of = await reporting.cash(unit, account.portfolio)
            totals.append(sum((row["amount"] for row in rows_of), Decimal(0)))
    assert totals[0] == totals[1] == Decimal("1565") - 19000 + 16073 - Decimal("6.61")
    assert await breaks_of(db) == []


async def test_two_rows_of_one_trade_that_contradict_each_other_are_both_refused(
    db: Database,
) -> None:
    account = await open_account(db)
    content = (
        b"date_time,side,symbol,quantity,price,currency,external_id\n"
        b"2024-01-02T15:00:00Z,buy,AAPL,10,187.30,USD,x1\n"
        b"2024-01-02T15:00:00Z,buy,AAPL,10,187.31,USD,x1\n"
        b"2024-01-02T15:01:00Z,buy,AAPL,5,187.40,USD,x2\n"
    )
    async with db.transaction(user=account.user.id) as unit:
        report = await import_file(unit, account.portfolio, BrokerFile("csv", content))

    assert (report.rows_new, report.rows_rejected) == (1, 2)
    assert {row.line for row in report.rejected} == {2, 3}
    async with db.read(user=account.user.id) as unit:
        (position,) = await unit.positions.all()
    assert position.quantity == Decimal(5)


async def test_a_file_joins_the_instruments_that_are_known_whatever_their_kind(
    db: Database,
) -> None:
    account = await open_account(db)
    await account.trade(Side.BUY, "1", "100")
    content = (
        b"date_time,side,symbol,quantity,price,currency\n2024-01-03T15:00:00Z,sell,AAPL,1,110,USD\n"
    )
    async with db.transaction(user=account.user.id) as unit:
        await import_file(unit, account.portfolio, BrokerFile("csv", content))
    async with db.read(user=account.user.id) as unit:
        assert await unit.instruments.count() == 1
        (position,) = await unit.positions.all()
    assert position.realized_gross_pnl == Decimal(10)


async def test_a_file_of_another_kind_is_refused_before_anything_is_written(
    db: Database,
) -> None:
    account = await open_account(db)
    for name, content in (("tastytrade", b"\x89PNG\r\n"), ("csv", b""), ("etrade", b"x")):
        with pytest.raises(InvalidData):
            async with db.transaction(user=account.user.id) as unit:
                await import_file(unit, account.portfolio, BrokerFile(name, content))
    async with db.read(user=account.user.id) as unit:
        assert await unit.import_batches.count() == 0


async def test_a_preview_says_the_same_and_leaves_nothing(db: Database) -> None:
    account = await open_account(db)
    report = await take_in(account, BUY_OLDA, *RENAMED, is_preview=True)
    assert (report.rows_new, report.batch_id) == (3, None)
    async with db.read(user=account.user.id) as unit:
        assert await unit.trades.count() == 0
        assert await unit.import_batches.count() == 0
