"""Watchlists: symbols in, symbols out, in order."""

import asyncio
from decimal import Decimal

import pytest

from domain import Database
from domain.errors import InvalidData
from domain.identity.models import User
from domain.market.models import InstrumentStatus
from domain.research.watching import get_watchlist, list_watchlists, update_watchlist
from tests.factories.identity import make_user
from tests.factories.market import make_instrument

SYMBOLS = ["AAPL", "SPY", "IBM", "GOOG", "USO"]


@pytest.fixture
async def trader(db: Database) -> User:
    async with db.transaction(system="test") as unit:
        for symbol in SYMBOLS:
            await make_instrument(unit, symbol)
        return await make_user(unit)


async def symbols_of(db: Database, user: User, name: str) -> list[str] | None:
    async with db.read(user=user.id) as unit:
        listed = await get_watchlist(unit, name)
    return None if listed is None else list(listed.symbols)


async def test_a_list_holds_what_was_put_in_and_in_that_order(db: Database, trader: User) -> None:
    for symbols in (["SPY", "AAPL", "IBM"], ["IBM", "GOOG", "SPY"], [], ["USO"]):
        async with db.transaction(user=trader.id) as unit:
            listed = await update_watchlist(unit, "Core", symbols)
        assert list(listed.symbols) == symbols
        assert await symbols_of(db, trader, "Core") == symbols
    assert await symbols_of(db, trader, "Nothing") is None


async def test_a_symbol_given_twice_counts_once(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        await update_watchlist(unit, "Core", ["SPY", "AAPL", "SPY", " AAPL "])
    assert await symbols_of(db, trader, "Core") == ["SPY", "AAPL"]


async def test_an_unknown_symbol_is_named_and_nothing_changes(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        await update_watchlist(unit, "Core", ["SPY"])
        with pytest.raises(InvalidData, match="NOPE"):
            await update_watchlist(unit, "Core", ["AAPL", "NOPE"])
        with pytest.raises(InvalidData):
            await update_watchlist(unit, "New", ["aapl\x00"])
    assert await symbols_of(db, trader, "Core") == ["SPY"]
    assert await symbols_of(db, trader, "New") is None


async def test_what_stays_keeps_its_note_and_its_target(db: Database, trader: User) -> None:
    async with db.transaction(user=trader.id) as unit:
        listed = await update_watchlist(unit, "Core", ["SPY", "AAPL"], description="Large caps")
        listed.items[1].note = "waits for earnings"
        listed.items[1].target_price = Decimal("180.50")
    async with db.transaction(user=trader.id) as unit:
        listed = await update_watchlist(unit, "Core", ["AAPL", "IBM"])
        apple = listed.items[0]
        assert (apple.note, apple.target_price) == ("waits for earnings", Decimal("180.50"))
        assert listed.items[1].note is None
        assert (listed.watchlist.description, listed.watchlist.version) == ("Large caps", 2)


async def test_where_several_markets_have_a_symbol_the_instrument_says_which(
    db: Database, trader: User
) -> None:
    async with db.transaction(system="test") as unit:
        london = await make_instrument(unit, "AAPL", exchange="XLON")
    async with db.transaction(user=trader.id) as unit:
        with pytest.raises(InvalidData, match="several markets"):
            await update_watchlist(unit, "Core", ["AAPL"])
        await update_watchlist(unit, "Core", [london])
        again = await update_watchlist(unit, "Core", ["AAPL", "SPY"])  # still the one it was
        assert again.items[0].instrument_id == london.id
    async with db.transaction(system="test") as unit:
        (await unit.instruments.get(london.id)).status = InstrumentStatus.DELISTED
    async with db.transaction(user=trader.id) as unit:
        other = await update_watchlist(unit, "Other", ["AAPL"])
        assert other.items[0].instrument_id != london.id


async def test_lists_are_the_owners_own(db: Database, trader: User) -> None:
    async with db.transaction(system="test") as unit:
        bob = await make_user(unit, "bob")
        for user, symbols in ((trader, ["SPY"]), (bob, ["IBM"])):
            await update_watchlist(unit, "Core", symbols, user_id=user.id)
        with pytest.raises(InvalidData, match="user_id"):
            await update_watchlist(unit, "Core", [])
    async with db.transaction(user=trader.id) as unit:
        assert [list(item.symbols) for item in await list_watchlists(unit)] == [["SPY"]]
        with pytest.raises(InvalidData, match="tenant"):
            await update_watchlist(unit, "Core", [], user_id=bob.id)


async def test_writers_of_one_list_wait_for_each_other(db: Database, trader: User) -> None:
    async def write(symbols: list[str]) -> None:
        async with db.transaction(user=trader.id) as unit:
            await update_watchlist(unit, "Core", symbols)

    versions = [["SPY", "AAPL"], ["IBM", "SPY", "GOOG"], ["USO"]]
    await asyncio.gather(*(write(symbols) for symbols in versions * 4))
    assert await symbols_of(db, trader, "Core") in versions


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\x00"])
async def test_a_list_has_a_name(db: Database, trader: User, name: str) -> None:
    async with db.transaction(user=trader.id) as unit:
        with pytest.raises(InvalidData, match="name must"):
            await update_watchlist(unit, name, [])
