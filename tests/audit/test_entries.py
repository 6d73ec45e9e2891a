"""Every way to write leaves entries in the same transaction, and nothing else does."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.engine import make_url

from domain import Database
from domain.audit.models import REDACTED, AuditEntry, Origin
from domain.audit.policies import BOOKKEEPING, Kept, history_of
from domain.audit.recording import record
from domain.db.scope import during
from domain.errors import InvalidData
from domain.identity.api_keys import create_api_key
from domain.identity.models import User
from domain.journal.models import Tag
from domain.market.ingesting import ingest_bars
from domain.schema import metadata
from domain.trading.terms import Side
from tests.factories.trading import Account, open_account
from tests.timeseries.rows import NOW, bar, instrument_in


async def entries(db: Database, table: str, key: object = None) -> list[AuditEntry]:
    """Return what is recorded of a table, or of one of its rows, oldest first."""
    async with db.read(staff="auditor") as unit:
        found = unit.audit_entries.query(AuditEntry.table_name == table)
        if key is not None:
            found = found.where(AuditEntry.row_key == str(key))
        return list(await unit.audit_entries.all(found.order_by(AuditEntry.at, AuditEntry.id)))


@pytest.fixture
async def account(db: Database) -> Account:
    return await open_account(db)


@pytest.fixture
async def psql(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that knows nothing of us, as psql is one."""
    url = make_url(migrated_database).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    yield connection
    await connection.close()


async def test_an_edit_is_told_with_who_when_and_both_values_of_what_changed(
    db: Database, account: Account
) -> None:
    with during(request_id="req-77"):
        async with db.transaction(staff="grace") as unit:
            await unit.portfolios.patch(account.portfolio.id, version=1, name="Long term")
    made, edited = await entries(db, "trading.portfolios", account.portfolio.id)
    assert (made.action, made.actor, made.origin) == ("insert", "system:test", Origin.SYSTEM)
    assert (edited.action, edited.actor, edited.origin) == ("update", "grace", Origin.STAFF)
    assert (edited.old_values, edited.new_values) == ({"name": "Main"}, {"name": "Long term"})
    assert edited.request_id == "req-77"
    assert edited.user_id == account.user.id
    assert made.at < edited.at


async def test_the_orm_and_bulk_statements_are_told_alike(db: Database, account: Account) -> None:
    rows = [{"user_id": account.user.id, "name": f"tag {n}"} for n in range(30)]
    async with db.transaction(user=account.user.id) as unit:
        by_hand = unit.tags.add(Tag(user_id=account.user.id, name="by hand"))
        await unit.flush()
        by_hand.color = "#00aa77"
        await unit.tags.insert_many(rows)
        await unit.tags.copy_in([{"user_id": account.user.id, "name": "copied"}])
        await unit.session.execute(
            update(Tag).where(Tag.name != "by hand").values(category="mistake")
        )
        await unit.tags.delete_where(Tag.name == "tag 3")
    told = await entries(db, "journal.tags")
    counts = {action: sum(e.action == action for e in told) for action in {e.action for e in told}}
    assert counts == {"insert": 32, "update": 32, "delete": 1}
    assert {entry.actor for entry in told} == {str(account.user.id)}
    assert {entry.origin for entry in told} == {Origin.USER}
    assert len({entry.xid for entry in told}) == 1
    gone = next(entry for entry in told if entry.action == "delete")
    assert gone.old_values is not None and gone.new_values is None
    assert (gone.old_values["name"], gone.old_values["category"]) == ("tag 3", "mistake")


async def test_numbers_and_times_are_kept_to_the_last_digit(db: Database, account: Account) -> None:
    booked = await account.trade(
        Side.BUY,
        "0.100000000000000001",
        "187.30",
        executed_at=datetime(2024, 1, 2, 14, 30, 0, 123456, UTC),
    )
    (told,) = await entries(db, "trading.trades", booked.trade.id)
    assert told.new_values is not None
    assert told.new_values["quantity"] == "0.100000000000000001"
    assert Decimal(told.new_values["price"]) == Decimal("187.30")
    assert told.new_values["executed_at"] == "2024-01-02T14:30:00.123456+00:00"
    assert "leverage" not in told.new_values, "an empty column is no change"
    (position,) = await entries(db, "trading.positions")
    assert position.xid == told.xid


async def test_sql_without_a_unit_is_told_under_its_database_role(
    db: Database, account: Account, psql: asyncpg.Connection
) -> None:
    name = await psql.fetchval("SELECT session_user")
    await psql.execute("SET timezone = 'Asia/Tokyo'")
    await psql.execute(
        "UPDATE trading.portfolios SET archived_at = '2026-01-31 12:00:00.5+00' WHERE id = $1",
        account.portfolio.id,
    )
    told = (await entries(db, "trading.portfolios", account.portfolio.id))[-1]
    assert (told.actor, told.origin, told.request_id) == (name, Origin.PSQL, None)
    assert told.new_values == {"archived_at": "2026-01-31T12:00:00.5+00:00"}


async def test_an_empty_table_is_told_as_one_event(
    db: Database, account: Account, psql: asyncpg.Connection
) -> None:
    await psql.execute("TRUNCATE journal.tags CASCADE")
    (told,) = await entries(db, "journal.tags")
    assert (told.action, told.row_key) == ("truncate", None)


async def test_what_a_cascade_takes_along_is_told_too(db: Database, account: Account) -> None:
    async with db.transaction(staff="grace") as unit:
        tag = unit.tags.add(Tag(user_id=account.user.id, name="swing"))
        await unit.flush()
        await unit.users.remove(await unit.users.get(account.user.id))
    gone = (await entries(db, "journal.tags", tag.id))[-1]
    assert (gone.action, gone.actor, gone.user_id) == ("delete", "grace", account.user.id)


async def test_a_partitioned_table_tells_corrections_and_not_what_was_added(db: Database) -> None:
    instrument = await instrument_in(db)
    async with db.transaction(system="feed") as unit:
        await ingest_bars(
            unit, [bar(instrument, NOW, "190.25"), bar(instrument, NOW.replace(hour=1))]
        )
        await ingest_bars(
            unit, [bar(instrument, NOW, "190.50"), bar(instrument, NOW.replace(hour=1))]
        )
    (told,) = await entries(db, "market.bars")
    assert told.action == "update"
    assert told.row_key == f"{instrument};1m;{NOW.isoformat()};test"
    assert told.old_values is not None and told.old_values["close"] == "190.25"


async def test_secrets_are_never_written_down(db: Database) -> None:
    async with db.transaction(staff="grace") as unit:
        user = unit.users.add(User(username="ada", password_hash="$argon2id$secret-one"))
        await unit.flush()
        user.password_hash = "$argon2id$secret-two"
        _, secret = await create_api_key(unit, user, name="robot")
    made, changed = await entries(db, "identity.users", user.id)
    assert made.new_values is not None and made.new_values["password_hash"] == REDACTED
    assert changed.old_values == changed.new_values == {"password_hash": REDACTED}
    async with db.read(staff="grace") as unit:
        everything = await unit.session.execute(text("SELECT e::text FROM audit.entries AS e"))
        told = " ".join(everything.scalars())
        assert "secret-" not in told and secret not in told
        key = (await entries(db, "identity.api_keys"))[0]
        assert key.new_values is not None and key.new_values["key_hash"] == REDACTED


async def test_what_machines_touch_all_the_time_makes_no_entry(
    db: Database, account: Account, psql: asyncpg.Connection
) -> None:
    await account.trade(Side.BUY, "10", "187.30")
    before = len(await entries(db, "trading.positions"))
    await psql.execute("UPDATE trading.positions SET current_price = 190, marked_at = now()")
    await psql.execute("UPDATE identity.users SET last_login_at = now(), version = version + 1")
    await psql.execute("UPDATE trading.portfolios SET name = name")
    assert len(await entries(db, "trading.positions")) == before
    assert [entry.action for entry in await entries(db, "identity.users")] == ["insert"]
    assert [entry.action for entry in await entries(db, "trading.portfolios")] == ["insert"]


async def test_what_is_rolled_back_was_never_told(db: Database, account: Account) -> None:
    async with db.transaction(user=account.user.id) as unit:
        unit.tags.add(Tag(user_id=account.user.id, name="stays"))
        await unit.flush()
        async with unit.session.begin_nested() as savepoint:
            unit.tags.add(Tag(user_id=account.user.id, name="goes"))
            await unit.flush()
            await savepoint.rollback()
    with pytest.raises(ZeroDivisionError):
        async with db.transaction(user=account.user.id) as unit:
            unit.tags.add(Tag(user_id=account.user.id, name="never"))
            await unit.flush()
            raise ZeroDivisionError
    names = [
        entry.new_values and entry.new_values["name"] for entry in await entries(db, "journal.tags")
    ]
    assert names == ["stays"]


async def test_a_tenant_sees_its_own_history_alone(db: Database, account: Account) -> None:
    other = await open_account(db, "grace")
    async with db.read(user=account.user.id) as unit:
        seen = await unit.audit_entries.all()
        assert {entry.user_id for entry in seen} == {account.user.id}
        assert {entry.table_name for entry in seen} == {"identity.users", "trading.portfolios"}
        foreign = unit.audit_entries.of("trading.portfolios", str(other.portfolio.id))
        assert await unit.audit_entries.all(foreign) == []


ATTEMPTS = (
    "UPDATE audit.entries SET actor = 'nobody'",
    "DELETE FROM audit.entries",
    "TRUNCATE audit.entries",
    "UPDATE audit.seals SET hash = ''",
    "DELETE FROM audit.seals",
    "TRUNCATE audit.seals",
    "UPDATE ts_parts.{part} SET actor = 'nobody'",
)


async def test_nobody_changes_the_history(account: Account, psql: asyncpg.Connection) -> None:
    part = await psql.fetchval(
        "SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid"
        " WHERE inhparent = 'audit.entries'::regclass LIMIT 1"
    )
    for role in ("tradekeep_owner", "tradekeep_staff", "tradekeep_app", "NONE"):
        await psql.execute(f"SET ROLE {role}")
        for attempt in ATTEMPTS:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await psql.execute(attempt.format(part=part))


FORGERIES = (
    "INSERT INTO audit.entries (cluster, actor, origin, action) VALUES (1, 'x', 'psql', 'login')",
    "SELECT audit.note('delete', 'trading.trades', '1', NULL, NULL)",
)


async def test_nobody_writes_the_history_but_its_triggers(psql: asyncpg.Connection) -> None:
    for role in ("tradekeep_staff", "tradekeep_app", "tradekeep_readonly"):
        await psql.execute(f"SET ROLE {role}")
        for forgery in FORGERIES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await psql.execute(forgery)


async def test_events_stand_in_the_same_history(db: Database, account: Account) -> None:
    stranger = UUID(int=1)
    async with db.transaction(staff="grace") as unit:
        await record(unit, "export", table="trading.trades", rows=1_204)
        await record(unit, "impersonation", user_id=account.user.id, reason="asked for help")
    async with db.transaction(user=account.user.id) as unit:
        await record(unit, "export", table="trading.trades", user_id=stranger)
    staffs, own = await entries(db, "trading.trades")
    assert (staffs.action, staffs.actor, staffs.details) == ("export", "grace", {"rows": 1_204})
    assert own.user_id == account.user.id, "a tenant writes into its own history alone"
    async with db.read(user=account.user.id) as unit:
        seen = [entry.action for entry in await unit.audit_entries.all()]
    assert sorted(seen) == ["export", "impersonation", "insert", "insert"]


async def test_an_event_cannot_pretend_to_be_a_change(db: Database, account: Account) -> None:
    async with db.transaction(staff="grace") as unit:
        with pytest.raises(InvalidData, match="action must be an event"):
            await record(unit, "delete", table="trading.trades", key=account.user.id)
        with pytest.raises(InvalidData, match="key must come with its table"):
            await record(unit, "export", key=account.user.id)


async def test_pages_of_a_record_and_of_an_actor_walk_an_index(
    db: Database, account: Account, psql: asyncpg.Connection
) -> None:
    async with db.transaction(staff="grace") as unit:
        for n in range(7):
            await unit.portfolios.patch(account.portfolio.id, name=f"name {n}")
    async with db.read(staff="grace") as unit:
        repository = unit.audit_entries
        statement = repository.of("trading.portfolios", str(account.portfolio.id))
        first = await repository.page(statement, limit=5)
        second = await repository.page(statement, limit=5, after=first.after)
        assert [len(first.items), len(second.items)] == [5, 3]
        assert second.items[-1].action == "insert"
        assert len((await repository.page(repository.by("grace"))).items) == 7
    await psql.execute("SET enable_seqscan = off")
    for where in (
        "table_name = 'a' AND row_key = 'b'",
        "actor = 'a'",
        f"user_id = '{UUID(int=1)}'",
    ):
        plan = await psql.fetch(
            f"EXPLAIN SELECT * FROM audit.entries WHERE {where}"
            " AND (at, id) < (now(), uuidv7()) ORDER BY at DESC, id DESC LIMIT 50"
        )
        assert "Index Scan" in str(plan) and "Sort" not in str(plan), where


@pytest.mark.parametrize("table", metadata.tables.values(), ids=lambda table: table.fullname)
def test_every_table_says_what_is_kept_of_its_changes(table: Any) -> None:
    history = history_of(table)
    assert history is not None
    assert (history.kept is Kept.ALL) == (not history.why), "what is left out has a reason"
    assert not history.silent & BOOKKEEPING


async def test_the_database_has_the_triggers_that_the_tables_ask_for(
    psql: asyncpg.Connection,
) -> None:
    rows = await psql.fetch(
        "SELECT tgrelid::regclass::text AS name, array_agg(tgname::text) AS found FROM pg_trigger"
        " WHERE tgname LIKE 'audit\\_%' AND tgparentid = 0 AND tgenabled = 'O' GROUP BY 1"
    )
    found = {row["name"].replace('"', ""): {*row["found"]} for row in rows}
    wanted = {
        Kept.ALL: {"audit_insert", "audit_update", "audit_delete", "audit_truncate"},
        Kept.CHANGES: {"audit_update", "audit_delete", "audit_truncate"},
    }
    assert found == {
        name: wanted[history.kept]
        for name, table in metadata.tables.items()
        if (history := history_of(table)) and history.kept is not Kept.NOTHING
    }


async def test_a_month_without_a_worker_makes_its_own_partition(
    db: Database, account: Account, psql: asyncpg.Connection
) -> None:
    await psql.execute("SET ROLE tradekeep_owner")
    parts = "SELECT partition::text FROM timeseries.partitions WHERE relation = 'audit.entries'::regclass"
    for name in await psql.fetch(parts):
        await psql.execute(f"ALTER TABLE audit.entries DETACH PARTITION {name[0]}")
    await psql.execute("RESET ROLE")
    async with Database(db.engine.url.render_as_string(hide_password=False)) as later:
        async with later.transaction(user=account.user.id) as unit:
            unit.tags.add(Tag(user_id=account.user.id, name="swing"))
    assert len(await entries(db, "journal.tags")) == 1


async def test_two_units_differ_in_circumstances_and_share_a_read_connection(db: Database) -> None:
    with during(request_id="a"):
        one = db.read(staff="ada")
    async with one as unit:
        first = (await unit.session.execute(select(func.pg_backend_pid()))).scalar_one()
    with during(request_id="b"):
        async with db.read(staff="ada") as unit:
            assert first == (await unit.session.execute(select(func.pg_backend_pid()))).scalar_one()


def test_a_request_id_is_short_and_holds_no_nul() -> None:
    for bad in ("x" * 201, "a\x00b"):
        with pytest.raises(InvalidData, match="request_id"), during(request_id=bad):
            pass


async def test_a_reader_of_reports_reads_the_history(
    psql: asyncpg.Connection, account: Account
) -> None:
    await psql.execute("SET ROLE tradekeep_readonly")
    assert await psql.fetchval("SELECT count(*) FROM audit.entries") > 0
