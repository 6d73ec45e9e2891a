"""The generic repository, on real tables and a real server."""

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Select, text
from sqlalchemy.orm import joinedload

from domain import Database, Instrument, JournalEntry, Portfolio, Trade
from domain.db.page import Through, decode_cursor, encode_cursor, order_keys
from domain.db.repository import Repository, Upserted
from domain.errors import (
    AlreadyExists,
    CheckFailed,
    Conflict,
    InvalidCursor,
    InvalidData,
    LockTimeout,
    MultipleFound,
    NotFound,
    ReadOnly,
    Stale,
)
from domain.market.models import Bar, FxRate
from domain.market.terms import InstrumentKind, Timeframe
from domain.trading.terms import CostBasisMethod
from tests.factories.identity import make_user
from tests.factories.journal import make_entry
from tests.factories.market import make_currencies, make_instrument
from tests.factories.trading import make_portfolio, open_account
from tests.roundtrips import counted_round_trips


def fx_row(day: int, rate: str = "1.1", quote: str = "USD") -> dict[str, Any]:
    return {
        "base_currency": "EUR",
        "quote_currency": quote,
        "on": datetime(2024, 1, day, tzinfo=UTC).date(),
        "source": "ecb",
        "rate": Decimal(rate),
    }


async def prices(db: Database, symbols: list[str]) -> None:
    async with db.transaction(system="test") as unit:
        for symbol in symbols:
            await make_instrument(unit, symbol)


async def test_get_returns_the_row_and_find_returns_none_for_a_missing_one(db: Database) -> None:
    account = await open_account(db)
    async with db.read(user=account.user.id) as unit:
        found = await unit.portfolios.get(account.portfolio.id)
        assert found.name == "Main"
        assert await unit.portfolios.find(account.user.id) is None
        with pytest.raises(NotFound, match="Portfolio"):
            await unit.portfolios.get(account.user.id)


async def test_get_by_id_and_list_take_one_round_trip_each(db: Database) -> None:
    account = await open_account(db)
    async with db.read(user=account.user.id) as unit:
        await unit.portfolios.get(account.portfolio.id)
        await unit.portfolios.all(unit.portfolios.query().limit(100))

    async with counted_round_trips(db, user=account.user.id) as count:
        async with db.read(user=account.user.id) as unit:
            await unit.portfolios.get(account.portfolio.id)
        assert count.total == 1
        async with db.read(user=account.user.id) as unit:
            await unit.portfolios.all(unit.portfolios.query().limit(100))
        assert count.total == 2


async def test_insert_and_commit_take_three_round_trips(db: Database) -> None:
    account = await open_account(db)
    async with counted_round_trips(db, user=account.user.id) as count:
        async with db.transaction(user=account.user.id) as unit:
            unit.portfolios.add(Portfolio(user_id=account.user.id, name="Second"))
    assert count.total == 3


async def test_another_tenants_row_is_not_found(db: Database) -> None:
    ada = await open_account(db, "ada")
    bob = await open_account(db, "bob")
    async with db.read(user=bob.user.id) as unit:
        assert await unit.portfolios.find(ada.portfolio.id) is None
        assert set(await unit.portfolios.many([ada.portfolio.id, bob.portfolio.id])) == {
            bob.portfolio.id
        }


async def test_one_wants_exactly_one(db: Database) -> None:
    await prices(db, ["AAPL", "MSFT"])
    async with db.read(system="test") as unit:
        instruments = unit.instruments
        assert (await instruments.one(instruments.query(Instrument.symbol == "AAPL"))).symbol
        with pytest.raises(NotFound):
            await instruments.one(instruments.query(Instrument.symbol == "TSLA"))
        with pytest.raises(MultipleFound):
            await instruments.one(instruments.query())


async def test_count_and_exists_answer_for_the_statement(db: Database) -> None:
    await prices(db, ["AAPL", "MSFT", "NVDA"])
    async with db.read(system="test") as unit:
        instruments = unit.instruments
        assert await instruments.count() == 3
        assert await instruments.count(instruments.query(Instrument.symbol > "B")) == 2
        assert await instruments.exists(instruments.query(Instrument.symbol == "NVDA"))
        assert not await instruments.exists(instruments.query(Instrument.symbol == "TSLA"))


@pytest.mark.parametrize("descending", [(False, False), (True, True), (True, False)])
async def test_pages_walk_every_row_once_in_both_directions(
    db: Database, descending: tuple[bool, bool]
) -> None:
    async with db.transaction(system="test") as unit:
        await make_currencies(unit)
        rows = [fx_row(day, str(Decimal(1) + Decimal(day % 3) / 10)) for day in range(1, 20)]
        await unit.fx_rates.insert_many(rows)
    columns = [FxRate.rate, FxRate.on]
    order = [
        column.desc() if down else column for column, down in zip(columns, descending, strict=True)
    ]
    async with db.read(system="test") as unit:
        ordered = unit.fx_rates.query().order_by(*order)
        everything = [row.on for row in await unit.fx_rates.all(ordered)]
        forward: list[Any] = []
        cursor: str | None = None
        last = None
        while True:
            page = await unit.fx_rates.page(ordered, limit=4, after=cursor)
            forward += [row.on for row in page.items]
            last, cursor = page, page.after
            if cursor is None:
                break
        assert forward == everything
        backward = [row.on for row in last.items]
        cursor = last.before
        while cursor is not None:
            page = await unit.fx_rates.page(ordered, limit=4, before=cursor)
            backward = [row.on for row in page.items] + backward
            cursor = page.before
        assert backward == everything


@pytest.mark.parametrize("is_descending", [False, True])
async def test_pages_walk_in_the_order_of_names_behind_a_relation(
    db: Database, is_descending: bool
) -> None:
    account = await open_account(db)
    async with db.transaction(system="test") as unit:
        made = [await make_instrument(unit, symbol) for symbol in ("MSFT", "GOOG", "NVDA")]
        for number in range(11):
            instrument = (None, *made)[number * 7 % 4]
            key = None if instrument is None else instrument.id
            await make_entry(unit, account.user.id, instrument_id=key)
    symbol = Through(JournalEntry.instrument, Instrument.symbol)
    order = symbol.desc().nulls_last() if is_descending else symbol.asc().nulls_last()
    async with db.read(system="test") as unit:
        shown = joinedload(JournalEntry.instrument)
        ordered = unit.journal_entries.query().options(shown).order_by(order)
        forward = await walked(unit.journal_entries, ordered)
        backward = await walked(unit.journal_entries, ordered, from_the_end=True)
    symbols = [entry.instrument.symbol if entry.instrument else "" for entry in forward]
    assert len({entry.id for entry in forward}) == 11 and symbols.count("") == 3
    known = [symbol for symbol in symbols if symbol]
    assert symbols == [*sorted(known, reverse=is_descending), "", "", ""]
    assert [entry.id for entry in backward] == [entry.id for entry in forward]


async def walked(
    rows: Repository[Any], ordered: Select[Any], *, from_the_end: bool = False
) -> list[Any]:
    """Return all rows by pages of two; from the end: back again from the last page."""
    page, found = await rows.page(ordered, limit=2), []
    while True:
        found += page.items
        if page.after is None:
            break
        page = await rows.page(ordered, limit=2, after=page.after)
    if not from_the_end:
        return found
    found = list(page.items)
    while page.before is not None:
        page = await rows.page(ordered, limit=2, before=page.before)
        found = [*page.items, *found]
    return found


async def test_a_cursor_of_another_order_or_a_forged_one_is_refused(db: Database) -> None:
    await prices(db, ["AAPL", "MSFT"])
    async with db.read(system="test") as unit:
        by_symbol = unit.instruments.query().order_by(Instrument.symbol)
        cursor = (await unit.instruments.page(by_symbol, limit=1)).after
        assert cursor is not None
        with pytest.raises(InvalidCursor, match="same order"):
            await unit.instruments.page(
                unit.instruments.query().order_by(Instrument.id), after=cursor
            )
        forged = base64.urlsafe_b64encode(json.dumps(["x", ["z", "1"]]).encode()).decode()
        for broken in (cursor[:-3], "%%%", forged, "bnVsbA"):
            with pytest.raises(InvalidCursor):
                await unit.instruments.page(by_symbol, after=broken)


@given(st.text(max_size=60))
def test_no_text_breaks_the_cursor_reader(cursor: str) -> None:
    keys = order_keys(Instrument.__table__.select(), Instrument)
    with pytest.raises(InvalidCursor):
        decode_cursor(keys, cursor)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-1000, max_value=1000),
    st.datetimes(timezones=st.just(UTC)),
)
def test_a_cursor_keeps_eighteen_decimals_and_microseconds(price: Decimal, at: datetime) -> None:
    keys = order_keys(Trade.__table__.select().order_by(Trade.price, Trade.executed_at), Trade)

    class Row:
        pass

    row = Row()
    row.price, row.executed_at, row.id = price, at, __import__("uuid").UUID(int=7)  # type: ignore[attr-defined]

    assert decode_cursor(keys, encode_cursor(keys, row))[:2] == (price, at)


async def test_an_order_that_a_keyset_cannot_walk_is_refused_at_once(db: Database) -> None:
    async with db.read(system="test") as unit:
        with pytest.raises(InvalidData, match="column of Instrument"):
            await unit.instruments.page(unit.instruments.query().order_by(text("random()")))
        with pytest.raises(InvalidData, match="limit"):
            await unit.instruments.page(unit.instruments.query(), limit=0)


async def test_patch_changes_named_columns_and_counts_the_version(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as unit:
        patched = await unit.portfolios.patch(account.portfolio.id, version=1, name="Renamed")
        assert (patched.name, patched.version) == ("Renamed", 2)
        with pytest.raises(Stale, match="you read version 1, it is now version 2"):
            await unit.portfolios.patch(account.portfolio.id, version=1, name="Again")
        with pytest.raises(InvalidData, match="column of Portfolio"):
            await unit.portfolios.patch(account.portfolio.id, nmae="x")
        with pytest.raises(InvalidData, match="user_id"):
            await unit.portfolios.patch(account.portfolio.id, user_id=account.user.id)


async def test_two_editors_cannot_overwrite_each_other(db: Database) -> None:
    account = await open_account(db)
    with pytest.raises(Conflict, match="changed since it was read"):
        async with db.transaction(user=account.user.id) as first:
            mine = await first.portfolios.get(account.portfolio.id)
            async with db.transaction(user=account.user.id) as second:
                theirs = await second.portfolios.get(account.portfolio.id)
                theirs.description = "theirs"
            mine.description = "mine"
    async with db.read(user=account.user.id) as unit:
        assert (await unit.portfolios.get(account.portfolio.id)).description == "theirs"


async def test_lock_waits_for_nobody_when_told_so(db: Database) -> None:
    account = await open_account(db)
    async with db.transaction(user=account.user.id) as holder:
        assert await holder.portfolios.lock(account.portfolio.id) is not None
        async with db.transaction(user=account.user.id) as other:
            assert await other.portfolios.lock(account.portfolio.id, wait="skip") is None
        with pytest.raises(LockTimeout):
            async with db.transaction(user=account.user.id) as other:
                await other.portfolios.lock(account.portfolio.id, wait="nowait")


async def test_upsert_tells_inserted_from_updated_and_the_last_row_of_a_key_wins(
    db: Database,
) -> None:
    async with db.transaction(system="test") as unit:
        await make_currencies(unit)
        first = await unit.fx_rates.upsert_many(
            [fx_row(1), fx_row(2)],
            key=["base_currency", "quote_currency", "on", "source"],
            update=["rate"],
        )
        second = await unit.fx_rates.upsert_many(
            [fx_row(2, "1.2"), fx_row(2, "1.3"), fx_row(3)],
            key=["base_currency", "quote_currency", "on", "source"],
            update=["rate"],
        )
        stored = {row.on.day: row.rate for row in await unit.fx_rates.all()}
    assert first == Upserted(inserted=2, updated=0)
    assert second == Upserted(inserted=1, updated=1)
    assert stored == {1: Decimal("1.1"), 2: Decimal("1.3"), 3: Decimal("1.1")}


@pytest.mark.parametrize("method", ["insert_many", "copy_in"])
async def test_bulk_rows_keep_every_value_and_type(db: Database, method: str) -> None:
    async with db.transaction(system="test") as unit:
        instrument = await make_instrument(unit, "BTC-USD", kind=InstrumentKind.CRYPTO)
        rows = [
            {
                "instrument_id": instrument.id,
                "timeframe": Timeframe.M1,
                "time": datetime(2024, 1, 2, tzinfo=UTC) + timedelta(minutes=number),
                "source": "test",
                "open": Decimal("0.000000000000000001"),
                "high": Decimal("99999999999999999999"),
                "low": Decimal("-37.63"),
                "close": Decimal("1.5"),
                "volume": Decimal("0.05655554"),
                "vwap": None,
            }
            for number in range(25)
        ]
        assert await getattr(unit.bars, method)(rows) == 25
        stored = await unit.bars.all(unit.bars.query().order_by(Bar.time))
    assert [bar.time for bar in stored] == [row["time"] for row in rows]
    assert (stored[0].open, stored[0].high) == (rows[0]["open"], rows[0]["high"])
    assert stored[0].timeframe is Timeframe.M1


async def test_copy_goes_around_row_level_security_by_a_stage_not_through_it(
    db: Database,
) -> None:
    ada = await open_account(db, "ada")
    bob = await open_account(db, "bob")
    async with db.transaction(user=ada.user.id) as unit:
        assert await unit.portfolios.copy_in([{"name": f"P{n}"} for n in range(5)]) == 5
    with pytest.raises(Exception, match="may not do this"):
        async with db.transaction(user=ada.user.id) as unit:
            await unit.portfolios.copy_in([{"name": "x", "user_id": bob.user.id}])
    async with db.read(user=ada.user.id) as unit:
        assert await unit.portfolios.count() == 6


async def test_bulk_rows_with_unlike_or_unknown_attributes_are_refused(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        with pytest.raises(InvalidData, match="attribute of FxRate"):
            await unit.fx_rates.insert_many([fx_row(1) | {"nonsense": 1}])
        with pytest.raises(InvalidData, match="same attributes"):
            await unit.fx_rates.insert_many([fx_row(1), {"rate": Decimal(1)}])


async def test_delete_where_needs_a_condition_and_stays_in_the_tenant(db: Database) -> None:
    ada = await open_account(db, "ada")
    bob = await open_account(db, "bob")
    async with db.transaction(user=ada.user.id) as unit:
        with pytest.raises(InvalidData, match="at least one condition"):
            await unit.portfolios.delete_where()
        assert await unit.portfolios.delete_where(Portfolio.name == "Main") == 1
    async with db.read(user=bob.user.id) as unit:
        assert await unit.portfolios.count() == 1


async def test_streams_yield_every_row_from_a_read_unit_too(db: Database) -> None:
    await prices(db, [f"S{number:03}" for number in range(23)])
    async with db.read(system="test") as unit:
        sizes = [len(batch) async for batch in unit.instruments.batches(size=10)]
        symbols = [
            row.symbol
            async for batch in unit.instruments.rows(
                unit.instruments.query().with_only_columns(Instrument.symbol)
            )
            for row in batch
        ]
    assert sizes == [10, 10, 3]
    assert len(set(symbols)) == 23


async def test_a_read_unit_refuses_to_write(db: Database) -> None:
    account = await open_account(db)
    async with db.read(user=account.user.id) as unit:
        unit.portfolios.add(Portfolio(user_id=account.user.id, name="Second"))
        with pytest.raises(ReadOnly):
            await unit.session.flush()
        unit.session.expunge_all()


async def test_a_read_unit_refuses_bulk_writes_and_raw_ones_too(db: Database) -> None:
    account = await open_account(db)
    async with db.read(user=account.user.id) as unit:
        with pytest.raises(ReadOnly):
            await unit.portfolios.insert_many([{"name": "Second"}])
        with pytest.raises(ReadOnly):
            await unit.portfolios.patch(account.portfolio.id, name="Renamed")
        with pytest.raises(ReadOnly):
            await unit.session.execute(text("DELETE FROM trading.portfolios"))
    async with db.read(user=account.user.id) as unit:
        assert [item.name for item in await unit.portfolios.all()] == ["Main"]


async def test_a_word_becomes_its_member_when_it_is_assigned(db: Database) -> None:
    account = await open_account(db, cost_basis_method="lifo")
    assert account.portfolio.cost_basis_method is CostBasisMethod.LIFO
    with pytest.raises(InvalidData, match="be one of fifo, lifo"):
        account.portfolio.cost_basis_method = "fifi"  # type: ignore[assignment]  # the point


async def test_errors_name_table_and_rule_but_no_value(db: Database) -> None:
    account = await open_account(db, name="Secret plan")
    with pytest.raises(AlreadyExists) as caught:
        async with db.transaction(user=account.user.id) as unit:
            await make_portfolio(unit, account.user, "Secret plan")
    assert caught.value.table == "portfolios"
    assert caught.value.constraint == "uq_portfolios_user_id_name"
    assert "Secret plan" not in str(caught.value)
    with pytest.raises(CheckFailed, match="ck_portfolios_name_length"):
        async with db.transaction(user=account.user.id) as unit:
            await make_portfolio(unit, account.user, "")


async def test_money_columns_refuse_floats_and_nan_at_every_door(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        await make_currencies(unit)
    with pytest.raises(Exception, match="Decimal"):
        async with db.transaction(system="test") as unit:
            await unit.fx_rates.insert_many([fx_row(1) | {"rate": 1.1}])
    for bad in ("'NaN'", "'Infinity'", "1e20", "0.0000000000000000001"):
        with pytest.raises(CheckFailed, match="rate_range"):
            async with db.transaction(system="test") as unit:
                await unit.session.execute(
                    text(
                        'INSERT INTO market.fx_rates (base_currency, quote_currency, "on",'
                        f" source, rate) VALUES ('EUR', 'USD', '2024-01-01', 'x', {bad})"
                    )
                )


async def test_a_naive_time_is_refused(db: Database) -> None:
    async with db.transaction(system="test") as unit:
        user = await make_user(unit)
        user.last_login_at = datetime(2024, 1, 1)  # noqa: DTZ001 - the point of the test
        with pytest.raises(Exception, match="time zone"):
            await unit.flush()
        await unit.session.rollback()
