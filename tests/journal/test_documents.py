"""The journal as a JSON document: out and in again without loss."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain import Database
from domain.errors import InvalidData
from domain.journal.attaching import NewFile, attach, read_attachment
from domain.journal.documents import export_entries, read_entries
from domain.journal.models import JournalEntry
from domain.journal.recording import link_position, record_entry, tag_entry
from domain.journal.terms import Direction, EntryKind, TagCategory
from domain.storage import Storage
from domain.trading.terms import Side
from tests.factories.journal import make_setup, new_entry
from tests.factories.trading import Account, open_account

WRITTEN = {
    "title": "Ausbruch bei Apple — \u201cclean\u201d",
    "strategy": "swing",
    "direction": Direction.LONG,
    "legs": [{"strike": "180.00", "quantity": 1}, None],
    "entry_at": datetime(2024, 1, 8, 14, 30, 15, 123456, tzinfo=UTC),
    "entry_price": Decimal("190.250000000000000001"),
    "exit_on": date(2024, 1, 9),
    "exit_price": Decimal("195.50"),
    "planned_entry": Decimal("190"),
    "planned_stop": Decimal("185"),
    "planned_target": Decimal("205"),
    "initial_risk": Decimal("50"),
    "mae": Decimal("-12.30"),
    "mfe": Decimal("0.10"),
    "rating": 4,
    "satisfied": True,
    "followed_plan": False,
    "emotion": "calm",
    "thesis": "Volume\ndoubled",
    "notes": "",
    "lessons": "Wait for the close.",
}


async def fill(db: Database, account: Account, storage: Storage) -> list[JournalEntry]:
    bought = await account.trade(Side.BUY, "10", "190", external_id="b-1")
    sold = await account.trade(Side.SELL, "10", "195", minute=1, external_id="s-1")
    owner = account.user.id
    async with storage.staged() as staged, db.transaction(user=owner) as unit:
        setup = await make_setup(unit, owner)
        full = new_entry(owner, setup_id=setup.id, portfolio_id=account.portfolio.id, instrument_id=account.instrument.id, **WRITTEN)  # fmt: skip
        await record_entry(unit, full, trades=[bought.trade, sold.trade], tags=["tech"])
        await tag_entry(unit, full, ["greed"], category=TagCategory.EMOTION)
        await attach(unit, staged, full, NewFile("chart.png", b"\x89PNG\x00\xff", "chart", [[1]]))
        typed = new_entry(owner, kind=EntryKind.NOTE, pnl=Decimal("1.10"), currency="USD")
        cycle = new_entry(owner)
        for entry in (typed, cycle):
            await record_entry(unit, entry)
        await link_position(unit, cycle, sold.position)
    return [full, typed, cycle]


async def whole(db: Database, storage: Storage, entries: list[JournalEntry]) -> dict[str, Any]:
    async with db.read(system="test") as unit:
        document = await export_entries(unit, entries, storage=storage)
    return json.loads(json.dumps(document))


async def test_what_is_read_back_is_what_was_written(db: Database, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    account = await open_account(db)
    entries = await fill(db, account, storage)
    before = await whole(db, storage, entries)
    async with db.transaction(user=account.user.id) as unit:
        await unit.journal_entries.delete_where(JournalEntry.user_id == account.user.id)
        for setup in await unit.setups.all():
            await unit.setups.remove(setup)
    async with storage.staged() as staged, db.transaction(user=account.user.id) as unit:
        result = await read_entries(unit, account.user.id, before, staged=staged)
        assert (len(result.entries), result.known) == (3, 0)
    after = await whole(db, storage, entries)
    for old, new in zip(before["entries"], after["entries"], strict=True):
        assert {name: value for name, value in new.items() if value != old[name]} == {}
    assert after == before
    async with db.read(user=account.user.id) as unit:
        full = await unit.journal_entries.get(entries[0].id)
        (attachment,) = await unit.attachments.of(full)
    assert {name: getattr(full, name) for name in WRITTEN} == WRITTEN
    assert (full.pnl, full.r_multiple, full.planned_rr) == (50, 1, 3)
    assert await read_attachment(storage, attachment) == b"\x89PNG\x00\xff"


async def test_reading_it_twice_changes_nothing(db: Database, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    account = await open_account(db)
    document = await whole(db, storage, await fill(db, account, storage))
    async with db.transaction(user=account.user.id) as unit:
        result = await read_entries(unit, account.user.id, document)
    assert (list(result.entries), result.known) == ([], 3)


async def test_amounts_are_strings_and_the_tenant_is_not_named(
    db: Database, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    account = await open_account(db)
    document = await whole(db, storage, await fill(db, account, storage))
    assert document["entries"][0]["entry_price"] == "190.250000000000000001"
    assert str(account.user.id) not in json.dumps(document)


async def test_it_can_be_read_for_somebody_who_has_the_same_trades(
    db: Database, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    ada = await open_account(db, "ada")
    document = await whole(db, storage, await fill(db, ada, storage))
    async with db.transaction(system="test") as unit:
        await unit.journal_entries.delete_where(JournalEntry.user_id == ada.user.id)
    bob = await open_account(db, "bob")
    async with db.transaction(user=bob.user.id) as unit:
        with pytest.raises(InvalidData, match=r"(trade|position) must be there already"):
            await read_entries(unit, bob.user.id, document)
        await unit.session.rollback()
    await bob.trade(Side.BUY, "10", "190", external_id="b-1")
    await bob.trade(Side.SELL, "10", "196", minute=1, external_id="s-1")
    async with storage.staged() as staged, db.transaction(user=bob.user.id) as unit:
        result = await read_entries(unit, bob.user.id, document, staged=staged)
        assert {entry.user_id for entry in result.entries} == {bob.user.id}
        assert result.entries[0].pnl == 60  # bob's ledger, not ada's


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("tradekeep_journal",), 2),
        (("entries",), [{"id": "not a uuid"}]),
        (("entries", 0, "entry_on"), "someday"),
        (("entries", 0, "entry_price"), "1e5"),
        (("entries", 0, "entry_price"), 1.5),
        (("entries", 0, "rating"), 9),
        (("entries", 0, "direction"), "sideways"),
        (("entries", 0, "portfolio"), "Nowhere"),
        (("entries", 0, "setup"), "Unknown"),
        (("entries", 0, "instrument", "symbol"), "NOPE"),
        (("entries", 0, "tags"), [{"name": "a", "category": "nonsense"}]),
        (("entries", 0, "attachments", 0, "content"), "%%%"),
        (("entries", 0, "attachments", 0, "content"), "AAAA"),
        (("setups",), None),
    ],
)
async def test_a_broken_document_is_refused_whole(
    db: Database, tmp_path: Path, place: tuple[Any, ...], value: object
) -> None:
    storage = Storage(str(tmp_path))
    account = await open_account(db)
    document = await whole(db, storage, await fill(db, account, storage))
    async with db.transaction(system="test") as unit:
        await unit.journal_entries.delete_where(JournalEntry.user_id == account.user.id)
    inner: Any = document
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    objects = await storage.list()
    with pytest.raises(InvalidData):
        async with storage.staged() as staged, db.transaction(user=account.user.id) as unit:
            await read_entries(unit, account.user.id, document, staged=staged)
    async with db.read(user=account.user.id) as unit:
        assert await unit.journal_entries.count() == 0
    assert await storage.list() == objects


async def test_without_a_store_files_keep_their_names_and_lose_their_bytes(
    db: Database, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    account = await open_account(db)
    entries = await fill(db, account, storage)
    async with db.read(user=account.user.id) as unit:
        document = await export_entries(unit, entries)
    (file,) = document["entries"][0]["attachments"]
    assert (file["filename"], file["content"]) == ("chart.png", None)
    full = await whole(db, storage, entries)
    async with db.transaction(user=account.user.id) as unit:
        await unit.journal_entries.delete_where(JournalEntry.user_id == account.user.id)
        with pytest.raises(InvalidData, match="staged"):
            await read_entries(unit, account.user.id, full)
        await unit.session.rollback()
