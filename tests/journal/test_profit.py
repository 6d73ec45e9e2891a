"""An entry's profit is the ledger's when trades are linked, and typed when none are."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from domain import Database
from domain.errors import InvalidData, ReferenceViolation
from domain.journal.profit import refresh_profit
from domain.journal.recording import link_position, link_trades, record_entry, unlink_trades
from domain.journal.terms import PnlSource, TradeRole
from domain.trading.correcting import bust_trade, correct_trade
from domain.trading.models import CashMovement
from domain.trading.terms import CashKind, Side
from tests.factories.journal import make_entry, new_entry
from tests.factories.trading import Account, open_account

OPENING = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)


@pytest.fixture
async def account(db: Database) -> Account:
    return await open_account(db)


async def test_profit_is_what_the_linked_trades_closed_after_all_fees(
    db: Database, account: Account
) -> None:
    bought = await account.trade(Side.BUY, "10", "190", commission=Decimal("1.05"))
    sold = await account.trade(
        Side.SELL, "4", "195.50", minute=1, commission=Decimal("1"), fees=Decimal("0.02")
    )
    async with db.transaction(user=account.user.id) as unit:
        entry = new_entry(account.user.id, initial_risk=Decimal(20))
        await record_entry(unit, entry, trades=[bought.trade, sold.trade])
        await unit.session.refresh(entry)
    # 4 * 5.50, less 4/10 of 1.05 and 1.02
    assert entry.pnl == Decimal("20.56")
    assert entry.fees == Decimal("1.44")
    assert entry.pnl_percent == Decimal("2.7053")  # of 4 * 190
    assert (entry.currency, entry.pnl_source) == ("USD", PnlSource.LEDGER)
    assert entry.r_multiple == Decimal("1.0280")
    async with db.read(user=account.user.id) as unit:
        roles = {link.trade_id: link.role for link in await unit.entry_trades.all()}
    assert roles == {bought.trade.id: TradeRole.ENTRY, sold.trade.id: TradeRole.EXIT}


async def test_an_entry_without_closing_trades_has_no_profit_yet(
    db: Database, account: Account
) -> None:
    bought = await account.trade(Side.BUY, "10", "190")
    async with db.transaction(user=account.user.id) as unit:
        entry = await record_entry(unit, new_entry(account.user.id), trades=[bought.trade])
    assert (entry.pnl, entry.pnl_source) == (None, PnlSource.LEDGER)


async def test_short_trades_and_flips_count_the_closing_part_only(
    db: Database, account: Account
) -> None:
    await account.trade(Side.SELL, "10", "200")
    flip = await account.trade(Side.BUY, "15", "190", minute=1, commission=Decimal("1.50"))
    async with db.transaction(user=account.user.id) as unit:
        entry = await record_entry(unit, new_entry(account.user.id), trades=[flip.trade])
    assert entry.pnl == Decimal("99.00")  # two thirds of the fee belong to what was closed


async def test_the_trade_that_turned_the_position_belongs_to_the_idea_that_it_began(
    db: Database, account: Account
) -> None:
    first = await account.trade(Side.SELL, "10", "200")
    flip = await account.trade(Side.BUY, "20", "190", minute=1)
    added = await account.trade(Side.BUY, "5", "191", minute=2)
    sold = await account.trade(Side.SELL, "15", "195", minute=3)
    async with db.transaction(user=account.user.id) as unit:
        short = await record_entry(
            unit, new_entry(account.user.id), trades=[first.trade, flip.trade]
        )
        trades = [sold.trade, flip.trade, added.trade]
        long = await record_entry(unit, new_entry(account.user.id), trades=trades)
        roles = {
            (link.entry_id, link.trade_id): link.role for link in await unit.entry_trades.all()
        }
    assert (short.pnl, long.pnl) == (Decimal(100), Decimal(70))  # 10 * 5 and 5 * 4
    assert roles[long.id, flip.trade.id] is TradeRole.ENTRY
    assert roles[long.id, added.trade.id] is TradeRole.SCALE_IN
    assert roles[long.id, sold.trade.id] is TradeRole.EXIT
    assert roles[short.id, flip.trade.id] is TradeRole.EXIT


async def test_a_piece_counts_once_however_often_it_is_linked(
    db: Database, account: Account
) -> None:
    bought = await account.trade(Side.BUY, "10", "190")
    sold = await account.trade(Side.SELL, "10", "195", minute=1)
    async with db.transaction(user=account.user.id) as unit:
        assert sold.position is not None
        entry = new_entry(account.user.id, position_id=sold.position.id)
        await record_entry(unit, entry, trades=[bought.trade, sold.trade])
        await link_trades(unit, entry, [sold.trade], role=TradeRole.SCALE_OUT, leg=1)
        assert entry.pnl == Decimal(50)
        assert await unit.entry_trades.count() == 2


async def test_a_position_brings_the_profit_of_its_whole_cycle(
    db: Database, account: Account
) -> None:
    await account.trade(Side.BUY, "10", "190")
    await account.trade(Side.SELL, "5", "195", minute=1)
    closed = await account.trade(Side.SELL, "5", "197", minute=2)
    await account.trade(Side.BUY, "1", "100", minute=3)
    async with db.transaction(user=account.user.id) as unit:
        entry = await make_entry(unit, account.user.id)
        await link_position(unit, entry, closed.position)
        assert entry.pnl == Decimal(60)
        await link_position(unit, entry, None)
        assert (entry.pnl, entry.pnl_source) == (None, PnlSource.TYPED)


async def test_a_correction_counts_in_place_of_what_it_corrects(
    db: Database, account: Account
) -> None:
    await account.trade(Side.BUY, "10", "190")
    sold = await account.trade(Side.SELL, "10", "195", minute=1)
    async with db.transaction(user=account.user.id) as unit:
        entry = await record_entry(unit, new_entry(account.user.id), trades=[sold.trade])
        assert entry.pnl == Decimal(50)
    async with db.transaction(user=account.user.id) as unit:
        await correct_trade(unit, sold.trade.id, price=Decimal(196))
        mine = await unit.journal_entries.get(entry.id)
        version = mine.version
        assert await refresh_profit(unit, [mine]) == 1
        assert mine.pnl == Decimal(60)
        assert mine.version == version  # a projection is no edit
        assert await refresh_profit(unit, [mine]) == 0


async def test_a_busted_trade_takes_its_profit_away(db: Database, account: Account) -> None:
    await account.trade(Side.BUY, "10", "190")
    sold = await account.trade(Side.SELL, "10", "195", minute=1)
    async with db.transaction(user=account.user.id) as unit:
        entry = await record_entry(unit, new_entry(account.user.id), trades=[sold.trade])
    async with db.transaction(user=account.user.id) as unit:
        await bust_trade(unit, sold.trade.id, reason="the venue took it back")
        assert await refresh_profit(unit, portfolio=account.portfolio) == 1
        assert (await unit.journal_entries.get(entry.id)).pnl is None


async def test_a_late_trade_changes_the_profit_of_others(db: Database, account: Account) -> None:
    await account.trade(Side.BUY, "10", "190", minute=5)
    sold = await account.trade(Side.SELL, "10", "195", minute=9)
    async with db.transaction(user=account.user.id) as unit:
        entry = await record_entry(unit, new_entry(account.user.id), trades=[sold.trade])
    await account.trade(Side.BUY, "10", "180", minute=1)  # FIFO sells these first
    async with db.transaction(system="journal") as unit:
        assert await refresh_profit(unit) == 1
        assert (await unit.journal_entries.get(entry.id)).pnl == Decimal(150)


async def test_dividends_are_no_profit_of_a_trade(db: Database, account: Account) -> None:
    await account.trade(Side.BUY, "10", "190")
    sold = await account.trade(Side.SELL, "10", "195", minute=1)
    async with db.transaction(user=account.user.id) as unit:
        unit.cash_movements.add(CashMovement(user_id=account.user.id, portfolio_id=account.portfolio.id, kind=CashKind.DIVIDEND, amount=Decimal(7), currency="USD", effective_at=OPENING + timedelta(days=1), source="test", dedupe_key="1"))  # fmt: skip
        entry = await record_entry(unit, new_entry(account.user.id), trades=[sold.trade])
    assert entry.pnl == Decimal(50)


async def test_typed_profit_is_refused_where_the_ledger_knows(
    db: Database, account: Account
) -> None:
    sold = await account.trade(Side.SELL, "10", "195")
    typed = {"pnl": Decimal(50), "pnl_percent": Decimal(5), "fees": Decimal(1)}
    for name, value in typed.items():
        async with db.transaction(user=account.user.id) as unit:
            with pytest.raises(InvalidData, match=f"{name} must be empty"):
                entry = new_entry(account.user.id, **{name: value})
                await record_entry(unit, entry, trades=[sold.trade])
            await unit.session.rollback()
    async with db.transaction(user=account.user.id) as unit:
        entry = await make_entry(unit, account.user.id, pnl=Decimal(50))
        with pytest.raises(InvalidData, match="pnl must be empty"):
            await link_trades(unit, entry, [sold.trade])
        entry.pnl = None
        await link_trades(unit, entry, [sold.trade])
        with pytest.raises(InvalidData, match="left to the ledger"):
            entry.pnl = Decimal(50)
        for name, value in typed.items():
            with pytest.raises(InvalidData, match=f"{name} must be left to the ledger"):
                await unit.journal_entries.patch(entry.id, **{name: value})
        await unit.journal_entries.patch(entry.id, notes="profit is not typed")


async def test_without_links_profit_is_typed(db: Database, account: Account) -> None:
    sold = await account.trade(Side.SELL, "10", "195")
    async with db.transaction(user=account.user.id) as unit:
        entry = await make_entry(
            unit, account.user.id, pnl=Decimal("-12.5"), initial_risk=Decimal(25), currency="USD"
        )
        assert await refresh_profit(unit) == 0
        await unit.session.refresh(entry)
        assert (entry.pnl, entry.r_multiple) == (Decimal("-12.5"), Decimal("-0.5"))
        entry.pnl = None
        await link_trades(unit, entry, [sold.trade])
        assert await unlink_trades(unit, entry, [sold.trade]) == 1
        entry.pnl = Decimal(3)
    async with db.read(user=account.user.id) as unit:
        again = await unit.journal_entries.get(entry.id)
    assert (again.pnl, again.pnl_source) == (Decimal(3), PnlSource.TYPED)


async def test_profits_in_several_currencies_are_not_added(db: Database, account: Account) -> None:
    sold = await account.trade(Side.SELL, "10", "195")
    sap = await open_account(db, "bob", symbol="SAP")
    async with db.transaction(system="test") as unit:
        instrument = await unit.instruments.get(sap.instrument.id)
        instrument.quote_currency = "EUR"
    euro = Account(db, account.user, account.portfolio, instrument)
    other = await euro.trade(Side.SELL, "10", "100", minute=1)
    async with db.transaction(user=account.user.id) as unit:
        entry = await record_entry(unit, new_entry(account.user.id), trades=[sold.trade])
        with pytest.raises(InvalidData, match="one currency"):
            await link_trades(unit, entry, [other.trade])
        with pytest.raises(InvalidData, match="one currency"):
            await link_position(unit, entry, other.position)
        await unit.session.rollback()


async def test_another_tenants_trade_cannot_be_linked(db: Database, account: Account) -> None:
    bob = await open_account(db, "bob")
    theirs = await bob.trade(Side.SELL, "10", "195")
    async with db.transaction(user=account.user.id) as unit:
        entry = await make_entry(unit, account.user.id)
        with pytest.raises(InvalidData, match="belong to the entry's owner"):
            await link_trades(unit, entry, [theirs.trade])
        with pytest.raises(InvalidData, match="belong to the entry's owner"):
            await link_position(unit, entry, theirs.position)
    async with db.transaction(system="test") as unit:
        with pytest.raises(ReferenceViolation):
            await unit.session.execute(
                text(
                    "INSERT INTO journal.entry_trades (user_id, entry_id, trade_id)"
                    " VALUES (:user, :entry, :trade)"
                ),
                {"user": account.user.id, "entry": entry.id, "trade": theirs.trade.id},
            )
        await unit.session.rollback()
