"""What PostgreSQL has and SQLAlchemy does not declare: views, functions, triggers, rights.

An area declares them beside its tables with `declare`; `create_all` builds a database from the
models, and `domain.db.autogenerate` turns every change of them into a migration. How a database
looks in fact is read by `domain.db.catalog`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection, MetaData
from sqlalchemy.dialects.postgresql.base import PGDialect

_DECLARED: Final = "tradekeep.objects"
_AFTER_EVENTS: Final = re.compile(
    r"\s+(?=(?:FROM|NOT\s+DEFERRABLE|DEFERRABLE|INITIALLY|REFERENCING|FOR|WHEN|EXECUTE)\b)",
    re.IGNORECASE,
)
_ARGUMENT_DEFAULT: Final = re.compile(r"\s*(?:\bDEFAULT\b|=)[^,]*", re.IGNORECASE)
_PREPARER: Final = PGDialect().identifier_preparer  # type: ignore[no-untyped-call]  # no types there


class DatabaseObject(Protocol):
    """Anything that `declare` accepts: hashable, with the SQL that makes and removes it."""

    @property
    def rank(self) -> int:
        """Its place among the kinds, lower is created first; below 0 before the tables."""
        ...

    @property
    def schema(self) -> str | None:
        """The PostgreSQL schema it lives in, None for what belongs to the whole database."""
        ...

    def create(self) -> tuple[str, ...]:
        """Return the statements that make it."""
        ...

    def drop(self) -> tuple[str, ...]:
        """Return the statements that remove it."""
        ...


@dataclass(frozen=True)
class Schema:
    """A schema that holds no declared table, or that needs a remark.

    Args:
        name: Its name.
        generated: Its relations are made at run time (partitions): they are never compared.
    """

    name: str
    generated: bool = False

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return -30

    @property
    def schema(self) -> str | None:
        """Its own name."""
        return self.name

    def create(self) -> tuple[str, ...]:
        """Return CREATE SCHEMA."""
        return (f"CREATE SCHEMA IF NOT EXISTS {quoted(self.name)}",)

    def drop(self) -> tuple[str, ...]:
        """Return DROP SCHEMA; refused by the server while anything is in it."""
        return (f"DROP SCHEMA {quoted(self.name)}",)


@dataclass(frozen=True)
class Extension:
    """An extension of the server, installed into ``public`` when it is not there yet.

    Args:
        name: Its name, for example ``vector``.
        optional: Left out where the server does not offer it.
    """

    name: str
    optional: bool = False

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return -20

    @property
    def schema(self) -> str | None:
        """None: extensions belong to the database."""
        return None

    def create(self) -> tuple[str, ...]:
        """Return CREATE EXTENSION."""
        create = f"CREATE EXTENSION IF NOT EXISTS {quoted(self.name)} WITH SCHEMA public"
        if not self.optional:
            return (create,)
        offered = f"SELECT FROM pg_available_extensions WHERE name = {literal(self.name)}"
        return (f"DO $do$ BEGIN IF EXISTS ({offered}) THEN {create}; END IF; END $do$",)

    def drop(self) -> tuple[str, ...]:
        """Return DROP EXTENSION; refused by the server while a column uses it."""
        return (f"DROP EXTENSION {quoted(self.name)}",)


@dataclass(frozen=True)
class Function:
    """A function or a trigger function.

    Args:
        schema: Where it lives.
        name: Its name.
        arguments: The argument list without parentheses, may be empty.
        returns: The result type, for example ``trigger`` or ``TABLE (day date, total numeric)``.
        language: ``sql`` or ``plpgsql``.
        body: The source between the dollar quotes.
        options: What stands between language and body: ``STABLE``, ``SECURITY DEFINER SET ...``.
        before_tables: A column default, generated column or CHECK uses it.
    """

    schema: str
    name: str
    arguments: str
    returns: str
    language: str
    body: str
    options: str = ""
    before_tables: bool = False

    @property
    def rank(self) -> int:
        """Before the tables where they need it, else right after them."""
        return -10 if self.before_tables else 10

    @property
    def signature(self) -> str:
        """Return the quoted name with its arguments."""
        return f"{qualified(self.schema, self.name)}({self.arguments})"

    def create(self) -> tuple[str, ...]:
        """Return CREATE OR REPLACE FUNCTION."""
        tag = dollar_tag(self.body)
        head = f"CREATE OR REPLACE FUNCTION {self.signature} RETURNS {self.returns}"
        return (f"{head} LANGUAGE {self.language} {self.options} AS {tag}{self.body}{tag}",)

    def drop(self) -> tuple[str, ...]:
        """Return DROP FUNCTION."""
        # Defaults of arguments may not stand in DROP FUNCTION.
        arguments = _ARGUMENT_DEFAULT.sub("", self.arguments)
        return (f"DROP FUNCTION {qualified(self.schema, self.name)}({arguments})",)


@dataclass(frozen=True)
class View:
    """A view that reads with the rights of the person who asks.

    Args:
        schema: Where it lives.
        name: Its name.
        definition: The SELECT.
        security_invoker: False makes it read as its owner: row-level security of the caller is
            then bypassed, so only for views over global tables.
        comment: What it shows, for the data dictionary.
    """

    schema: str
    name: str
    definition: str
    security_invoker: bool = True
    comment: str | None = None

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return 20

    def create(self) -> tuple[str, ...]:
        """Return CREATE VIEW and its comment."""
        name = qualified(self.schema, self.name)
        invoker = " WITH (security_invoker = true)" if self.security_invoker else ""
        create = f"CREATE VIEW {name}{invoker} AS {self.definition.strip().rstrip(';')}"
        if self.comment is None:
            return (create,)
        return (create, f"COMMENT ON VIEW {name} IS {literal(self.comment)}")

    def drop(self) -> tuple[str, ...]:
        """Return DROP VIEW."""
        return (f"DROP VIEW {qualified(self.schema, self.name)}",)


@dataclass(frozen=True)
class Trigger:
    """A trigger on a table.

    Args:
        schema: The table's schema.
        table: The table.
        name: Its name; PostgreSQL fires triggers of one kind in the order of their names.
        definition: All but name and table: ``BEFORE UPDATE OR DELETE FOR EACH ROW EXECUTE
            FUNCTION audit.refuse()``.
        constraint: A constraint trigger: its definition may say ``DEFERRABLE``.
    """

    schema: str
    table: str
    name: str
    definition: str
    constraint: bool = False

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return 30

    def create(self) -> tuple[str, ...]:
        """Return CREATE TRIGGER."""
        kind = "CONSTRAINT TRIGGER" if self.constraint else "TRIGGER"
        events, action = _AFTER_EVENTS.split(self.definition.strip(), maxsplit=1)
        table = qualified(self.schema, self.table)
        return (f"CREATE {kind} {quoted(self.name)} {events} ON {table} {action}",)

    def drop(self) -> tuple[str, ...]:
        """Return DROP TRIGGER."""
        return (f"DROP TRIGGER {quoted(self.name)} ON {qualified(self.schema, self.table)}",)


@dataclass(frozen=True)
class RowSecurity:
    """Row-level security, enabled and forced: the table's owner obeys it too.

    Args:
        schema: The table's schema.
        table: The table.
    """

    schema: str
    table: str

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return 40

    def create(self) -> tuple[str, ...]:
        """Return ENABLE and FORCE."""
        alter = f"ALTER TABLE {qualified(self.schema, self.table)}"
        return (f"{alter} ENABLE ROW LEVEL SECURITY", f"{alter} FORCE ROW LEVEL SECURITY")

    def drop(self) -> tuple[str, ...]:
        """Return NO FORCE and DISABLE."""
        alter = f"ALTER TABLE {qualified(self.schema, self.table)}"
        return (f"{alter} NO FORCE ROW LEVEL SECURITY", f"{alter} DISABLE ROW LEVEL SECURITY")


@dataclass(frozen=True)
class Policy:
    """Which rows a role sees (`using`) and may write (`check`).

    Args:
        schema: The table's schema.
        table: The table.
        name: Its name.
        role: The role it speaks about.
        command: ``ALL``, ``SELECT``, ``INSERT``, ``UPDATE`` or ``DELETE``.
        using: The condition for visible rows; None where the command has none.
        check: The condition for new rows; None means the same as `using`.
    """

    schema: str
    table: str
    name: str
    role: str
    command: str = "ALL"
    using: str | None = None
    check: str | None = None

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return 50

    def create(self) -> tuple[str, ...]:
        """Return CREATE POLICY."""
        head = f"CREATE POLICY {quoted(self.name)} ON {qualified(self.schema, self.table)}"
        using = "" if self.using is None else f" USING ({self.using})"
        check = "" if self.check is None else f" WITH CHECK ({self.check})"
        return (f"{head} FOR {self.command} TO {quoted_role(self.role)}{using}{check}",)

    def drop(self) -> tuple[str, ...]:
        """Return DROP POLICY."""
        return (f"DROP POLICY {quoted(self.name)} ON {qualified(self.schema, self.table)}",)


@dataclass(frozen=True)
class Grant:
    """What a role may do.

    Args:
        privileges: ``SELECT, INSERT``; with columns written as PostgreSQL does:
            ``SELECT (id, name)``.
        on: The object in PostgreSQL's words: ``SCHEMA trading``, ``TABLE trading.trades``,
            ``FUNCTION trading.day(date)``, ``ALL FUNCTIONS IN SCHEMA trading``.
        role: The role; ``PUBLIC`` is everybody.
    """

    privileges: str
    on: str
    role: str

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return 60

    @property
    def schema(self) -> str | None:
        """None: what it speaks about names its schema."""
        return None

    def create(self) -> tuple[str, ...]:
        """Return GRANT."""
        return (f"GRANT {self.privileges} ON {self.on} TO {quoted_role(self.role)}",)

    def drop(self) -> tuple[str, ...]:
        """Return REVOKE."""
        return (f"REVOKE {self.privileges} ON {self.on} FROM {quoted_role(self.role)}",)


@dataclass(frozen=True)
class Revoke:
    """What a role may not do although PostgreSQL's defaults allow it.

    Args:
        privileges: As in `Grant`.
        on: As in `Grant`.
        role: Mostly ``PUBLIC``, which may execute every new function.
    """

    privileges: str
    on: str
    role: str = "PUBLIC"

    @property
    def rank(self) -> int:
        """Its place among the kinds."""
        return 55

    @property
    def schema(self) -> str | None:
        """None: what it speaks about names its schema."""
        return None

    def create(self) -> tuple[str, ...]:
        """Return REVOKE."""
        return (f"REVOKE {self.privileges} ON {self.on} FROM {quoted_role(self.role)}",)

    def drop(self) -> tuple[str, ...]:
        """Return GRANT."""
        return (f"GRANT {self.privileges} ON {self.on} TO {quoted_role(self.role)}",)


def declare(metadata: MetaData, *objects: DatabaseObject) -> None:
    """Add `objects` to what `metadata` describes; an equal one counts once.

    Args:
        metadata: The models' metadata.
        objects: In the order in which objects of one kind need each other.
    """
    known = metadata.info.setdefault(_DECLARED, {})
    known.update(dict.fromkeys(objects))


def declared(metadata: MetaData) -> tuple[DatabaseObject, ...]:
    """Return all declared objects in the order in which they can be created."""
    return tuple(sorted(metadata.info.get(_DECLARED, {}), key=lambda item: item.rank))


def schemas(metadata: MetaData) -> tuple[str, ...]:
    """Return the PostgreSQL schemas that `metadata` speaks about, sorted."""
    tables = {table.schema for table in metadata.tables.values()}
    objects = {item.schema for item in declared(metadata)}
    return tuple(sorted(name for name in tables | objects if name is not None))


def extensions(metadata: MetaData) -> tuple[str, ...]:
    """Return the names of the declared extensions."""
    return tuple(item.name for item in declared(metadata) if isinstance(item, Extension))


def generated_schemas(metadata: MetaData) -> frozenset[str]:
    """Return the schemas whose contents are made at run time and never compared."""
    return frozenset(
        item.name for item in declared(metadata) if isinstance(item, Schema) and item.generated
    )


def create_all(connection: Connection, metadata: MetaData) -> None:
    """Create everything that `metadata` declares, in the order of its dependencies.

    Runs inside the connection's transaction and does not commit. Roles that policies and grants
    name must exist: see `domain.db.roles.ensure_roles`.

    Args:
        connection: A connection to a database that has none of it yet.
        metadata: Tables and declared objects.
    """
    # A function may name a table that comes after it.
    connection.exec_driver_sql("SET LOCAL check_function_bodies = off")
    for statement in _before_tables(metadata):
        connection.exec_driver_sql(statement)
    metadata.create_all(connection, checkfirst=False)
    for statement in _after_tables(metadata):
        connection.exec_driver_sql(statement)


def drop_all(connection: Connection, metadata: MetaData) -> None:
    """Drop the schemas of `metadata` with all that is in them; extensions and roles stay."""
    for name in schemas(metadata):
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {quoted(name)} CASCADE")


def _before_tables(metadata: MetaData) -> Iterator[str]:
    yield UUID7_FALLBACK
    for name in schemas(metadata):
        yield from Schema(name).create()
    for item in declared(metadata):
        if item.rank < 0:
            yield from item.create()


def _after_tables(metadata: MetaData) -> Iterator[str]:
    for item in declared(metadata):
        if item.rank >= 0:
            yield from item.create()


def quoted(name: str) -> str:
    """Return an identifier, in double quotes where PostgreSQL needs them."""
    return _PREPARER.quote(name)


def qualified(schema: str, name: str) -> str:
    """Return ``schema.name``, quoted where needed."""
    return f"{quoted(schema)}.{quoted(name)}"


def quoted_role(role: str) -> str:
    """Return a role's name quoted where needed; ``PUBLIC`` is a word, not a name."""
    return role if role.upper() == "PUBLIC" else quoted(role)


def literal(value: str) -> str:
    """Return a string literal."""
    # standard_conforming_strings is on in every supported server: only the quote is special.
    return "'" + value.replace("'", "''") + "'"


def dollar_tag(body: str) -> str:
    """Return a dollar quote that `body` does not contain."""
    tag, number = "$$", 0
    while tag in body:
        number += 1
        tag = f"$body{number}$"
    return tag


_UUID7_BODY: Final = """
DECLARE
  -- Ticks of 1/4096 ms since 1970; the last one lives in the session, so ids never go backwards:
  -- not within one statement, not when the clock is set back.
  tick bigint := greatest(
    (extract(epoch FROM clock_timestamp()) * 4096000)::bigint,
    coalesce(nullif(current_setting('tradekeep.uuid7_tick', true), ''), '0')::bigint + 1);
  bytes bytea := uuid_send(gen_random_uuid());
BEGIN
  PERFORM set_config('tradekeep.uuid7_tick', tick::text, false);
  bytes := overlay(bytes PLACING substring(int8send(tick >> 12) FROM 3) FROM 1 FOR 6);
  bytes := set_byte(bytes, 6, 112 | (tick >> 8 & 15)::int);
  bytes := set_byte(bytes, 7, (tick & 255)::int);
  RETURN encode(bytes, 'hex')::uuid;
END
"""

UUID7_FUNCTION: Final = (
    f"CREATE FUNCTION public.uuidv7() RETURNS uuid LANGUAGE plpgsql VOLATILE AS $${_UUID7_BODY}$$"
)
"""The portable ``uuidv7()``: strictly ascending within a session, 1/4096 ms apart."""

UUID7_FALLBACK: Final = f"""
DO $fallback$
BEGIN
  IF to_regprocedure('pg_catalog.uuidv7()') IS NULL
     AND to_regprocedure('public.uuidv7()') IS NULL THEN
    {UUID7_FUNCTION};
  END IF;
  -- Functions of our owner are closed to everybody; every row's default needs this one.
  IF to_regprocedure('public.uuidv7()') IS NOT NULL
     AND NOT has_function_privilege('public', 'public.uuidv7()', 'EXECUTE') THEN
    GRANT EXECUTE ON FUNCTION public.uuidv7() TO PUBLIC;
  END IF;
END
$fallback$
"""
"""Makes it on servers before PostgreSQL 18, which bring none of their own."""
