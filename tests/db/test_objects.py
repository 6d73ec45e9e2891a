"""Declared objects: their SQL, their order, and the portable uuidv7."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, Uuid, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import func

from domain.clock import now
from domain.db.objects import (
    UUID7_FUNCTION,
    Extension,
    Function,
    Grant,
    Policy,
    Revoke,
    RowSecurity,
    Schema,
    Trigger,
    View,
    create_all,
    declare,
    declared,
    drop_all,
    extensions,
    generated_schemas,
    literal,
    quoted,
    schemas,
)
from domain.db.roles import APP, READONLY, ensure_roles


@pytest.fixture
async def connection(empty_database: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(empty_database, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(ensure_roles)
        yield connection
    await engine.dispose()


def desk() -> MetaData:
    """Two tables and one of everything, declared in the wrong order on purpose."""
    metadata = MetaData()
    declare(
        metadata,
        Grant("SELECT", "TABLE desk.dear", READONLY),
        Grant("SELECT, INSERT, UPDATE (owner)", "TABLE desk.books", APP),
        Grant("USAGE", "SCHEMA desk", APP),
        Revoke("EXECUTE", "FUNCTION desk.guard()"),
        Policy("desk", "books", "mine", APP, using="owner = current_setting('app.user_id', true)"),
        RowSecurity("desk", "books"),
        Trigger(
            "desk",
            "books",
            "guarded",
            "BEFORE UPDATE OF price OR DELETE\n FOR EACH ROW EXECUTE FUNCTION desk.guard()",
        ),
        View("desk", "dear", "SELECT * FROM desk.books WHERE price > 100;", comment="It's dear"),
        Function(
            "desk",
            "guard",
            "",
            "trigger",
            "plpgsql",
            "BEGIN RAISE EXCEPTION 'no $$ % :x', TG_TABLE_NAME; END",
        ),
        Function("desk", "fee", "", "integer", "sql", "SELECT 1", "STABLE", before_tables=True),
        Function("desk", "count_books", "", "bigint", "sql", "SELECT count(*) FROM desk.books"),
        Schema("parts", generated=True),
        Extension("pg_trgm"),
    )
    Table(
        "books",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("owner", Text),
        Column("price", Integer, server_default=text("desk.fee()")),
        schema="desk",
    )
    return metadata


async def test_everything_declared_is_created_in_the_order_of_its_needs(
    connection: AsyncConnection,
) -> None:
    await connection.run_sync(create_all, desk())
    await connection.execute(text("INSERT INTO desk.books (owner) VALUES ('eva'), ('ben')"))
    assert await connection.scalar(text("SELECT desk.count_books()")) == 2
    await connection.execute(text(f"SET LOCAL ROLE {APP}"))
    await connection.execute(text("SET LOCAL app.user_id = 'eva'"))
    assert (await connection.scalars(text("SELECT owner FROM desk.books"))).all() == ["eva"]


async def test_a_trigger_names_its_table_between_events_and_action(
    connection: AsyncConnection,
) -> None:
    await connection.run_sync(create_all, desk())
    await connection.execute(text("INSERT INTO desk.books (owner) VALUES ('eva')"))
    with pytest.raises(Exception, match=r"no \$\$ books :x"):
        await connection.execute(text("DELETE FROM desk.books"))


def test_a_constraint_trigger_may_wait_for_the_commit() -> None:
    trigger = Trigger(
        "desk",
        "books",
        "balanced",
        "AFTER INSERT DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION desk.balance()",
        constraint=True,
    )
    assert " ".join(trigger.create()) == (
        "CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON desk.books DEFERRABLE INITIALLY "
        "DEFERRED FOR EACH ROW EXECUTE FUNCTION desk.balance()"
    )


async def test_what_was_created_can_be_dropped_one_by_one_or_all_at_once(
    connection: AsyncConnection,
) -> None:
    def drop_each(sync: Connection) -> None:
        for item in reversed(declared(desk())):
            if item.rank >= 0:
                for statement in item.drop():
                    sync.exec_driver_sql(statement)

    await connection.run_sync(create_all, desk())
    await connection.run_sync(drop_each)
    left = text("SELECT count(*) FROM pg_depend WHERE refobjid = to_regclass('desk.dear')")
    assert await connection.scalar(left) == 0
    await connection.run_sync(drop_all, desk())
    assert await connection.scalar(text("SELECT to_regnamespace('desk')")) is None
    assert await connection.scalar(text("SELECT to_regnamespace('parts')")) is None


def test_the_metadata_knows_its_schemas_and_extensions() -> None:
    metadata = desk()
    assert schemas(metadata) == ("desk", "parts")
    assert generated_schemas(metadata) == {"parts"}
    assert extensions(metadata) == ("pg_trgm",)


def test_an_object_declared_twice_counts_once() -> None:
    metadata = MetaData()
    declare(metadata, Schema("desk"), Schema("desk"))
    declare(metadata, Schema("desk"))
    assert declared(metadata) == (Schema("desk"),)


def test_defaults_of_arguments_do_not_stand_in_drop_function() -> None:
    function = Function(
        "desk",
        "worth",
        "price numeric DEFAULT 190.25, day date = current_date",
        "numeric",
        "sql",
        "",
    )
    assert function.drop() == ("DROP FUNCTION desk.worth(price numeric, day date)",)


def test_names_and_literals_are_quoted_where_they_must_be() -> None:
    assert quoted("books") == "books"
    assert quoted("order") == '"order"'
    assert quoted("Eva's") == '"Eva\'s"'
    assert literal("Eva's") == "'Eva''s'"


class TestPortableUuid7:
    """The function for servers before PostgreSQL 18, made here under PostgreSQL's nose."""

    @pytest.fixture(autouse=True)
    async def portable(self, connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(UUID7_FUNCTION)

    async def test_it_makes_ids_of_version_7_with_the_time_in_front(
        self, connection: AsyncConnection
    ) -> None:
        before = now()
        made: UUID = await connection.scalar(text("SELECT public.uuidv7()"))
        assert made.version == 7
        assert made.variant == "specified in RFC 4122"
        stamp = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
        assert abs((stamp - before).total_seconds()) < 5

    async def test_ids_of_one_session_only_ascend(self, connection: AsyncConnection) -> None:
        query = text("SELECT public.uuidv7() FROM generate_series(1, 20000)")
        made = (await connection.scalars(query)).all()
        assert made == sorted(set(made))

    async def test_ids_ascend_although_the_clock_was_set_back(
        self, connection: AsyncConnection
    ) -> None:
        ahead = text(
            "SELECT set_config('tradekeep.uuid7_tick', "
            "((extract(epoch FROM now()) + 3600) * 4096000)::bigint::text, false)"
        )
        await connection.execute(ahead)
        first = await connection.scalar(text("SELECT public.uuidv7()"))
        second = await connection.scalar(text("SELECT public.uuidv7()"))
        assert second > first
        assert (first.int >> 80) / 1000 > now().timestamp() + 3_000

    async def test_sqlalchemy_may_rely_on_its_order_when_it_inserts_many_rows(
        self, connection: AsyncConnection
    ) -> None:
        metadata = MetaData()
        default = func.public.uuidv7(type_=Uuid(), monotonic=True)
        table = Table(
            "rows", metadata, Column("id", Uuid(), primary_key=True, server_default=default),
            Column("number", Integer),
        )  # fmt: skip
        await connection.run_sync(metadata.create_all)
        rows = [{"number": number} for number in range(3_000)]
        statement = insert(table).returning(
            table.c.id, table.c.number, sort_by_parameter_order=True
        )
        found = (await connection.execute(statement, rows)).all()
        assert [row.number for row in found] == list(range(3_000))
        assert [row.id for row in found] == sorted(row.id for row in found)
