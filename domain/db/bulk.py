"""The bulk paths: one statement for thousands of rows, inside the unit's own transaction.

Rows travel as one array a column (``unnest``), never as ``VALUES`` lists: those compile thousands
of parameters and are 15 to 20 times slower.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Select,
    Table,
    TableClause,
    TextClause,
    Uuid,
    all_,
    and_,
    any_,
    bindparam,
    column,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import Insert as PgInsert
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import CollectionAggregate

from domain.db.orm import Base
from domain.db.session import driver_connection
from domain.db.sqlstate import translated_error
from domain.db.timeseries import room_for, series_of, times_in
from domain.db.types import ExactNumeric, UtcDateTime
from domain.db.written import WRITES, WrittenRows
from domain.errors import InvalidData

M = TypeVar("M", bound=Base)

BATCH: Final = 10_000


@dataclass(frozen=True, slots=True)
class Upserted:
    """How many rows an upsert inserted and how many it updated."""

    inserted: int
    updated: int


@dataclass(frozen=True, slots=True)
class UpsertPlan:
    """Where an upsert goes: the model, its unique key, and what to overwrite.

    Args:
        model: The model.
        key: Attributes of a unique constraint.
        update: Attributes to overwrite; empty leaves existing rows alone.
        newer: An attribute that must not go back: a row with a smaller one changes nothing.
    """

    model: type[Base]
    key: tuple[str, ...]
    update: tuple[str, ...]
    newer: str | None = None

    @property
    def certain(self) -> tuple[str, ...] | None:
        """The attributes that written rows have as given: a row that was there keeps the rest."""
        return self.key if self.update else None


async def insert_many(
    session: AsyncSession, model: type[Base], rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert `rows`; all of them or none."""
    await _make_room(session, model, rows)
    for batch in _batches(rows):
        columns = _columns(model, batch)
        if _has_arrays(columns):
            await session.execute(
                insert(_table(model)), _named(columns, batch), **_told(model, batch)
            )
        else:
            statement = _insert_from_arrays(model, columns)
            await session.execute(statement, _arrays(columns, batch), **_told(model, batch))
    return len(rows)


async def copy_in(
    session: AsyncSession, model: type[Base], rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert `rows` with COPY, through a temporary stage where row-level security forbids it."""
    if not rows:
        return 0
    await _make_room(session, model, rows)
    table, columns = _table(model), _columns(model, rows)
    if "user_id" in table.columns:
        names = await _stage(session, table, columns, rows)
        await session.execute(
            text(f"INSERT INTO {table.fullname} ({names}) SELECT {names} FROM {_STAGE}"),  # noqa: S608 - names of our own columns
            **_told(model, rows),
        )
        await session.execute(text(f"DROP TABLE {_STAGE}"))
        return len(rows)
    await _copy(session, (table.schema, table.name), columns, rows)
    # COPY is no statement that an observer sees.
    if observer := session.sync_session.info.get(WRITES):
        observer.rows(WrittenRows.of(model, rows))
    return len(rows)


_STAGE: Final = "tradekeep_stage"
_STAGED_FROM: Final = 5_000


async def _stage(
    session: AsyncSession,
    table: Table,
    columns: Mapping[str, Column[Any]],
    rows: Sequence[Mapping[str, Any]],
) -> str:
    """Copy `rows` into a temporary table; return its columns, quoted and separated by commas."""
    names = ", ".join(f'"{col.name}"' for col in columns.values())
    await session.execute(
        text(
            f"CREATE TEMP TABLE {_STAGE} ON COMMIT DROP AS SELECT {names} FROM {table.fullname}"  # noqa: S608 - names of our own columns
            " LIMIT 0"
        )
    )
    await _copy(session, (None, _STAGE), columns, rows)
    return names


async def _copy(
    session: AsyncSession,
    target: tuple[str | None, str],
    columns: Mapping[str, Column[Any]],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    connection = await session.connection()
    driver = driver_connection(connection.sync_connection)  # type: ignore[arg-type]  # open here
    schema, name = target
    records = _records(connection.dialect, columns, rows)
    try:
        await driver.copy_records_to_table(
            name,
            schema_name=schema,
            columns=_names(columns),
            records=records,
        )
    except Exception as error:
        # COPY goes past SQLAlchemy, and so past the event that translates.
        if translated := translated_error(error):
            raise translated from error
        raise


def _records(
    dialect: Dialect, columns: Mapping[str, Column[Any]], rows: Sequence[Mapping[str, Any]]
) -> Iterable[tuple[Any, ...]]:
    """Return `rows` as tuples for COPY, checked a column at a time: a fifth of the cost."""
    values = (list(map(itemgetter(name), rows)) for name in columns)
    return zip(
        *(_bound(dialect, col, given) for col, given in zip(columns.values(), values, strict=True)),
        strict=True,
    )


def _bound(dialect: Dialect, col: Column[Any], values: list[Any]) -> Iterable[Any]:
    if isinstance(col.type, ExactNumeric | UtcDateTime) and col.type.are_plain(values):
        return values
    bind = col.type.dialect_impl(dialect).bind_processor(dialect)
    return values if bind is None else map(bind, values)


async def _make_room(
    session: AsyncSession, model: type[Base], rows: Sequence[Mapping[str, Any]]
) -> None:
    table = _table(model)
    if room := room_for(table, times_in(table, rows)):
        await session.execute(*room)


async def upsert_many(
    session: AsyncSession, plan: UpsertPlan, rows: Sequence[Mapping[str, Any]]
) -> Upserted:
    """Insert or update `rows`; the last of several rows with one key wins."""
    inserted = total = 0
    await _make_room(session, plan.model, rows)
    unique = list(dict(zip(map(itemgetter(*plan.key), rows), rows, strict=True)).values())
    if len(unique) >= _STAGED_FROM:
        return await _upsert_staged(session, plan, unique)
    for batch in _batches(unique):
        columns = _columns(plan.model, batch)
        if _has_arrays(columns):
            raise InvalidData("rows", list(columns), "have no array column in an upsert")
        statement = _counted(plan, columns, _from_arrays(columns))
        told = _told(plan.model, batch, plan.certain)
        new, written = (await session.execute(statement, _arrays(columns, batch), **told)).one()
        inserted, total = inserted + new, total + written
    return Upserted(inserted=inserted, updated=total - inserted)


async def _upsert_staged(
    session: AsyncSession, plan: UpsertPlan, rows: Sequence[Mapping[str, Any]]
) -> Upserted:
    """Upsert by way of COPY: from thousands of rows on it is the faster one."""
    table, columns = _table(plan.model), _columns(plan.model, rows)
    await _stage(session, table, columns, rows)
    stage = TableClause(_STAGE, *(column(col.name, col.type) for col in columns.values()))
    counted = _counted(plan, columns, select(*stage.c))
    told = _told(plan.model, rows, plan.certain)
    new, written = (await session.execute(counted, **told)).one()
    await session.execute(text(f"DROP TABLE {_STAGE}"))
    return Upserted(inserted=new, updated=written - new)


async def upsert_returning(
    session: AsyncSession, model: type[M], rows: Sequence[Mapping[str, Any]], *, key: Sequence[str]
) -> Sequence[M]:
    """Insert or overwrite `rows` and return them as fresh entities.

    Args:
        session: The unit's session.
        model: The model; none of the given columns may be an array.
        rows: Values by attribute name; no two with one key.
        key: Attributes of a unique constraint.
    """
    if not rows:
        return ()
    await _make_room(session, model, rows)
    columns = _columns(model, rows)
    values = _arrays(columns, rows)
    statement = _insert_from_arrays(model, columns, values)
    changes = {
        col.name: statement.excluded[col.name] for name, col in columns.items() if name not in key
    }
    attributes = inspect(model).column_attrs
    upsert = statement.on_conflict_do_update(
        index_elements=[attributes[name].columns[0] for name in key], set_=changes
    )
    found = await session.scalars(
        upsert.returning(model),
        execution_options={
            "populate_existing": True,
            WRITES: WrittenRows.of(model, rows, key),
        },
    )
    return found.all()


async def insert_new(
    session: AsyncSession,
    model: type[M],
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str] | None,
    where: TextClause | None = None,
) -> Sequence[M]:
    """Insert the rows whose key is not taken and return them as entities; leave the others.

    Args:
        session: The unit's session.
        model: The model; none of the given columns may be an array.
        rows: Values by attribute name.
        key: Attributes of a unique index; None for any of them.
        where: The index's predicate, when it is partial.
    """
    inserted: list[M] = []
    await _make_room(session, model, rows)
    attributes = inspect(model).column_attrs
    elements = None if key is None else [attributes[name].columns[0] for name in key]
    for batch in _batches(rows):
        columns = _columns(model, batch)
        statement = _insert_from_arrays(model, columns, _arrays(columns, batch))
        fresh = statement.on_conflict_do_nothing(index_elements=elements, index_where=where)
        found = await session.scalars(fresh.returning(model), **_told(model, batch))
        inserted.extend(found.all())
    return inserted


def any_of(idents: Iterable[UUID]) -> CollectionAggregate[Any]:
    """Return ``ANY(array)``, for any number of keys; ``IN`` stops at 32,767 parameters."""
    return any_(literal(list(idents), ARRAY(Uuid())))


def none_of(idents: Iterable[UUID]) -> CollectionAggregate[Any]:
    """Return ``ALL(array)``, to be compared with ``!=``."""
    return all_(literal(list(idents), ARRAY(Uuid())))


def _counted(
    plan: UpsertPlan, columns: Mapping[str, Column[Any]], incoming: Select[Any]
) -> Select[int, int]:
    """Return an upsert of `incoming` that tells how many rows are new and how many written."""
    table = _table(plan.model)
    statement = _resolved(plan, pg_insert(table).from_select(_names(columns), incoming))
    if series_of(table) is None:
        # A row that this command inserted has no deleting transaction yet.
        written = statement.returning(text("(xmax = 0) AS is_new")).cte("written")
        flag: ColumnElement[bool] = column("is_new", Boolean)
        return select(func.count().filter(flag), func.count()).select_from(written)
    # Partitioned tables do not give system columns back: what was there is counted before.
    written = statement.returning(literal(1)).cte("written")
    given = incoming.subquery("given")
    key = [columns[name].name for name in plan.key]
    same = and_(*(given.c[name] == table.c[name] for name in key))
    known = select(func.count()).select_from(given.join(table, same)).scalar_subquery()
    new = func.count() - known if plan.update else func.count()
    return select(new, func.count()).select_from(written)


def _resolved(plan: UpsertPlan, statement: PgInsert) -> PgInsert:
    """Return `statement` with what happens to rows whose key is there."""
    attributes = inspect(plan.model).column_attrs
    key = [attributes[name].columns[0] for name in plan.key]
    if not plan.update:
        return statement.on_conflict_do_nothing(index_elements=key)
    overwritten = [attributes[name].columns[0].name for name in plan.update]
    changes = {name: statement.excluded[name] for name in overwritten}
    where = None
    if plan.newer is not None:
        stored = attributes[plan.newer].columns[0]
        where = statement.excluded[stored.name] >= stored
    return statement.on_conflict_do_update(index_elements=key, set_=changes, where=where)


def _insert_from_arrays(
    model: type[Base],
    columns: Mapping[str, Column[Any]],
    values: Mapping[str, Any] | None = None,
) -> PgInsert:
    # With values of its own the statement returns entities; with parameters it must go to the
    # table, because parameters of an ORM insert are taken for rows.
    target = _table(model) if values is None else model
    return pg_insert(target).from_select(_names(columns), _from_arrays(columns, values))


def _from_arrays(
    columns: Mapping[str, Column[Any]], values: Mapping[str, Any] | None = None
) -> Select[Any]:
    """Return the SELECT of rows that travel as one array a column."""
    parameters = (
        bindparam(
            name, None if values is None else values[name], type_=ARRAY(col.type, dimensions=1)
        )
        for name, col in columns.items()
    )
    incoming = (
        func.unnest(*parameters)
        .table_valued(*(column(col.name, col.type) for col in columns.values()))
        .render_derived(name="incoming")
    )
    return select(*(incoming.c[name] for name in _names(columns)))


def _names(columns: Mapping[str, Column[Any]]) -> list[str]:
    return [col.name for col in columns.values()]


def _columns(model: type[Base], rows: Sequence[Mapping[str, Any]]) -> dict[str, Column[Any]]:
    attributes = inspect(model).column_attrs
    first = rows[0]
    for name in first:
        if name not in attributes:
            raise InvalidData(name, first[name], f"be an attribute of {model.__name__}")
    names = first.keys()
    for index, row in enumerate(rows):
        if row.keys() != names:
            raise InvalidData(f"rows[{index}]", sorted(row), "have the same attributes as rows[0]")
    return {name: cast("Column[Any]", attributes[name].columns[0]) for name in first}


def _arrays(
    columns: Mapping[str, Column[Any]], rows: Sequence[Mapping[str, Any]]
) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in columns}


def _named(
    columns: Mapping[str, Column[Any]], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    return [{columns[name].key: value for name, value in row.items()} for row in rows]


def _has_arrays(columns: Mapping[str, Column[Any]]) -> bool:
    # unnest flattens nested arrays, so a column that is an array itself needs the slower way.
    return any(isinstance(col.type, ARRAY) for col in columns.values())


def _told(
    model: type[Base], rows: Sequence[Mapping[str, Any]], certain: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return what tells the session's observer of these rows."""
    return {"execution_options": {WRITES: WrittenRows.of(model, rows, certain)}}


def _table(model: type[Base]) -> Table:
    table = inspect(model).local_table
    assert isinstance(table, Table)  # noqa: S101 - declarative models map tables
    return table


def _batches(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
