"""Writes migrations from the models: the part of Alembic that sees everything.

Alembic itself compares which tables and columns exist; everything else is compared here, as
PostgreSQL's own wording of two catalogs: the database as it is, and the database as the models
would make it. For the second one, the models are created for real: inside a savepoint the
schemas are renamed aside, `domain.db.objects.create_all` runs, the catalog is read, and all of it
is rolled back. No table is locked, because renaming a schema touches no table; other sessions
see nothing of it, since it never commits.

Migrations get plain SQL in ``op.execute`` and import nothing of ours, so they stay true whatever
becomes of the models.
"""

import functools
import sys
import warnings
from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from alembic.autogenerate import render, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult, rev_id
from sqlalchemy import Connection, Enum, ForeignKeyConstraint, Interval, MetaData, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import SAWarning
from sqlalchemy.types import TypeDecorator, UserDefinedType

from domain.db import objects
from domain.db.catalog import Snapshot, snapshot
from domain.db.difference import Step, Structure, difference

VERSION_TABLE: Final = "tradekeep_alembic_version"
_PLUGIN: Final = "tradekeep.catalog"
_LOCK_TIMEOUT: Final = "5s"
_PATIENCE: Final = "SET lock_timeout = '10min'"
_DIALECT: Final = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]  # no types there
_OnTable = ops.CreateTableOp | ops.DropTableOp | ops.AddColumnOp | ops.DropColumnOp


def options(metadata: MetaData) -> dict[str, Any]:
    """Return the keyword arguments for ``context.configure`` in env.py.

    Args:
        metadata: The models' metadata with the objects declared on it.
    """
    _register_plugin()
    # SQLAlchemy 2.1.9 hands a reflected NOT VALID to a constructor that warns about it.
    warnings.filterwarnings("ignore", "Can't validate argument 'dialect_options'", SAWarning)
    ours = frozenset(objects.schemas(metadata)) - objects.generated_schemas(metadata)

    def include_name(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "schema" or name in ours

    return {
        "target_metadata": metadata,
        "autogenerate_plugins": [
            "alembic.autogenerate.schemas",
            "alembic.autogenerate.tables",
            _PLUGIN,
        ],
        "include_schemas": True,
        "include_name": include_name,
        "version_table": VERSION_TABLE,
        "version_table_schema": "public",
        "transaction_per_migration": True,
        "render_item": render_item,
        "process_revision_directives": split_revision,
    }


@functools.cache
def _register_plugin() -> None:
    Plugin.setup_plugin_from_module(sys.modules[__name__], _PLUGIN)


def setup(plugin: Plugin) -> None:
    """Register the comparison; Alembic calls this by its name."""
    plugin.add_autogenerate_comparator(compare, "autogenerate", priority=DispatchPriority.LAST)


class CatalogOp(ops.MigrateOperation):
    """Plain SQL in a migration, with its reverse.

    Args:
        step: What changes.
        outside: Run the upgrade outside a transaction.
    """

    def __init__(self, step: Step, *, outside: bool = False, is_reversed: bool = False) -> None:
        self.step, self.outside, self.is_reversed = step, outside, is_reversed

    @property
    def statements(self) -> tuple[str, ...]:
        """The statements in the direction of this operation."""
        return self.step.downgrade if self.is_reversed else self.step.upgrade

    def reverse(self) -> "CatalogOp":
        """Return the operation that undoes this one, inside a transaction."""
        return CatalogOp(self.step, is_reversed=not self.is_reversed)

    def to_diff_tuple(self) -> tuple[str, str, str]:
        """Return what ``alembic check`` shows."""
        return self.step.change, self.step.fact, self.step.definition


def compare(context: AutogenContext, upgrade_ops: ops.UpgradeOps) -> PriorityDispatchResult:
    """Add to Alembic's operations what only the catalogs show.

    Args:
        context: Alembic's context, connected.
        upgrade_ops: The operations found so far: tables and columns that come and go.
    """
    connection, metadata = context.connection, context.opts["target_metadata"]
    if connection is None:
        return PriorityDispatchResult.CONTINUE
    real, wanted = real_snapshot(connection, metadata), declared_snapshot(connection, metadata)
    _sort_dropped_tables(upgrade_ops, real)
    for operation in upgrade_ops.ops:
        if isinstance(operation, ops.CreateTableOp):
            # Words between our models: a migration imports nothing of ours.
            operation.info.clear()
    steps = difference(real, wanted, structure_of(upgrade_ops.ops, metadata))
    upgrade_ops.ops[:] = [
        *(CatalogOp(step) for step in steps.before),
        *upgrade_ops.ops,
        *(CatalogOp(step) for step in steps.after),
        *(CatalogOp(step, outside=True) for step in steps.outside),
    ]
    return PriorityDispatchResult.CONTINUE


def real_snapshot(connection: Connection, metadata: MetaData) -> Snapshot:
    """Return the catalog of the database as it is, in the schemas of `metadata`."""
    generated = objects.generated_schemas(metadata)
    return snapshot(
        connection,
        set(objects.schemas(metadata)) - generated,
        generated=generated,
        extensions=objects.extensions(metadata),
    )


def declared_snapshot(connection: Connection, metadata: MetaData) -> Snapshot:
    """Return the catalog of the database as `metadata` would make it.

    Makes it for real inside a savepoint and rolls that back. Locks: none on any table; other
    sessions that create, rename or drop one of the schemas wait, and this gives up after 5 s
    when one of them does not end.

    Raises:
        sqlalchemy.exc.DBAPIError: The role does not own the schemas, or a lock was not to be had.
    """
    savepoint = connection.begin_nested()
    try:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        for name in _existing(connection, objects.schemas(metadata)):
            aside = objects.quoted(f"{name} (aside)")
            connection.exec_driver_sql(f"ALTER SCHEMA {objects.quoted(name)} RENAME TO {aside}")
        objects.create_all(connection, metadata)
        return real_snapshot(connection, metadata)
    finally:
        savepoint.rollback()


def _existing(connection: Connection, schemas: Sequence[str]) -> Sequence[str]:
    query = text("SELECT nspname FROM pg_namespace WHERE nspname = ANY (CAST(:names AS text[]))")
    return connection.execute(query, {"names": list(schemas)}).scalars().all()


# What Alembic found


def structure_of(operations: Iterable[ops.MigrateOperation], metadata: MetaData) -> Structure:
    """Return which tables and columns `operations` make and drop."""
    created, dropped = set(), set()
    added, removed = set(), set()
    for operation in _flat(operations):
        if isinstance(operation, ops.CreateTableOp):
            created.add(_name(operation))
        elif isinstance(operation, ops.DropTableOp):
            dropped.add(_name(operation))
        elif isinstance(operation, ops.AddColumnOp):
            added.add((_name(operation), operation.column.name))
        elif isinstance(operation, ops.DropColumnOp):
            removed.add((_name(operation), operation.column_name))
    return Structure(created, dropped, added, removed, _deferred(metadata))


def _deferred(metadata: MetaData) -> frozenset[str]:
    """Return the foreign keys that CREATE TABLE leaves out because their tables form a circle."""
    return frozenset(
        f"table constraint {objects.quoted(str(constraint.name))} on "
        f"{objects.qualified(table.schema or 'public', table.name)}"
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, ForeignKeyConstraint) and constraint.use_alter
    )


def _flat(operations: Iterable[ops.MigrateOperation]) -> Iterable[ops.MigrateOperation]:
    for operation in operations:
        if isinstance(operation, ops.ModifyTableOps):
            yield from operation.ops
        else:
            yield operation


def _name(operation: _OnTable) -> str:
    return objects.qualified(operation.schema or "public", operation.table_name)


def _sort_dropped_tables(upgrade_ops: ops.UpgradeOps, real: Snapshot) -> None:
    """Let tables go before those that they refer to; Alembic drops them in any order."""
    refers: dict[str, set[str]] = {}
    for fact in real.facts.values():
        if fact.kind == "foreign key" and fact.relation:
            needed = {real.facts[name].relation for name in real.needs[fact.name]}
            refers.setdefault(fact.relation, set()).update(filter(None, needed))
    drops = {_name(item): item for item in upgrade_ops.ops if isinstance(item, ops.DropTableOp)}
    rest = [item for item in upgrade_ops.ops if not isinstance(item, ops.DropTableOp)]
    among = {name: (refers.get(name, set()) & drops.keys()) - {name} for name in drops}
    try:
        order = reversed(list(TopologicalSorter(among).static_order()))
    except CycleError:
        return
    upgrade_ops.ops[:] = [*rest, *(drops[name] for name in order)]


# How it is written


def split_revision(
    context: MigrationContext, _revision: object, directives: list[ops.MigrationScript]
) -> None:
    """Leave out an empty revision; put what runs outside a transaction into one of its own.

    When such a statement fails, what came before it in its revision is committed already: alone
    in its file it can simply be run again.
    """
    if not _is_written(context):
        return
    script = directives[0]
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    if upgrade is None or downgrade is None:
        return
    outside = [item for item in upgrade.ops if getattr(item, "outside", False)]
    inside = [item for item in upgrade.ops if item not in outside]
    if not upgrade.ops:
        directives.clear()
    elif inside and outside:
        upgrade.ops[:] = inside
        upgrade.reverse_into(downgrade)
        directives.append(_continuation(script, outside))


def _is_written(context: MigrationContext) -> bool:
    """Tell whether files are written from the comparison; ``alembic check`` needs all in one."""
    config = context.config
    if config is None:
        return False
    return bool(
        config.attributes.get("autogenerate") or getattr(config.cmd_opts, "autogenerate", 0)
    )


def _continuation(
    script: ops.MigrationScript, operations: Sequence[ops.MigrateOperation]
) -> ops.MigrationScript:
    upgrade = ops.UpgradeOps(operations)
    return ops.MigrationScript(
        rev_id(),
        upgrade,
        upgrade.reverse(),
        message=f"{script.message or 'migration'} outside transaction",
        head=script.rev_id,
        version_path=script.version_path,
    )


@renderers.dispatch_for(CatalogOp)
def render_statements(context: AutogenContext, operation: CatalogOp) -> list[str]:
    """Return the Python lines of an operation."""
    prefix = context.opts["alembic_module_prefix"] or ""
    calls = [f"{prefix}execute({python_source(sql)})" for sql in operation.statements]
    if not calls or not operation.outside:
        return calls
    # It blocks no writer while it waits for older transactions to end.
    calls.insert(0, f"{prefix}execute({python_source(_PATIENCE)})")
    body = "\n".join(calls).replace("\n", "\n    ")
    return [f"with {prefix}get_context().autocommit_block():\n    {body}"]


def python_source(sql: str) -> str:
    """Return Python for a statement that ``op.execute`` runs character by character.

    SQLAlchemy takes ``:word`` in a string for a parameter; where one is, it becomes ``sa.DDL``,
    which takes only the per cent sign for more than itself.
    """
    plain = text(sql).compile(dialect=_DIALECT)
    if str(plain) == sql and not plain.params:
        return _literal(sql)
    return f"sa.DDL({_literal(sql.replace('%', '%%'))})"


def _literal(sql: str) -> str:
    """Return a string literal with one source line a line.

    Alembic indents what it renders: a line break inside quotes would change a function's body.
    """
    lines = sql.splitlines(keepends=True) or [""]
    if len(lines) == 1:
        return repr(lines[0])
    return "\n" + "".join(f"    {line!r}\n" for line in lines)


def render_item(kind: str, item: object, context: AutogenContext) -> str | bool:
    """Render column types so that migrations import nothing of ours.

    Returns:
        The source, or False for what Alembic renders well itself.
    """
    if kind != "type":
        return False
    if isinstance(item, Interval):
        # A decorator of SQLAlchemy's own, over a timestamp for servers without intervals.
        return False
    if isinstance(item, TypeDecorator):
        # The function that Alembic itself uses for types within types; there is no public one.
        return render._repr_type(item.impl_instance, context)  # noqa: SLF001 - Alembic has no public way
    if isinstance(item, Enum) and item.native_enum:
        context.imports.add("from sqlalchemy.dialects import postgresql")
        labels = ", ".join(map(repr, item.enums))
        name = f"name={item.name!r}, schema={item.schema!r}"
        return f"postgresql.ENUM({labels}, {name}, create_type=False)"
    if isinstance(item, UserDefinedType):
        words = item.get_col_spec()
        members = f'{{"cache_ok": True, "get_col_spec": lambda self, **_: {words!r}}}'
        return f'type("Plain", (sa.types.UserDefinedType,), {members})()'
    return False
