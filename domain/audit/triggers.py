"""Writes the trigger functions: one a table, in plain SQL with its columns spelled out.

A generic function would have to look at every row's columns anew, which costs several times as
much. Statement-level triggers with transition tables turn a bulk write into one ``INSERT …
SELECT``; time series have row-level ones, because hypertables know no transition tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Numeric, Table, TypeDecorator

from domain.audit.models import REDACTED
from domain.audit.policies import History, Kept, keep, recorded, telling
from domain.db.objects import Function, Trigger, declare, literal, qualified, quoted
from domain.db.timeseries import series_of

_OLD, _NEW = "o", "n"
_PAIRS_AT_ONCE: Final = 45
"""A call has at most a hundred arguments."""

DEFINER: Final = "SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'"
"""Runs as the owner, whoever writes; text of times does not depend on the session's zone."""

# By itself, before the INSERT: it may have to make a partition of the table that is written.
_TARGET: Final = """
SELECT * INTO c FROM audit.circumstances();
INSERT INTO audit.entries (at, xid, cluster, actor, origin, impersonator, request_id,
                           user_id, table_name, row_key, action, old_values, new_values)
SELECT c.at, c.xid, c.cluster, c.actor, c.origin, c.impersonator, c.request_id,"""


def declare_history(metadata: MetaData, histories: Mapping[str, History]) -> None:
    """Declare the trigger functions and triggers of every table of `metadata`.

    Args:
        metadata: The models' metadata.
        histories: For each ``schema.table``, what is kept; every table must be named.

    Raises:
        KeyError: A table has no history: a new table must say what is kept of it.
    """
    for name, table in list(metadata.tables.items()):
        history = histories[name]
        keep(table, history)
        declare(metadata, *_objects(table, history))


def _objects(table: Table, history: History) -> Iterator[Function | Trigger]:
    if history.kept is Kept.NOTHING:
        return
    home = table.schema or "public"
    function = Function(
        schema="audit",
        name=f"keep_{home}_{table.name}",
        arguments="",
        returns="trigger",
        language="plpgsql",
        body=_row_body(table, history) if series_of(table) else _statement_body(table, history),
        options=DEFINER,
    )
    yield function
    events = ["UPDATE", "DELETE"] if history.kept is Kept.CHANGES else list(_TABLES)
    call = f"EXECUTE FUNCTION {qualified('audit', function.name)}()"
    for event in events:
        how = _row_level(table, history, event) if series_of(table) else _TABLES[event]
        definition = f"AFTER {event} {how} {call}"
        yield Trigger(home, table.name, f"audit_{event.lower()}", definition)
    yield Trigger(
        home,
        table.name,
        "audit_truncate",
        "AFTER TRUNCATE FOR EACH STATEMENT EXECUTE FUNCTION audit.keep_truncate()",
    )


_TABLES: Final = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT",
    "DELETE": "REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT",
}


def _row_level(table: Table, history: History, event: str) -> str:
    if event != "UPDATE":
        return "FOR EACH ROW"
    return f"FOR EACH ROW WHEN ({_differs(telling(table, history), 'OLD', 'NEW')})"


def _statement_body(table: Table, history: History) -> str:
    branches = {
        "DELETE": (
            "old_rows",
            _single(table, "delete", _OLD, "old_rows AS o"),
        ),
        "UPDATE": ("new_rows", _changed(table, history)),
    }
    if history.kept is Kept.ALL:
        inserted = _single(table, "insert", _NEW, "new_rows AS n")
        rows = "new_rows"
        if history.added:
            inserted = f"{inserted}\n WHERE {history.added}"
            rows = f"new_rows AS n WHERE {history.added}"
        branches = {"INSERT": (rows, inserted), **branches}
    lines = ["DECLARE c record;", "BEGIN"]
    for event, (rows, statement) in branches.items():
        lines.append(f"IF TG_OP = '{event}' THEN")
        # Most statements that find nothing to do must not cost anything.
        lines.append(f"IF EXISTS (SELECT FROM {rows}) THEN{statement};\nEND IF;")
        lines.append("END IF;")
    return "\n".join(["", *lines, "RETURN NULL;", "END", ""])


def _row_body(table: Table, history: History) -> str:
    gone = _single(table, "delete", _OLD, "(SELECT OLD.*) AS o")
    both = "(SELECT OLD.*) AS o CROSS JOIN (SELECT NEW.*) AS n"
    return f"""
DECLARE c record;
BEGIN
IF TG_OP = 'DELETE' THEN{gone};
ELSE{_update(table, history, both)};
END IF;
RETURN NULL;
END
"""


def _single(table: Table, action: str, alias: str, source: str) -> str:
    """Return the statement for rows that are whole: inserted or deleted ones, without NULLs."""
    columns = recorded(table)
    empty = ", ".join(
        f"CASE WHEN {_of(alias, column)} IS NULL THEN {literal(column.name)} END"
        for column in columns
        if column.nullable
    )
    values = _values(columns, alias)
    if empty:
        values = f"({values}) - array_remove(ARRAY[{empty}], NULL)"
    pair = f"NULL, {values}" if action == "insert" else f"{values}, NULL"
    return f"""{_TARGET}
       {_tenant(table, alias)}, {literal(table.fullname)}, {_key(table, alias)}, '{action}', {pair}
  FROM {source}"""


def _changed(table: Table, history: History) -> str:
    """Return the statement for updated rows; one whose key changed went and came."""
    same_key = " AND ".join(
        f"{_of(_OLD, column)} = {_of(_NEW, column)}" for column in table.primary_key
    )
    # A full join is never a nested loop, whatever the plan was made for.
    rows = f"old_rows AS o FULL JOIN new_rows AS n ON {same_key}"
    return _update(table, history, rows)


def _update(table: Table, history: History, source: str) -> str:
    columns = telling(table, history)
    same = ", ".join(
        f"CASE WHEN {_of(_OLD, column)} IS NOT DISTINCT FROM {_of(_NEW, column)}"
        f" THEN {literal(column.name)} END"
        for column in columns
    )
    key = next(iter(table.primary_key))
    is_old, is_new = (f"{_of(alias, key)} IS NOT NULL" for alias in (_OLD, _NEW))
    return f"""{_TARGET}
       coalesce({_tenant(table, _NEW)}, {_tenant(table, _OLD)}), {literal(table.fullname)},
       coalesce({_key(table, _OLD)}, {_key(table, _NEW)}),
       CASE WHEN NOT {is_old} THEN 'insert' WHEN NOT {is_new} THEN 'delete' ELSE 'update' END,
       CASE WHEN {is_old} THEN ({_values(columns, _OLD)}) - d.same END,
       CASE WHEN {is_new} THEN ({_values(columns, _NEW)}) - d.same END
  FROM {source}
 CROSS JOIN LATERAL (SELECT array_remove(ARRAY[{same}], NULL) AS same) AS d
 WHERE {_differs(columns, _OLD, _NEW)}"""


def _differs(columns: Sequence[Column[object]], old: str, new: str) -> str:
    return " OR ".join(
        f"{_of(old, column)} IS DISTINCT FROM {_of(new, column)}" for column in columns
    )


def _values(columns: Sequence[Column[object]], alias: str) -> str:
    pairs = [f"{literal(column.name)}, {_value(column, alias)}" for column in columns]
    calls = (
        f"jsonb_build_object({', '.join(pairs[start : start + _PAIRS_AT_ONCE])})"
        for start in range(0, len(pairs), _PAIRS_AT_ONCE)
    )
    return " || ".join(calls)


def _value(column: Column[object], alias: str) -> str:
    value, kind = _of(alias, column), _stored(column)
    if column.info.get("secret"):
        return f"CASE WHEN {value} IS NOT NULL THEN {literal(REDACTED)} END"
    if isinstance(kind, Numeric):
        # Readers of JSON take its numbers for floats.
        return f"{value}::text"
    return f"encode({value}, 'hex')" if isinstance(kind, LargeBinary) else value


def _key(table: Table, alias: str) -> str:
    return " || ';' || ".join(_key_part(column, alias) for column in table.primary_key)


def _key_part(column: Column[object], alias: str) -> str:
    value, kind = _of(alias, column), _stored(column)
    if isinstance(kind, DateTime):
        fraction = f"CASE WHEN extract(microseconds FROM {value})::bigint % 1000000 <> 0"
        fraction += f" THEN to_char({value}, '.US') ELSE '' END"
        return f"to_char({value}, 'YYYY-MM-DD\"T\"HH24:MI:SS') || {fraction} || '+00:00'"
    return f"encode({value}, 'hex')" if isinstance(kind, LargeBinary) else f"{value}::text"


def _tenant(table: Table, alias: str) -> str:
    if table.fullname == "identity.users":
        return f"{alias}.id"
    return f"{alias}.user_id" if "user_id" in table.columns else "NULL::uuid"


def _of(alias: str, column: Column[object]) -> str:
    return f"{alias}.{quoted(column.name)}"


def _stored(column: Column[object]) -> object:
    kind = column.type
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind
