"Autogenerate on toy models: every kind of change is written, runs, and runs backwards."

from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint, asyncpg
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.types import UserDefinedType

from domain.db import migrations
from domain.db.autogenerate import python_source
from domain.db.objects import (
    Extension,
    Function,
    Grant,
    Policy,
    Revoke,
    RowSecurity,
    Schema,
    Trigger,
    View,
    declare,
)
from domain.db.roles import APP, READONLY, STAFF
from domain.db.types import ExactNumeric, OpenText, UtcDateTime
from tests.alembic_checks.projects import (
    Project,
    evolve,
    execute,
    make_project,
    new_metadata,
    server_version,
)


@dataclass(frozen=True)
class Raw:
    """Anything else, by its SQL."""

    made: str
    gone: str
    rank: int = -5
    schema: str | None = "desk"

    def create(self) -> tuple[str, ...]:
        return (self.made,)

    def drop(self) -> tuple[str, ...]:
        return (self.gone,)


class Embedding(UserDefinedType[object]):
    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "int4range"


@pytest.fixture
def project(tmp_path: Path, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    return make_project(tmp_path, empty_database, monkeypatch)


def book(metadata: MetaData, *extra: object, **options: object) -> Table:
    return Table(
        "books",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False, comment="Key"),
        Column("owner", Text, nullable=False),
        Column("price", ExactNumeric, nullable=False, server_default="190.25"),
        Column("quantity", Integer, nullable=False, server_default=text("1")),
        *extra,
        schema="desk",
        **options,
    )


def guard(name: str = "guard", body: str = "BEGIN RETURN NEW; END") -> Function:
    return Function("desk", name, "", "trigger", "plpgsql", body)


async def test_an_equal_database_needs_no_migration(project: Project) -> None:
    metadata = new_metadata()
    book(metadata)
    project.declare(metadata)
    await project.migrate("first")
    assert await migrations.revision(project.url, "nothing") == []


async def test_a_migration_imports_nothing_of_ours(project: Project) -> None:
    metadata = new_metadata()
    book(metadata, Column("word", OpenText), Column("at", UtcDateTime), Column("e", Embedding))
    project.declare(metadata)
    source = await project.migrate("first")
    assert "domain" not in source
    assert "sa.DateTime(timezone=True)" in source
    assert await migrations.check(project.url) == []


async def test_tables_come_and_go_with_everything_on_them(project: Project) -> None:
    before = new_metadata()
    book(before)
    after = new_metadata()
    book(after)
    vault = Table(
        "boxes",
        after,
        Column("id", Integer, Identity(always=True), primary_key=True),
        Column("book", ForeignKey("desk.books.id", ondelete="CASCADE"), index=True),
        Column("label", Text, unique=True, comment="It's a label: quoted"),
        Column("doubled", Integer, Computed("book * 2", persisted=True)),
        CheckConstraint("label ~ '^[a-z]:x$'", name="label_form"),
        ExcludeConstraint(("book", "="), name="one_box_a_book", using="btree"),
        schema="vault",
        comment="Boxes: all of them",
        postgresql_with={"fillfactor": 70},
    )
    Table(
        "keys", after, Column("box", ForeignKey("vault.boxes.id"), primary_key=True), schema="vault"
    )
    Index("ix_boxes_label_lower", func.lower(vault.c.label), postgresql_where=vault.c.book > 5)
    declare(
        after,
        Function("vault", "day", "", "date", "sql", "SELECT current_date", "STABLE"),
        guard(),
        Trigger(
            "vault", "boxes", "guarded", "BEFORE UPDATE FOR EACH ROW EXECUTE FUNCTION desk.guard()"
        ),
        View(
            "vault",
            "labels",
            (
                "SELECT label, desk.books.owner FROM vault.boxes JOIN desk.books "
                "ON book = desk.books.id"
            ),
            comment="Labels",
        ),
        RowSecurity("vault", "boxes"),
        Policy("vault", "boxes", "mine", APP, using="label = current_setting('app.user_id', true)"),
        Policy("vault", "boxes", "all", STAFF, command="SELECT", using="true"),
        Grant("USAGE", "SCHEMA vault", APP),
        Grant("SELECT, INSERT", "TABLE vault.boxes", APP),
        Grant("SELECT (id, label)", "TABLE vault.boxes", READONLY),
        Grant("SELECT", "TABLE vault.labels", READONLY),
        Grant("EXECUTE", "ALL FUNCTIONS IN SCHEMA vault", STAFF),
    )
    await evolve(project, before, after)


async def test_tables_that_refer_to_each_other_are_dropped_in_order(project: Project) -> None:
    before, after = new_metadata(), new_metadata()
    for name in ("a", "b", "c", "d", "e"):
        parent = {"a": "b", "b": "c", "d": "e", "e": "a"}.get(name)
        key = [ForeignKey(f"desk.{parent}.id")] if parent else []
        Table(
            name,
            before,
            Column("id", Integer, *key, primary_key=True, autoincrement=False),
            schema="desk",
        )
    book(before)
    book(after)
    await evolve(project, before, after)


async def test_schemas_come_and_go(project: Project) -> None:
    before, after = new_metadata(), new_metadata()
    book(before)
    book(after)
    declare(after, Schema("vault"), Grant("USAGE", "SCHEMA vault", APP))
    source = await evolve(project, before, after)
    assert "CREATE SCHEMA vault" in source


async def test_columns_come_and_go_with_what_depends_on_them(project: Project) -> None:
    before, after = new_metadata(), new_metadata()
    book(
        before,
        Column("old", Text, comment="Old"),
        CheckConstraint("old <> ''", name="old_is_said"),
        Index("ix_old", "old"),
    )
    declare(
        before,
        View("desk", "all_books", "SELECT id, old FROM desk.books", comment="All"),
        Grant("SELECT", "TABLE desk.all_books", APP),
    )
    book(
        after,
        Column("new", Integer, nullable=False, server_default="7", comment="New"),
        Column("total", Numeric, Computed("price * quantity", persisted=True)),
        CheckConstraint("new > 0", name="new_is_positive"),
        Index("ix_total", "total"),
    )
    declare(
        after,
        View("desk", "all_books", "SELECT id, new, total FROM desk.books", comment="All of them"),
        Grant("SELECT", "TABLE desk.all_books", APP),
    )
    await evolve(project, before, after)


async def test_a_new_type_makes_room_for_what_stands_on_the_column(project: Project) -> None:
    def desk(metadata: MetaData, kind: type, default: str) -> MetaData:
        Table(
            "ticks",
            metadata,
            Column("id", Integer, primary_key=True, autoincrement=False),
            Column("size", kind, server_default=default),
            Column("double", Numeric, Computed("size * 2", persisted=True), comment="Twice"),
            CheckConstraint("double > 2", name="double"),
            Index("ix_double", "double"),
            Index("ix_size", "size"),
            schema="desk",
        )
        declare(
            metadata,
            View("desk", "sizes", "SELECT size FROM desk.ticks"),
            View("desk", "more", "SELECT size + 1 AS more FROM desk.sizes", comment="More"),
            Grant("SELECT", "TABLE desk.more", READONLY),
            guard(),
            Trigger(
                "desk",
                "ticks",
                "guarded",
                "BEFORE UPDATE OF size FOR EACH ROW EXECUTE FUNCTION desk.guard()",
            ),
            Policy("desk", "ticks", "small", APP, using="size < 100"),
        )
        return metadata

    source = await evolve(
        project, desk(new_metadata(), Integer, "1"), desk(new_metadata(), Numeric, "1.5")
    )
    assert "ALTER COLUMN size TYPE numeric" in source


async def test_constraints_and_defaults_change_under_the_same_name(project: Project) -> None:
    before, after = new_metadata(), new_metadata()
    for metadata, limit, delete, included in (
        (before, 0, "CASCADE", "owner"),
        (after, 1, "RESTRICT", "price"),
    ):
        table = book(
            metadata,
            Column("parent", Integer, nullable=limit == 0),
            CheckConstraint(f"quantity > {limit}", name="quantity"),
            ForeignKeyConstraint(["parent"], ["desk.books.id"], ondelete=delete, name="fk_parent"),
            UniqueConstraint("owner", name="uq_owner", postgresql_include=[included]),
            comment=f"Books of {limit}",
        )
        Index("ix_owner", table.c.owner, postgresql_where=table.c.quantity > limit)
    after.tables["desk.books"].c.price.server_default = None
    await evolve(project, before, after)


def generated(expression: str, *, persisted: bool = True) -> MetaData:
    metadata = new_metadata()
    book(metadata, Column("worth", Numeric, Computed(expression, persisted=persisted)))
    return metadata


async def test_a_generated_column_changes_its_expression(project: Project) -> None:
    await evolve(project, generated("price * 2"), generated("price * 20"))


async def test_a_plain_column_becomes_generated(project: Project) -> None:
    before = new_metadata()
    book(before, Column("worth", Numeric, comment="By hand"))
    await evolve(project, before, generated("price * 2"))


async def test_a_stored_column_becomes_virtual(project: Project) -> None:
    if await server_version(project.url) < 180_000:
        pytest.skip("virtual columns are new in PostgreSQL 18")
    await evolve(project, generated("price * 2"), generated("price * 2", persisted=False))


async def test_functions_change_in_place_or_make_room(project: Project) -> None:
    def desk(metadata: MetaData, factor: int, result: str) -> MetaData:
        book(
            metadata,
            CheckConstraint("desk.worth(price) < 1000000", name="worth"),
            Column("worth", Numeric, Computed("desk.worth(price)", persisted=True)),
        )
        declare(
            metadata,
            Function(
                "desk",
                "worth",
                "price numeric",
                "numeric",
                "sql",
                f"SELECT price * {factor}",
                "IMMUTABLE",
                before_tables=True,
            ),
            Function(
                "desk",
                "limit_of",
                "owner text, day date DEFAULT current_date",
                result,
                "sql",
                f"SELECT {factor}",
                "STABLE",
            ),
            Policy("desk", "books", "limited", APP, using="quantity < desk.limit_of(owner)"),
            guard(body=f"BEGIN\n  -- {factor}: $$ 'x' \\: :name\n  RETURN NEW;\nEND"),
            Trigger(
                "desk",
                "books",
                "guarded",
                (
                    "BEFORE UPDATE FOR EACH ROW WHEN (OLD.price <> NEW.price) EXECUTE "
                    "FUNCTION desk.guard()"
                ),
            ),
            Function(
                "desk",
                "of_owner",
                "who text",
                "SETOF desk.books",
                "sql",
                "SELECT * FROM desk.books WHERE owner = who",
                "STABLE",
            ),
            Revoke("EXECUTE", "FUNCTION desk.of_owner(text)"),
            Grant("EXECUTE", "FUNCTION desk.of_owner(text)", APP),
        )
        return metadata

    source = await evolve(
        project, desk(new_metadata(), 1, "integer"), desk(new_metadata(), 2, "bigint")
    )
    assert "DROP ROUTINE desk.limit_of(text,date)" in source
    assert "DROP ROUTINE desk.worth" not in source


async def test_views_rights_and_row_security_change(project: Project) -> None:
    before, after = new_metadata(), new_metadata()
    book(before)
    book(after, postgresql_with={"fillfactor": "80"})
    declare(
        before,
        View("desk", "base", "SELECT id, owner FROM desk.books"),
        View("desk", "upon", "SELECT owner FROM desk.base", comment="Upon"),
        Grant("SELECT", "TABLE desk.upon", READONLY),
        RowSecurity("desk", "books"),
        Policy("desk", "books", "mine", APP, using="owner = 'me'"),
        Grant("SELECT", "TABLE desk.books", APP),
        Grant("SELECT", "TABLE desk.books", STAFF),
        Grant("USAGE", "SCHEMA desk", APP),
    )
    declare(
        after,
        View("desk", "base", "SELECT id, owner FROM desk.books", security_invoker=False),
        View("desk", "upon", "SELECT owner FROM desk.base", comment="Upon it"),
        Grant("SELECT", "TABLE desk.upon", READONLY),
        Policy("desk", "books", "mine", APP, using="owner = 'you'", check="owner = 'me'"),
        Policy("desk", "books", "write", STAFF, command="INSERT", check="true"),
        Grant("SELECT, INSERT, UPDATE (price)", "TABLE desk.books", APP),
        Grant("USAGE", "SCHEMA desk", STAFF),
    )
    await evolve(project, before, after)


async def test_other_things_of_postgresql_come_and_go(project: Project) -> None:
    before, after = new_metadata(), new_metadata()
    book(before)
    book(after, Column("mood", Text))
    declare(
        after,
        Extension("pg_trgm"),
        Raw("CREATE TYPE desk.side AS ENUM ('buy', 'sell')", "DROP TYPE desk.side"),
        Raw(
            ("CREATE DOMAIN desk.positive AS numeric CONSTRAINT positive CHECK (VALUE > 0)"),
            "DROP DOMAIN desk.positive",
        ),
        Raw(
            "CREATE TYPE desk.pair AS (side desk.side, price desk.positive)", "DROP TYPE desk.pair"
        ),
        Raw("CREATE SEQUENCE desk.tickets START 100", "DROP SEQUENCE desk.tickets"),
        Raw(
            "CREATE STATISTICS desk.owner_mood ON owner, mood FROM desk.books",
            "DROP STATISTICS desk.owner_mood",
            rank=5,
        ),
        Raw(
            (
                "CREATE MATERIALIZED VIEW desk.counts AS SELECT owner, count(*) "
                "FROM desk.books GROUP BY owner"
            ),
            "DROP MATERIALIZED VIEW desk.counts",
            rank=20,
        ),
        Raw(
            "CREATE UNIQUE INDEX ix_counts ON desk.counts (owner)",
            "DROP INDEX desk.ix_counts",
            rank=25,
        ),
        Raw(
            "CREATE RULE quiet AS ON DELETE TO desk.books DO INSTEAD NOTHING",
            "DROP RULE quiet ON desk.books",
            rank=30,
        ),
        Raw(
            ("CREATE INDEX ix_owner_trgm ON desk.books USING gin (owner public.gin_trgm_ops)"),
            "DROP INDEX desk.ix_owner_trgm",
            rank=30,
        ),
    )
    await evolve(project, before, after)


async def test_an_enum_gains_labels_in_place_but_loses_none_by_itself(project: Project) -> None:
    def desk(labels: str) -> MetaData:
        metadata = new_metadata()
        book(metadata)
        declare(metadata, Raw(f"CREATE TYPE desk.side AS ENUM ({labels})", "DROP TYPE desk.side"))
        return metadata

    project.declare(desk("'buy', 'sell'"))
    await project.migrate("two")
    project.declare(desk("'hold', 'buy', 'short', 'sell', 'cover'"))
    await project.migrate("five")
    assert await migrations.check(project.url) == []

    project.declare(desk("'buy', 'sell'"))
    await migrations.revision(project.url, "two again")
    with pytest.raises(Exception, match="type desk.side is ENUM .*write how"):
        await migrations.upgrade(project.url)


async def test_what_reads_whole_tables_runs_outside_the_transaction(project: Project) -> None:
    before, after = new_metadata(), new_metadata()
    for metadata in (before, after):
        book(metadata)
        Table(
            "parts",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("book", Integer),
            Column("day", Date),
            schema="desk",
        )
    parts = after.tables["desk.parts"]
    Index("ix_parts_book", parts.c.book)
    parts.append_constraint(ForeignKeyConstraint(["book"], ["desk.books.id"]))
    parts.append_constraint(CheckConstraint("day > '1970-01-01'", name="day"))
    source = await evolve(project, before, after)
    assert "CREATE INDEX CONCURRENTLY ix_parts_book ON desk.parts" in source
    assert "NOT VALID" in source
    assert "VALIDATE CONSTRAINT fk_parts_book" in source
    assert len(list((project.folder / "alembic" / "versions").glob("*.py"))) == 3


async def test_a_concurrent_index_that_failed_can_be_built_again(project: Project) -> None:
    before, after = new_metadata(), new_metadata()
    book(before)
    table = book(after)
    Index("uq_books_owner", table.c.owner, unique=True)
    project.declare(before)
    await project.migrate("before")
    await execute(project.url, "INSERT INTO desk.books VALUES (1, 'eva'), (2, 'eva')")
    project.declare(after)
    await migrations.revision(project.url, "unique owner")
    with pytest.raises(Exception, match="already|duplicate"):
        await migrations.upgrade(project.url)
    assert any("-- invalid" in line for line in await project.lines())
    await execute(project.url, "DELETE FROM desk.books WHERE id = 2")
    await migrations.upgrade(project.url)
    assert await migrations.check(project.url) == []


async def test_a_partitioned_table_is_compared_and_never_rebuilt(project: Project) -> None:
    def desk(metadata: MetaData, **options: object) -> MetaData:
        table = Table(
            "bars",
            metadata,
            Column("day", Date, nullable=False),
            Column("x", Integer),
            schema="desk",
            **options,
        )
        Index("ix_bars_day", table.c.day)
        declare(metadata, Schema("parts", generated=True))
        return metadata

    project.declare(desk(new_metadata(), postgresql_partition_by="RANGE (day)"))
    await project.migrate("bars")
    await execute(
        project.url,
        (
            "CREATE TABLE parts.bars_2026 PARTITION OF desk.bars FOR VALUES "
            "FROM ('2026-01-01') TO ('2027-01-01')"
        ),
    )
    assert await migrations.check(project.url) == []

    project.declare(desk(new_metadata()))
    assert await migrations.check(project.url) == ["change table desk.bars TABLE"]
    await migrations.revision(project.url, "plain")
    with pytest.raises(
        Exception, match="desk.bars is TABLE PARTITION BY RANGE .day., to be TABLE: write how"
    ):
        await migrations.upgrade(project.url)


@settings(max_examples=400)
@given(st.text(alphabet=":%\\ a1'$_\n", max_size=12))
def test_sql_in_a_migration_has_no_parameters_and_keeps_every_character(sql: str) -> None:
    written = eval(f"({python_source(sql)})", {"sa": sqlalchemy})
    clause = text(written) if isinstance(written, str) else written
    for dialect in (asyncpg.dialect(), PGDialect(paramstyle="named")):
        compiled = clause.compile(dialect=dialect)
        assert str(compiled) == sql
        assert not compiled.params
