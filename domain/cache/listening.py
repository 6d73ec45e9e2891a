"""Writes that bypass the application, by psql or a program in another language: opt-in per table.

`watch` declares triggers for a table: after a statement they notify which answers it may have made
stale, by the columns that declared answers depend on. Whoever listens takes those answers out.
NOTIFY takes one lock of the whole server at COMMIT, so nothing is watched unless it is asked for.

A notice comes after the commit: such a write is seen a moment later, not in the very next read.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import MetaData, Table
from sqlalchemy import inspect as mapping_of

from domain.cache.declaring import DECLARED
from domain.cache.dependencies import Dependencies, Touches
from domain.cache.guarded import GuardedStore
from domain.db.objects import Function, Trigger, declare
from domain.db.orm import Base
from domain.errors import InvalidData, Unavailable

CHANNEL: Final = "tradekeep_cache"
_WATCHED: Final = "tradekeep.watched"
_PAUSE: Final = 0.2

_log: Final = logging.getLogger(__name__)

TELL_WRITTEN: Final = Function(
    schema="cache",
    name="tell_written",
    arguments="",
    returns="trigger",
    language="plpgsql",
    # The arguments of the trigger are columns. A notice holds less than 8000 bytes; what would
    # take more than 200 rows is one notice about the whole table.
    body="""
DECLARE
  of_table text := TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME;
  everything text := jsonb_build_object('table', of_table, 'rows', NULL)::text;
  picked text;
  source text;
  found text[];
  chunk text := '';
  item text;
BEGIN
  IF TG_OP = 'TRUNCATE' OR TG_NARGS = 0 THEN
    PERFORM pg_notify('tradekeep_cache', everything);
    RETURN NULL;
  END IF;
  SELECT string_agg(format('%L, %I', name, name), ', ') INTO picked FROM unnest(TG_ARGV) AS name;
  source := CASE TG_OP
    WHEN 'INSERT' THEN 'SELECT * FROM new_rows'
    WHEN 'DELETE' THEN 'SELECT * FROM old_rows'
    ELSE 'SELECT * FROM new_rows UNION ALL SELECT * FROM old_rows' END;
  EXECUTE format(
    'SELECT array_agg(item) FROM (SELECT DISTINCT jsonb_build_object(%s)::text AS item'
    ' FROM (%s) AS written LIMIT 201) AS distinct_items', picked, source) INTO found;
  IF found IS NULL THEN
    RETURN NULL;
  END IF;
  IF cardinality(found) > 200 THEN
    PERFORM pg_notify('tradekeep_cache', everything);
    RETURN NULL;
  END IF;
  FOREACH item IN ARRAY found LOOP
    IF octet_length(item) > 7000 THEN
      PERFORM pg_notify('tradekeep_cache', everything);
      RETURN NULL;
    END IF;
    IF octet_length(chunk) + octet_length(item) > 7000 THEN
      PERFORM pg_notify('tradekeep_cache', format('{"table": %s, "rows": [%s]}',
                                                  to_json(of_table), chunk));
      chunk := '';
    END IF;
    chunk := chunk || CASE chunk WHEN '' THEN '' ELSE ', ' END || item;
  END LOOP;
  PERFORM pg_notify('tradekeep_cache', format('{"table": %s, "rows": [%s]}',
                                              to_json(of_table), chunk));
  RETURN NULL;
END
""",
)
"""Notifies what a statement wrote: the distinct values of some columns, before and after it."""

_EVENTS: Final = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
    "truncate": "",
}


class Notice(msgspec.Struct, frozen=True):
    """What a trigger says: rows of a table by column; None: any rows of it."""

    table: str
    rows: tuple[dict[str, Any], ...] | None


def watch(*models: type[Base]) -> None:
    """Declare that writes to the tables of `models` are notified, whoever makes them.

    The triggers come into the database with the next migration that is generated. Call it where
    the application's models are put together, after the answers were declared.

    Raises:
        InvalidData: No declared answer depends on the table.
    """
    for model in models:
        table = mapping_of(model).local_table
        assert isinstance(table, Table)  # noqa: S101 - declarative models map tables
        depending = [
            rows.columns(read.audience).values()
            for read in DECLARED.values()
            for rows in read.stale_by
            if rows.table is table
        ]
        if not depending:
            raise InvalidData("model", model.__name__, "be one that a declared answer depends on")
        columns = sorted({column for found in depending for column in found})
        declare(table.metadata, TELL_WRITTEN, *triggers_of(table, columns))
        watched_tables(table.metadata)[table.fullname] = table


def triggers_of(table: Table, columns: list[str]) -> list[Trigger]:
    """Return the triggers that notify what is written to a table, by these columns."""
    named = ", ".join(f"'{column}'" for column in columns)
    return [
        Trigger(
            schema=str(table.schema),
            table=table.name,
            name=f"tell_{event}",
            definition=f"AFTER {event.upper()} {rows} FOR EACH STATEMENT"
            f" EXECUTE FUNCTION cache.tell_written({named})",
        )
        for event, rows in _EVENTS.items()
    ]


def watched_tables(metadata: MetaData) -> dict[str, Table]:
    """Return the tables that are watched, by name."""
    found: dict[str, Table] = metadata.info.setdefault(_WATCHED, {})
    return found


class Watcher:
    """Takes answers out that notices name.

    Args:
        dependencies: What is stale by which write.
        store: Where answers are kept.
        tables: The tables that are watched.
    """

    def __init__(
        self, dependencies: Dependencies, store: GuardedStore, tables: Mapping[str, Table]
    ) -> None:
        self._dependencies, self._store, self._tables = dependencies, store, tables

    async def begun(self) -> None:
        """Take everything out that depends on a watched table: notices were missed until now."""
        touches = Touches()
        for name in self._tables:
            self._dependencies.touch(touches, name, {})
        await self._remove(touches)

    async def hear(self, payload: str) -> None:
        """Take out what a notice names."""
        try:
            notice = msgspec.json.decode(payload, type=Notice)
        except msgspec.DecodeError:
            _log.warning("a notice on %s is none of ours", CHANNEL)
            return
        table = self._tables.get(notice.table)
        if table is None:
            return
        touches = Touches()
        for row in ({},) if notice.rows is None else notice.rows:
            self._dependencies.touch(touches, notice.table, _known(table, row))
        await self._remove(touches)

    async def _remove(self, touches: Touches) -> None:
        touched = touches.take()
        while True:
            try:
                return await self._store.remove(touched.keys, touched.tags)
            except Unavailable:
                # Nothing is served while the server is away; it must hear of this once it is back.
                await asyncio.sleep(_PAUSE)


def _known(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the application has them; what cannot be told is left out."""
    known = {}
    for name, value in row.items():
        column = table.columns.get(name)
        if column is not None:
            known[name] = value if value is None else _typed(value, column.type.python_type)
    return known


def _typed(value: Any, kind: type[Any]) -> Any:
    if kind is UUID:
        return UUID(value)
    if kind is bytes:
        return bytes.fromhex(value.removeprefix("\\x"))
    if kind in {datetime, date}:
        return kind.fromisoformat(value)
    return value
