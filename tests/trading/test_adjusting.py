"""Corporate actions: splits rescale, conversions carry the basis, whenever they are known."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain import Database, Instrument
from domain.clock import now
from domain.errors import InvalidData
from domain.market.models import CorporateAction
from domain.market.terms import CorporateActionKind
from domain.trading.adjusting import register_action
from domain.trading.models import Lot
from domain.trading.terms import Side
from tests.factories.market import make_instrument
from tests.factories.trading import Account, open_account
from tests.trading.test_recording import breaks_of

BEFORE = datetime(2020, 8, 3, 14, 30, tzinfo=UTC)
AFTER = datetime(2020, 9, 15, 14, 30, tzinfo=UTC)
EX_DAY = datetime(2020, 8, 31, 8, tzinfo=UTC)


def action(instrument: Instrument, kind: CorporateActionKind, **values: Any) -> CorporateAction:
    values.setdefault("effective_at", EX_DAY)
    values.setdefault("ex_on", date(2020, 8, 31))
    return CorporateAction(instrument_id=instrument.id, kind=kind, source="test", **values)


async def register(db: Database, item: CorporateAction) -> int:
    async with db.transaction(system="test") as unit:
        return await register_action(unit, item)


async def apple(db: Database) -> Account:
    account = await open_account(db)
    await account.trade(Side.BUY, "10", "435.75", executed_at=BEFORE, fees=Decimal("1"))
    return account


async def test_apples_split_makes_forty_shares_of_ten_and_changes_no_value(db: Database) -> None:
    account = await apple(db)

    changed = await register(
        db, action(account.instrument, CorporateActionKind.SPLIT, numerator=4, denominator=1)
    )

    async with db.read(user=account.user.id) as unit:
        (position,) = await unit.positions.all()
    assert changed == 1
    assert position.quantity == Decimal(40)
    assert position.open_value == Decimal("4357.50")
    assert position.entry_price == Decimal("108.9375")
    assert await breaks_of(db) == []


async def test_it_does_not_matter_whether_split_or_trades_come_first(db: Database) -> None:
    early = await apple(db)
    split = {"numerator": 4, "denominator": 1}
    await register(db, action(early.instrument, CorporateActionKind.SPLIT, **split))
    late = await open_account(db, "bob")

    for account in (early, late):
        await account.trade(Side.SELL, "30", "115", executed_at=AFTER)
    await late.trade(Side.BUY, "10", "435.75", executed_at=BEFORE, fees=Decimal("1"))

    figures = []
    for account in (early, late):
        async with db.read(user=account.user.id) as unit:
            positions = await unit.positions.all()
            figures.append([(p.quantity, p.open_value, p.realized_pnl) for p in positions])
    assert figures[0] == figures[1]
    assert figures[0][0][0] == Decimal(10)
    assert await breaks_of(db) == []


async def test_an_action_of_the_future_is_refused(db: Database) -> None:
    account = await apple(db)
    with pytest.raises(InvalidData, match="not lie in the future"):
        await register(
            db,
            action(
                account.instrument,
                CorporateActionKind.SPLIT,
                numerator=4,
                denominator=1,
                effective_at=now() + timedelta(days=1),
            ),
        )


async def test_a_merger_moves_basis_fees_and_acquisition_date_and_realizes_nothing(
    db: Database,
) -> None:
    account = await apple(db)
    async with db.transaction(system="test") as unit:
        buyer = await make_instrument(unit, "BUYR")

    await register(
        db,
        action(
            account.instrument,
            CorporateActionKind.MERGER_STOCK,
            numerator=1,
            denominator=2,
            target_id=buyer.id,
        ),
    )

    async with db.read(user=account.user.id) as unit:
        positions = {p.instrument_id: p for p in await unit.positions.all()}
        lots = await unit.lots.all(unit.lots.query(Lot.quantity_remaining != 0))
    assert positions[account.instrument.id].quantity == 0
    assert positions[account.instrument.id].realized_gross_pnl == 0
    assert positions[buyer.id].quantity == Decimal(5)
    assert positions[buyer.id].open_value == Decimal("4357.50")
    assert positions[buyer.id].open_fees == Decimal(1)
    assert [lot.acquired_at for lot in lots] == [BEFORE]
    assert await breaks_of(db) == []


async def test_a_late_trade_before_a_merger_arrives_in_the_new_instrument(db: Database) -> None:
    account = await apple(db)
    async with db.transaction(system="test") as unit:
        buyer = await make_instrument(unit, "BUYR")
    await register(
        db,
        action(account.instrument, CorporateActionKind.SYMBOL_CHANGE, target_id=buyer.id),
    )

    await account.trade(
        Side.SELL, "4", "440", executed_at=BEFORE + timedelta(days=1), external_id="late"
    )

    async with db.read(user=account.user.id) as unit:
        positions = {p.instrument_id: p for p in await unit.positions.all()}
    assert positions[account.instrument.id].realized_gross_pnl == Decimal("17.00")
    assert positions[buyer.id].open_value == Decimal("2614.50")
    assert await breaks_of(db) == []


async def test_a_spin_off_takes_its_share_of_the_basis_and_leaves_the_shares(
    db: Database,
) -> None:
    account = await apple(db)
    async with db.transaction(system="test") as unit:
        child = await make_instrument(unit, "CHLD")

    await register(
        db,
        action(
            account.instrument,
            CorporateActionKind.SPIN_OFF,
            numerator=1,
            denominator=5,
            basis_fraction=Decimal("0.2"),
            target_id=child.id,
        ),
    )
    await account.trade(Side.SELL, "10", "400", executed_at=AFTER)

    async with db.read(user=account.user.id) as unit:
        positions = {p.instrument_id: p for p in await unit.positions.all()}
    assert positions[child.id].quantity == Decimal(2)
    assert positions[child.id].open_value == Decimal("871.50")
    assert positions[account.instrument.id].realized_gross_pnl == Decimal("514.00")
    assert await breaks_of(db) == []


async def test_a_split_touches_every_tenant_and_nobody_elses_instrument(db: Database) -> None:
    ada, bob = await apple(db), await open_account(db, "bob")
    await bob.trade(Side.SELL, "3", "430", executed_at=BEFORE)
    other = await open_account(db, "eve", symbol="MSFT")
    await other.trade(Side.BUY, "7", "200", executed_at=BEFORE)

    changed = await register(
        db, action(ada.instrument, CorporateActionKind.SPLIT, numerator=4, denominator=1)
    )

    quantities = []
    for account in (ada, bob, other):
        async with db.read(user=account.user.id) as unit:
            quantities += [position.quantity for position in await unit.positions.all()]
    assert changed == 2
    assert quantities == [Decimal(40), Decimal(-12), Decimal(7)]
