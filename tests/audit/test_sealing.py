"""Sealing under concurrent writers, and every way to tamper that a seal finds out."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from domain import Database
from domain.audit.models import Seal
from domain.audit.sealing import Verified, seal, told, verify
from domain.cli.app import app
from domain.clock import now
from domain.errors import InvalidData
from domain.journal.models import Tag
from domain.ops.jobs import Upkeep
from domain.ops.retention import Retention, maintain
from tests.factories.audit import seal_everything, settle
from tests.factories.trading import Account, open_account


@pytest.fixture
async def account(db: Database) -> Account:
    return await open_account(db)


@pytest.fixture
async def intruder(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser who has switched all triggers off."""
    url = make_url(migrated_database).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


async def write(account: Account, *names: str) -> None:
    """Write one entry a name, each in a transaction of its own."""
    for name in names:
        async with account.db.transaction(user=account.user.id) as unit:
            unit.tags.add(Tag(user_id=account.user.id, name=name))


async def checked(db: Database, from_seal: str | None = None, **given: timedelta) -> Verified:
    async with db.snapshot(system="test") as unit:
        return await verify(unit, from_seal=from_seal, **given)


def faults(found: Verified) -> list[tuple[int, str]]:
    return [(fault.seal, fault.what) for fault in found.faults]


async def three_seals(account: Account) -> list[Seal]:
    seals = []
    for name in ("one", "two", "three"):
        await write(account, f"{name} a", f"{name} b")
        seals += await seal_everything(account.db)
    assert len(seals) == 3
    return seals


async def test_seals_follow_each_other_and_cover_everything(db: Database, account: Account) -> None:
    seals = await three_seals(account)
    found = await checked(db)
    assert faults(found) == []
    async with db.read(staff="auditor") as unit:
        assert found.entries == await unit.audit_entries.count()
    assert found.unsealed == 0
    assert [item.previous_hash for item in seals[1:]] == [item.hash for item in seals[:2]]
    assert found.last is not None and found.last.hash == seals[-1].hash
    assert await seal(db) == [], "nothing new, no new seal"


async def test_an_empty_history_is_intact(db: Database) -> None:
    assert await seal(db) == []
    assert (await checked(db)).is_intact


async def test_nothing_appears_under_a_seal_although_an_older_writer_commits_later(
    db: Database, account: Account
) -> None:
    await settle(db)
    async with db.transaction(user=account.user.id) as slow:
        slow.tags.add(Tag(user_id=account.user.id, name="slow"))
        await slow.flush()
        await write(account, "quick a", "quick b")
        assert sum(item.entries_count for item in await seal(db)) == 3, "those before the slow one"
        assert (await checked(db)).unsealed == 2
    assert sum(item.entries_count for item in await seal_everything(db)) == 3
    assert (await checked(db)).is_intact


async def test_sealers_and_writers_at_the_same_time_leave_nothing_out(
    db: Database, account: Account
) -> None:
    async def work(number: int) -> None:
        await write(account, *(f"{number}-{step}" for step in range(8)))

    async def keep_sealing() -> None:
        for _ in range(6):
            await seal(db)

    await asyncio.gather(*(work(n) for n in range(4)), keep_sealing(), keep_sealing())
    await seal_everything(db)
    found = await checked(db)
    assert faults(found) == []
    assert (found.entries, found.unsealed) == (3 + 32, 0)


async def test_a_changed_entry_breaks_its_seal(
    db: Database, account: Account, intruder: asyncpg.Connection
) -> None:
    await three_seals(account)
    await intruder.execute(
        "UPDATE audit.entries SET actor = 'somebody else' WHERE new_values ->> 'name' = 'two a'"
    )
    assert faults(await checked(db)) == [(2, "an entry was changed")]


async def test_a_deleted_entry_breaks_its_seal(
    db: Database, account: Account, intruder: asyncpg.Connection
) -> None:
    await three_seals(account)
    await intruder.execute("DELETE FROM audit.entries WHERE new_values ->> 'name' = 'three b'")
    assert faults(await checked(db)) == [(3, "1 of 2 entries were deleted")]


async def test_an_entry_that_was_slipped_in_breaks_its_seal(
    db: Database, account: Account, intruder: asyncpg.Connection
) -> None:
    await three_seals(account)
    await intruder.execute(
        "INSERT INTO audit.entries (xid, cluster, actor, origin, action)"
        " SELECT xid, cluster, 'grace', 'staff', 'login' FROM audit.entries"
        " WHERE new_values ->> 'name' = 'one a'"
    )
    assert faults(await checked(db)) == [(1, "1 entries were added to 5")]


async def test_a_removed_seal_breaks_the_chain(
    db: Database, account: Account, intruder: asyncpg.Connection
) -> None:
    await three_seals(account)
    await intruder.execute("DELETE FROM audit.seals WHERE number = 2")
    assert faults(await checked(db)) == [(3, "it does not follow the seal before: one was removed")]


async def test_a_seal_made_to_fit_breaks_the_chain(
    db: Database, account: Account, intruder: asyncpg.Connection
) -> None:
    await three_seals(account)
    await intruder.execute("UPDATE audit.seals SET entries_hash = hash WHERE number = 2")
    assert (2, "the seal itself was changed") in faults(await checked(db))


async def test_a_history_cut_off_at_its_end_lacks_the_seal_that_was_kept_elsewhere(
    db: Database, account: Account, intruder: asyncpg.Connection
) -> None:
    *_, last = await three_seals(account)
    await intruder.execute("DELETE FROM audit.entries WHERE xid >= $1", last.from_xid)
    await intruder.execute("DELETE FROM audit.seals WHERE number = 3")
    assert (await checked(db)).is_intact, "by itself it looks whole"
    ((number, what),) = faults(await checked(db, last.hash))
    assert number == 3 and last.hash in what and "removed" in what


async def test_from_a_kept_seal_on_older_ones_are_not_recomputed(
    db: Database, account: Account, intruder: asyncpg.Connection
) -> None:
    _, second, _ = await three_seals(account)
    await intruder.execute("DELETE FROM audit.entries WHERE new_values ->> 'name' = 'one a'")
    found = await checked(db, second.hash)
    assert (found.seals, found.is_intact) == (2, True)
    with pytest.raises(InvalidData, match="from_seal must be the hash of a seal"):
        await checked(db, "seal 2")


async def test_retention_drops_old_pieces_and_never_rows(db: Database, account: Account) -> None:
    await three_seals(account)
    keep = timedelta(days=30)
    later = now() + timedelta(days=90)
    (done,) = await maintain(db, [Retention("audit.entries", keep)], at=later)
    assert done.dropped == 1
    found = await checked(db, keep=timedelta(microseconds=1))
    assert (found.expired, found.seals, faults(found)) == (3, 0, [])
    assert faults(await checked(db)) != [], "without a setting nothing may be gone"
    await write(account, "afterwards")
    assert len(await seal_everything(db)) == 1


async def test_a_copy_on_another_server_goes_on_with_its_own_numbers(
    db: Database, account: Account, intruder: asyncpg.Connection
) -> None:
    await three_seals(account)
    await write(account, "not sealed when it was copied")
    # As after a restore: what is there was counted by another server, far ahead of this one.
    await intruder.execute("UPDATE audit.entries SET cluster = 7, xid = xid + 1000000")
    await intruder.execute("TRUNCATE audit.seals")
    await seal(db)
    await write(account, "new here")
    made = [*await seal_everything(db), *await seal_everything(db)]
    assert {item.cluster for item in made} != {7}
    found = await checked(db)
    assert (faults(found), found.unsealed) == ([], 0)
    async with db.read(staff="auditor") as unit:
        assert found.entries == await unit.audit_entries.count()


async def test_the_worker_seals_and_says_the_seal(
    db: Database, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tradekeep.worker")
    await settle(db)
    said = await Upkeep(db, None).seal_history()
    found = await checked(db)
    assert found.last is not None
    assert told(found.last) in said and told(found.last) in caplog.text
    assert await Upkeep(db, None).seal_history() == "nothing to seal"


def test_the_command_line_seals_verifies_and_shows(migrated_database: str) -> None:
    async def prepare() -> str:
        async with Database(migrated_database) as db:
            account = await open_account(db)
            async with db.transaction(staff="grace") as unit:
                await unit.portfolios.patch(account.portfolio.id, name="Long term")
            await settle(db)
            return str(account.portfolio.id)

    async def tamper() -> None:
        url = make_url(migrated_database).set(drivername="postgresql")
        connection = await asyncpg.connect(url.render_as_string(hide_password=False))
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE audit.entries SET actor = 'mallory' WHERE actor = 'grace'")
        await connection.close()

    def run(*words: str, code: int = 0) -> str:
        environment = {"DATABASE_URL": migrated_database, "COLUMNS": "250"}
        done = CliRunner().invoke(app, ["audit", *words], env=environment)
        assert done.exit_code == code, done.output
        return done.stdout

    portfolio = asyncio.run(prepare())
    (made,) = json.loads(run("seal", "--format", "json"))
    assert made["hash"] in run("verify", "--from-seal", made["hash"])
    line = run("show", "trading.portfolios", portfolio).splitlines()
    assert any(all(word in row for word in ("grace", "Main", "Long term")) for row in line)
    run("show", "trading.nothing", portfolio, code=1)
    asyncio.run(tamper())
    assert "seal 1: an entry was changed" in run("verify", code=1)
    report = json.loads(run("verify", "--format", "json", code=1))
    assert report["faults"] == [{"seal": 1, "what": "an entry was changed"}]
