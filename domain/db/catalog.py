"""Reads how a database looks in fact, as PostgreSQL itself words it.

Two databases are alike when their snapshots are equal: every definition is the server's own
canonical text, with all names qualified. Each fact also carries the SQL that makes and removes
it, which is what `domain.db.autogenerate` writes into migrations. Owners and physical details
(column order, statistics targets) are left out. The query itself is ``catalog.sql``.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, text


class Address(NamedTuple):
    """What PostgreSQL calls an object: its catalog, its id there and its column number."""

    catalog: int
    object: int
    column: int

    def whole(self) -> "Address":
        """Return the address of the relation that a column is part of."""
        return self._replace(column=0)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is so in a database.

    Args:
        kind: ``table``, ``column``, ``check``, ``policy``, ``grant`` …
        name: Unique and readable: ``policy tenant on trading.trades``.
        definition: The server's wording; two facts of one name are alike when this is.
        create: The statements that make it so; none for a table.
        drop: The statements that undo it.
        relation: The table or view it belongs to, as ``schema.name``.
        column: The column it belongs to.
        shape: What may not differ when it is changed in place: a routine's arguments and result;
            ``plain`` or ``generated`` for a column; the kind of object that a comment is on.
        address: Where PostgreSQL keeps the object it is, or speaks about.
    """

    kind: str
    name: str
    definition: str
    create: tuple[str, ...]
    drop: tuple[str, ...]
    relation: str | None
    column: str | None
    shape: str
    address: Address = field(compare=False)

    @property
    def is_remark(self) -> bool:
        """Tell whether it speaks about an object that another fact is."""
        return self.kind in _REMARKS


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All facts of some schemas.

    Args:
        facts: By name.
        needs: For each fact the names of the facts that it cannot exist without.
    """

    facts: dict[str, Fact]
    needs: dict[str, frozenset[str]]

    def lines(self) -> list[str]:
        """Return one line a fact, sorted: equal for databases that are alike."""
        return sorted(f"{fact.name}: {fact.definition}" for fact in self.facts.values())


def snapshot(
    connection: Connection,
    schemas: Collection[str],
    *,
    generated: Collection[str] = (),
    extensions: Collection[str] = (),
) -> Snapshot:
    """Read the catalog.

    Takes no locks but those of reading the catalog; changes nothing, the search path included.

    Args:
        connection: A connection to the database.
        schemas: The PostgreSQL schemas to look at.
        generated: Schemas of which only the existence and the rights are looked at.
        extensions: The extensions to look for.
    """
    savepoint = connection.begin_nested()
    try:
        # PostgreSQL qualifies every name that the search path does not find.
        connection.exec_driver_sql("SET LOCAL search_path = pg_catalog")
        scope = {
            "schemas": list(schemas),
            "generated": list(generated),
            "extensions": list(extensions),
            **_series(connection),
        }
        facts = list(_facts(connection, scope))
        facts += _comments(connection, facts)
        return Snapshot({fact.name: fact for fact in facts}, _needs(connection, facts))
    finally:
        savepoint.rollback()


def _series(connection: Connection) -> dict[str, list[Any]]:
    """Return which tables the database's own registry calls time series, and how they grow."""
    rows: Sequence[Row[Any]] = ()
    if connection.scalar(_HAS_SERIES):
        has_hypertables = connection.scalar(_HAS_HYPERTABLES)
        rows = connection.execute(_HYPERTABLES if has_hypertables else _PARTITIONED).all()
    columns = list(zip(*rows, strict=True)) or [()] * 3
    names = ("series", "series_definitions", "series_creates")
    return {name: list(column) for name, column in zip(names, columns, strict=True)}


def _facts(connection: Connection, scope: dict[str, list[Any]]) -> Iterator[Fact]:
    query = text(resources.files("domain.db").joinpath("catalog.sql").read_text())
    for row in connection.execute(query, scope).mappings():
        yield Fact(
            kind=row["kind"],
            name=row["name"],
            definition=row["definition"],
            create=tuple(filter(None, row["create_sql"])),
            drop=tuple(filter(None, row["drop_sql"])),
            relation=row["relation"],
            column=row["column_name"],
            shape=row["shape"],
            address=Address(row["classid"], row["objid"], row["subid"]),
        )


def _comments(connection: Connection, facts: Collection[Fact]) -> Iterator[Fact]:
    """Return the comments on the objects that `facts` are."""
    subjects = {fact.address: fact for fact in facts if not fact.is_remark}
    objects = {"objects": sorted({address.object for address in subjects})}
    for row in connection.execute(_COMMENTS, objects).mappings():
        address = Address(row["classoid"], row["objoid"], row["objsubid"])
        subject = subjects.get(address) or subjects.get(address.whole())
        if subject is None or subject.kind == "extension":
            continue
        target = f"{row['type']} {row['identity']}"
        on = f"COMMENT ON {_COMMENT_WORDS.get(row['type'], row['type'].upper())} {row['identity']}"
        yield Fact(
            kind="comment",
            name=f"comment on {target}",
            definition=row["literal"],
            create=(f"{on} IS {row['literal']}",),
            drop=(f"{on} IS NULL",),
            relation=subject.relation,
            column=subject.column,
            shape=subject.kind,
            address=subject.address,
        )


def _needs(connection: Connection, facts: Collection[Fact]) -> dict[str, frozenset[str]]:
    """Return which facts each fact needs: from ``pg_depend``, and a remark its object."""
    names = {fact.address: fact.name for fact in facts if not fact.is_remark}
    for row in connection.execute(_STANDS_FOR):
        if owner := names.get(Address(*row[3:])):
            names.setdefault(Address(*row[:3]), owner)

    def named(address: Address) -> str | None:
        return names.get(address) or names.get(address.whole())

    needs: dict[str, set[str]] = {fact.name: set() for fact in facts}
    pairs = [(named(Address(*row[:3])), named(Address(*row[3:]))) for row in _depends(connection)]
    pairs += [(fact.name, named(fact.address)) for fact in facts if fact.is_remark]
    for dependent, needed in pairs:
        if dependent and needed and dependent != needed:
            needs[dependent].add(needed)
    return {name: frozenset(needed) for name, needed in needs.items()}


def _depends(connection: Connection) -> list[tuple[int, ...]]:
    return [tuple(row) for row in connection.execute(_DEPENDS)]


_REMARKS: Final = frozenset(
    {"comment", "grant", "identity", "not null", "row security", "storage", "time series"}
)
_HAS_SERIES: Final = text("SELECT to_regclass('timeseries.registry') IS NOT NULL")
_HAS_HYPERTABLES: Final = text("SELECT to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL")
# Only what the registry says and the table is: one that was changed by hand is no series.
_SERIES: Final = """
    SELECT c.oid::bigint,
           concat_ws(' ', 'by', quote_ident(by), 'every', every, 'coarse after ' || coarse_after,
                     'segment by ' || segment_by),
           format('SELECT timeseries.convert(%L, %L, %L, %L, %L)',
                  format('%I.%I', nspname, relname), by, every, coarse_after, segment_by)
    FROM timeseries.registry JOIN pg_class AS c ON c.oid = relation
    JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE relkind = 'p'"""
_PARTITIONED: Final = text(_SERIES)
_HYPERTABLES: Final = text(
    f"{_SERIES} OR (nspname, relname) IN (SELECT schema_name, table_name"  # noqa: S608 - two constants
    " FROM _timescaledb_catalog.hypertable)"
)
_COMMENT_WORDS: Final = {
    "table column": "COLUMN",
    "view column": "COLUMN",
    "materialized view column": "COLUMN",
    "table constraint": "CONSTRAINT",
    "statistics object": "STATISTICS",
}
_COMMENTS: Final = text(
    """
    SELECT classoid::bigint, objoid::bigint, objsubid, type, identity,
           quote_literal(description) AS literal
    FROM pg_description, LATERAL pg_identify_object(classoid, objoid, objsubid)
    WHERE objoid = ANY (CAST(:objects AS oid[]))
    """
)
# What pg_depend names instead of the object: a view's rule, a constraint's index, the row type of
# a table, the columns of a composite type, a generated column's expression.
_STANDS_FOR: Final = text(
    """
    SELECT 'pg_rewrite'::regclass::oid::bigint, oid::bigint, 0,
           'pg_class'::regclass::oid::bigint, ev_class::bigint, 0
    FROM pg_rewrite WHERE rulename = '_RETURN'
    UNION ALL
    SELECT 'pg_class'::regclass::oid::bigint, conindid::bigint, 0,
           'pg_constraint'::regclass::oid::bigint, oid::bigint, 0
    FROM pg_constraint WHERE conindid <> 0 AND contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT 'pg_type'::regclass::oid::bigint, reltype::bigint, 0,
           'pg_class'::regclass::oid::bigint, oid::bigint, 0
    FROM pg_class WHERE reltype <> 0
    UNION ALL
    SELECT 'pg_class'::regclass::oid::bigint, oid::bigint, 0,
           'pg_type'::regclass::oid::bigint, reltype::bigint, 0
    FROM pg_class WHERE relkind = 'c'
    UNION ALL
    SELECT 'pg_attrdef'::regclass::oid::bigint, oid::bigint, 0,
           'pg_class'::regclass::oid::bigint, adrelid::bigint, adnum::int
    FROM pg_attrdef
    """
)
_DEPENDS: Final = text(
    """
    SELECT classid::bigint, objid::bigint, objsubid,
           refclassid::bigint, refobjid::bigint, refobjsubid
    FROM pg_depend WHERE deptype IN ('n', 'a', 'i')
    """
)
