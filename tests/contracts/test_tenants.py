"""Two tenants with rows in every owned table: nothing of one reaches the other.

The tables, foreign keys and views are those of the models, so a new one is tested by being there.
"""

import asyncio
import os
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ForeignKeyConstraint, LargeBinary, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain import Database
from domain.clock import new_id
from domain.db.objects import View, declared
from domain.db.orm import Base
from domain.db.scope import Reach, limited_to
from domain.db.unit import UnitOfWork
from domain.errors import AccessDenied, InvalidData, ReferenceViolation, TradekeepError
from domain.schema import DESK_RIGHTS, DESK_RULES, RIGHTS, metadata
from tests.admin.records import make_everything
from tests.factories.identity import make_user

OWNED = [
    table
    for table in metadata.sorted_tables
    if "user_id" in table.columns and table.schema != "timeseries"
]
UNIQUE_WORDS = ("name", "slug", "dedupe_key", "external_id")
MODELS = {mapper.local_table: mapper.class_ for mapper in Base.registry.mappers}


@dataclass
class Tenants:
    """Ada, whose rows were made by the product, and Bob, who has a copy of each.

    Args:
        db: Their database.
        ada: The tenant who looks.
        bob: The tenant who must not be seen.
        ids: Bob's id for each id of Ada's.
    """

    db: Database
    ada: UUID
    bob: UUID
    ids: dict[UUID, UUID]

    async def as_ada(self, sql: str, **given: Any) -> Any:
        """Run one statement as Ada; give its only value, or None when she may not."""
        try:
            async with self.db.transaction(user=self.ada) as unit:
                result = await unit.session.execute(text(sql), given)
                return result.scalar() if result.returns_rows else result.rowcount
        except AccessDenied:
            return None

    async def rows_of_bob(self) -> dict[str, int]:
        async with self.db.transaction(system="test") as unit:
            return {
                table.fullname: await unit.session.scalar(
                    text(f"SELECT count(*) FROM {table.fullname} WHERE user_id = :bob"),
                    {"bob": self.bob},
                )
                or 0
                for table in OWNED
            }

    async def row_of(self, user: UUID, table: Table) -> dict[str, Any]:
        async with self.db.transaction(system="test") as unit:
            return await _first_row(unit, table, user)


@pytest.fixture
async def people(db: Database) -> Tenants:
    """Ada and Bob without rows."""
    async with db.transaction(system="test") as unit:
        ada, bob, _ = [await make_user(unit, name) for name in ("ada", "bob", "eve")]
    return Tenants(db, ada.id, bob.id, {ada.id: bob.id})


@pytest.fixture
async def tenants(db: Database) -> Tenants:
    account = await make_everything(db)
    async with db.transaction(system="test") as unit:
        bob = await make_user(unit, "bob")
        both = Tenants(db, account.user.id, bob.id, {account.user.id: bob.id})
        for table in OWNED:
            # The history of Bob's rows is written by the copying itself, and by nothing else.
            if table.schema != "audit":
                await _copy_for_bob(unit, table, both)
    return both


async def _copy_for_bob(unit: UnitOfWork, table: Table, both: Tenants) -> None:
    query = table.select().where(table.c.user_id == both.ada)
    for row in (await unit.session.execute(query)).mappings():
        values = {
            column.name: row[column.name]
            for column in table.columns
            if column.computed is None and column.identity is None
        }
        if "id" in values:
            both.ids[row["id"]] = new_id()
        for name, value in values.items():
            if isinstance(value, UUID):
                values[name] = both.ids.get(value, value)
            elif isinstance(value, str):
                values[name] = value.replace(str(both.ada), str(both.bob))
        await unit.session.execute(table.insert().values(_unlike(table, values)))


def _unlike(table: Table, values: dict[str, Any]) -> dict[str, Any]:
    """Change what is unique over all tenants: digests and ids of events."""
    for column in table.columns:
        value = values.get(column.name)
        if isinstance(column.type, LargeBinary) and value is not None:
            values[column.name] = os.urandom(len(value))
    if "subject" in table.columns:
        values["subject"] = str(new_id())
    return values | ({"event_id": new_id()} if "event_id" in table.columns else {})


async def _first_row(unit: UnitOfWork, table: Table, user: UUID) -> dict[str, Any]:
    query = table.select().where(table.c.user_id == user).limit(1)
    row = (await unit.session.execute(query)).mappings().one()
    skipped = {c.name for c in table.columns if c.computed is not None or c.identity is not None}
    return {name: value for name, value in row.items() if name not in skipped}


def tenant_keys(table: Table) -> list[ForeignKeyConstraint]:
    return [
        key
        for key in table.foreign_key_constraints
        if "user_id" in key.column_keys[:1] and len(key.column_keys) > 1
    ]


async def test_both_tenants_have_rows_in_every_owned_table(tenants: Tenants) -> None:
    empty = [name for name, count in (await tenants.rows_of_bob()).items() if not count]
    assert empty == []
    assert len(OWNED) >= 30


async def test_a_tenant_sees_none_of_the_others_rows(tenants: Tenants) -> None:
    seen = {
        table.fullname: await tenants.as_ada(
            f"SELECT count(*) FROM {table.fullname} WHERE user_id = :bob", bob=tenants.bob
        )
        for table in OWNED
    }
    assert {name: count for name, count in seen.items() if count} == {}
    readable = {table.fullname for table in OWNED if "SELECT" in RIGHTS[table.fullname][0]}
    assert {name for name, count in seen.items() if count is not None} == readable
    assert await tenants.as_ada("SELECT count(*) FROM identity.users") == 1


async def test_repositories_show_a_tenant_its_own_rows_alone(tenants: Tenants) -> None:
    foreign = {}
    for table in OWNED:
        try:
            async with tenants.db.read(user=tenants.ada) as unit:
                rows = await unit[MODELS[table]].all()
        except AccessDenied:
            continue
        foreign[table.fullname] = sum(row.user_id == tenants.bob for row in rows)
        assert any(row.user_id == tenants.ada for row in rows), table.fullname
    assert {name: count for name, count in foreign.items() if count} == {}


async def test_no_join_leads_from_one_tenant_to_the_other(tenants: Tenants) -> None:
    leaks = []
    for table in OWNED:
        for key in table.foreign_key_constraints:
            parent = key.referred_table
            on = " AND ".join(
                f"child.{element.parent.name} = parent.{element.column.name}"
                for element in key.elements
                if element.parent.name != "user_id" or len(key.elements) == 1
            )
            owner = "user_id" if "user_id" in parent.columns else "id"
            if parent.fullname not in {"identity.users", *(t.fullname for t in OWNED)}:
                owner = ""
            strange = "child.user_id = :bob" + (f" OR parent.{owner} = :bob" if owner else "")
            count = await tenants.as_ada(
                f"SELECT count(*) FROM {table.fullname} AS child"
                f" JOIN {parent.fullname} AS parent ON {on} WHERE {strange}",
                bob=tenants.bob,
            )
            leaks += [(table.fullname, parent.fullname, count)] if count else []
    assert leaks == []


async def test_no_view_shows_the_other_tenant(tenants: Tenants) -> None:
    leaks, looked_at = [], 0
    for view in declared(metadata):
        if not isinstance(view, View) or view.schema == "timeseries":
            continue
        columns = await tenants.as_ada(
            "SELECT string_agg(attname, ',') FROM pg_attribute WHERE attrelid = to_regclass(:view)",
            view=f"{view.schema}.{view.name}",
        )
        if "user_id" not in columns.split(","):
            continue
        looked_at += 1
        name = f"{view.schema}.{view.name}"
        count = await tenants.as_ada(
            f"SELECT count(*) FROM {name} WHERE user_id = :bob", bob=tenants.bob
        )
        leaks += [name] if count else []
    assert leaks == []
    assert looked_at >= 2


async def test_a_tenant_changes_and_deletes_none_of_the_others_rows(tenants: Tenants) -> None:
    before = await tenants.rows_of_bob()
    for table in OWNED:
        changed = await tenants.as_ada(
            f"UPDATE {table.fullname} SET user_id = :ada WHERE user_id = :bob",
            ada=tenants.ada,
            bob=tenants.bob,
        )
        deleted = await tenants.as_ada(
            f"DELETE FROM {table.fullname} WHERE user_id = :bob", bob=tenants.bob
        )
        assert not changed and not deleted, table.fullname
    assert await tenants.rows_of_bob() == before


async def test_a_tenant_gives_away_none_of_its_rows(tenants: Tenants) -> None:
    before = await tenants.rows_of_bob()
    for table in OWNED:
        with pytest.raises(TradekeepError):
            async with tenants.db.transaction(user=tenants.ada) as unit:
                moved = await unit.session.execute(
                    text(f"UPDATE {table.fullname} SET user_id = :bob"), {"bob": tenants.bob}
                )
                assert moved.rowcount == 0
                raise AccessDenied("nothing was there to move")
    assert await tenants.rows_of_bob() == before


@pytest.mark.parametrize("path", ["insert", "insert_many", "copy_in", "add"])
async def test_no_way_of_writing_makes_a_row_for_the_other_tenant(
    tenants: Tenants, path: str
) -> None:
    before = await tenants.rows_of_bob()
    for table in OWNED:
        row = await tenants.row_of(tenants.bob, table)
        if "id" in row:
            row["id"] = new_id()
        with pytest.raises(AccessDenied):
            async with tenants.db.transaction(user=tenants.ada) as unit:
                await _write(unit, table, _unlike(table, row), path)
    assert await tenants.rows_of_bob() == before


async def _write(unit: Any, table: Table, row: dict[str, Any], path: str) -> None:
    model = MODELS[table]
    if path == "insert":
        await unit.session.execute(table.insert().values(row))
        return
    if path == "add":
        entity = model.__new__(model)
        model.__mapper__.class_manager.setup_instance(entity)
        for name, value in row.items():
            setattr(entity, model.__mapper__.get_property_by_column(table.c[name]).key, value)
        unit[model].add(entity)
        await unit.flush()
        return
    keys = {
        model.__mapper__.get_property_by_column(table.c[name]).key: value
        for name, value in row.items()
    }
    await getattr(unit[model], path)([keys])


# ── staff limited to Ada ─────────────────────────────────────────────────────────────────────────


async def as_desk(tenants: Tenants, sql: str, **given: Any) -> Any:
    """Run one statement as staff limited to Ada; give its only value, None when refused."""
    try:
        async with tenants.db.transaction(staff="desk", tenants=[tenants.ada]) as unit:
            result = await unit.session.execute(text(sql), given)
            return result.scalar() if result.returns_rows else result.rowcount
    except AccessDenied:
        return None


async def test_limited_staff_see_and_change_the_rows_of_their_tenants_alone(
    tenants: Tenants,
) -> None:
    before = await tenants.rows_of_bob()
    bob, ada, seen = {"bob": tenants.bob}, {"ada": tenants.ada}, set()
    for table in OWNED:
        name = table.fullname
        assert not await as_desk(
            tenants, f"SELECT count(*) FROM {name} WHERE user_id = :bob", **bob
        ), name
        if await as_desk(tenants, f"SELECT count(*) FROM {name} WHERE user_id = :ada", **ada):
            seen.add(name)
        for write in (
            f"DELETE FROM {name} WHERE user_id = :bob",
            f"UPDATE {name} SET user_id = :ada WHERE user_id = :bob",
        ):
            given = bob | ada if ":ada" in write else bob
            assert not await as_desk(tenants, write, **given), write
        moved = await as_desk(tenants, f"UPDATE {name} SET user_id = :bob", **bob)
        assert not moved, f"a row of {name} was given away"
        row = _unlike(table, await tenants.row_of(tenants.bob, table))
        with pytest.raises(AccessDenied):
            async with tenants.db.transaction(staff="desk", tenants=[tenants.ada]) as unit:
                await unit.session.execute(
                    table.insert().values(row | ({"id": new_id()} if "id" in row else {}))
                )
    assert await tenants.rows_of_bob() == before
    shared = {table.fullname for table in OWNED if "SELECT" in DESK_RIGHTS[table.fullname]}
    assert seen == shared - DESK_RULES.credentials, "what they see, and credentials they do not"
    assert await as_desk(tenants, "SELECT count(*) FROM identity.users") == 1
    joined = "SELECT count(*) FROM agents.leaderboard AS l JOIN identity.users AS u ON true"
    assert await as_desk(tenants, f"{joined} WHERE u.id = :bob OR l.user_id = :bob", **bob) == 0


async def test_limited_staff_widen_nothing(people: Tenants) -> None:
    writes = (
        (
            "INSERT INTO identity.staff_tenants (staff_id, tenant_id, granted_by)"
            " VALUES (:ada, :bob, 'desk')"
        ),
        "SELECT count(*) FROM identity.staff_tenants WHERE tenant_id = :bob AND staff_id = :ada",
        "UPDATE identity.users SET tenant_scope = 'all', role = 'admin' WHERE id IN (:ada, :bob)",
        "UPDATE identity.users SET is_active = false WHERE id IN (:ada, :bob)",
        (
            "INSERT INTO identity.role_permissions (role, resource, action, field, effect)"
            " SELECT 'viewer', 'users', 'edit', '', 'allow' WHERE CAST(:ada AS uuid) <> :bob"
        ),
    )
    for sql in writes:
        assert await as_desk(people, sql, ada=people.ada, bob=people.bob) is None, sql
    for sql in (
        "SELECT count(*) FROM audit.seal(5)",
        "SELECT audit.note('login', 'identity.users', 'x', :bob, NULL)",
    ):
        with pytest.raises(AccessDenied):
            async with people.db.transaction(staff="desk", tenants=[people.ada]) as unit:
                await unit.session.execute(text(sql), {"bob": people.bob} if ":bob" in sql else {})
    password = "UPDATE identity.users SET password_hash = 'x', email = 'x@x.x' WHERE id = :ada"
    assert await as_desk(people, password, ada=people.ada) == 0, "it is nobody's own account"
    async with people.db.engine.connect() as connection:
        member = await connection.scalar(
            text("SELECT pg_has_role('tradekeep_desk', 'tradekeep_staff', 'MEMBER')")
        )
    assert member is False


async def test_a_block_that_is_limited_limits_whatever_staff_open_inside(people: Tenants) -> None:
    db, both = people.db, Reach.of([people.ada, people.bob])
    count = text("SELECT count(*) FROM identity.users")

    async def seen(**by: Any) -> int:
        async with db.read(**by) as read, db.snapshot(**by) as snapshot:
            found = {await unit.session.scalar(count) for unit in (read, snapshot)}
        async with db.transaction(**by) as unit, db.loading(unit.scope) as loading:
            found |= {await unit.session.scalar(count), await loading.session.scalar(count)}
        (one,) = found
        return int(one or 0)

    everybody = await seen(staff="ada")
    with limited_to(both):
        assert await seen(staff="ada") == 2
        assert await seen(staff="ada", tenants=[people.ada]) == 1
        with limited_to(Reach.of([people.ada])):
            assert await seen(staff="ada") == 1
            assert await seen(staff="ada", tenants=[people.bob]) == 0, "nothing leads out of it"
            assert await asyncio.create_task(seen(staff="ada")) == 1
        with limited_to(Reach.of([])):
            assert await seen(staff="ada") == 0
        assert await seen(system="test") == everybody > 2
    with pytest.raises(InvalidData, match="come with staff"):
        await seen(system="test", tenants=[people.ada])
    with pytest.raises(InvalidData, match="at most 1,000"):
        await seen(staff="ada", tenants=[new_id() for _ in range(1_001)])


async def test_policies_of_limited_staff_read_an_index_and_no_others_slow_down(
    people: Tenants,
) -> None:
    async def plan(**by: Any) -> str:
        async with people.db.transaction(**by) as unit:
            for setting in ("enable_seqscan", "enable_bitmapscan"):
                await unit.session.execute(text(f"SET LOCAL {setting} = off"))
            lines = await unit.session.scalars(
                text("EXPLAIN (COSTS OFF) SELECT id FROM trading.portfolios")
            )
            return "\n".join(lines)

    desk = await plan(staff="desk", tenants=[people.ada])
    assert "Index Cond: (user_id = ANY (" in desk and "InitPlan" in desk
    assert "InitPlan" not in await plan(staff="ada")
    assert "ANY" not in await plan(user=people.ada)


async def test_no_foreign_key_leads_to_the_other_tenants_rows(tenants: Tenants) -> None:
    """Even the server's superuser cannot tie a row of one to a row of the other."""
    tried = 0
    for table in OWNED:
        for key in tenant_keys(table):
            column = next(name for name in key.column_keys if name != "user_id")
            row = await tenants.row_of(tenants.ada, table)
            parent = await tenants.row_of(tenants.bob, key.referred_table)
            # Without twins here and there: a unique key would refuse the row first.
            twin = {name: str(new_id()) for name in UNIQUE_WORDS if row.get(name) is not None}
            tied = _unlike(table, row | twin | {column: parent["id"]})
            tied |= {"id": new_id()} if "id" in row else {}
            with pytest.raises(ReferenceViolation):
                async with tenants.db.engine.begin() as connection:
                    await _forget(connection, table, tenants.ada)
                    if key.referred_table is not table:
                        await _forget(connection, table, tenants.bob)
                    await connection.execute(table.insert().values(tied))
                    await connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
                pytest.fail(f"{table.fullname}.{column} was tied")
            tried += 1
    assert tried >= 20


async def _forget(connection: AsyncConnection, table: Table, user: UUID) -> None:
    """Delete a tenant's rows of one table, whatever hangs on them."""
    await connection.execute(text("SET LOCAL session_replication_role = replica"))
    await connection.execute(table.delete().where(table.c.user_id == user))
    await connection.execute(text("SET LOCAL session_replication_role = origin"))
