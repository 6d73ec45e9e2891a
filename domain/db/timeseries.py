"""Time series: tables that grow by time, in pieces that can be made, kept and dropped cheaply.

A model declares itself one with ``info=series(by="time", every=timedelta(days=30))``. Where the
TimescaleDB extension is in the database its table becomes a hypertable, everywhere else it is
partitioned natively; models, repositories and migrations are the same for both. What is done to
the pieces over time (retention, archive, compression) is `domain.ops.retention`.

Native partitions live in the schema ``ts_parts``, which nobody has rights in: rows are reached
through the parent alone, so its rights and row-level security hold. There is no default
partition: rows in it would keep later partitions from being made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    Column,
    Interval,
    MetaData,
    Table,
    Text,
    TextClause,
    text,
)
from sqlalchemy.dialects.postgresql import REGCLASS

from domain.clock import as_utc
from domain.db.objects import Function, Grant, Schema, View, declare, literal, qualified
from domain.db.roles import ACTING
from domain.errors import InvalidData

SCHEMA: Final = "timeseries"
PARTS: Final = "ts_parts"
_INFO: Final = "time_series"
_DAY: Final = timedelta(days=1)
_EARLIEST_YEAR: Final = 1900
_LATEST_YEAR: Final = 2299


@dataclass(frozen=True, slots=True)
class Series:
    """How a table grows.

    Args:
        by: The column of the time; every unique key must contain it.
        every: Length of one partition or chunk: whole days.
        coarse_after: Rows older than this go into partitions of a calendar year, because history
            that is loaded once needs no fine pieces; None keeps them fine. Native only.
        segment_by: The column that compressed rows are grouped by; None: never compressed, as
            TimescaleDB requires of tables with row-level security.

    Raises:
        InvalidData: A length is not a whole number of days.
    """

    by: str
    every: timedelta
    coarse_after: timedelta | None = None
    segment_by: str | None = None

    def __post_init__(self) -> None:
        """Refuse lengths that are no whole days: pieces begin at midnight."""
        for name in ("every", "coarse_after"):
            length: timedelta | None = getattr(self, name)
            if length is not None and (length < _DAY or length % _DAY):
                raise InvalidData(name, length, "be whole days, at least one")


def series(
    *,
    by: str,
    every: timedelta,
    coarse_after: timedelta | None = None,
    segment_by: str | None = None,
) -> dict[str, Series]:
    """Return the ``info`` of a table that is a time series; see `Series`."""
    return {_INFO: Series(by, every, coarse_after, segment_by)}


def series_of(table: Table) -> Series | None:
    """Return how `table` grows, None for an ordinary table."""
    found: Series | None = table.info.get(_INFO)
    return found


@dataclass(frozen=True)
class TimeSeries:
    """The declared fact that a table is a time series.

    Args:
        schema: The table's schema.
        table: The table.
        series: How it grows.
    """

    schema: str
    table: str
    series: Series

    @property
    def rank(self) -> int:
        """Right after the tables: it refuses a table that views and triggers hang on."""
        return 5

    def create(self) -> tuple[str, ...]:
        """Return the call that makes the table one, whatever it holds."""
        name = literal(qualified(self.schema, self.table))
        how = self.series
        segment_by = "NULL" if how.segment_by is None else literal(how.segment_by)
        steps = f"{_interval(how.every)}, {_interval(how.coarse_after)}"
        return (f"SELECT {SCHEMA}.convert({name}, {literal(how.by)}, {steps}, {segment_by})",)

    def drop(self) -> tuple[str, ...]:
        """Return the call that makes it an ordinary table again."""
        return (f"SELECT {SCHEMA}.revert({literal(qualified(self.schema, self.table))})",)


def _interval(length: timedelta | None) -> str:
    return "NULL" if length is None else literal(f"{length.days} days")


def declare_time_series(metadata: MetaData) -> None:
    """Declare the mechanism, and every table of `metadata` whose ``info`` says that it grows.

    Args:
        metadata: The models' metadata, with all models registered.
    """
    Table(
        "registry",
        metadata,
        Column("relation", REGCLASS, primary_key=True, comment="The table"),
        Column("by", Text, nullable=False, comment="Its column of the time"),
        Column("every", Interval, nullable=False, comment="Length of one piece, whole days"),
        Column("coarse_after", Interval, comment="Age from which pieces are calendar years"),
        Column("segment_by", Text, comment="Column that compressed rows are grouped by"),
        schema=SCHEMA,
        comment="Which tables are time series, and how they grow",
    )
    declare(metadata, Schema(PARTS, generated=True), *FUNCTIONS, PARTITIONS)
    for role in ACTING:
        declare(metadata, Grant("EXECUTE", f"FUNCTION {_ENSURE_SIGNATURE}", role))
    for table in list(metadata.tables.values()):
        if found := series_of(table):
            declare(metadata, TimeSeries(table.schema or "public", table.name, found))


def room_for(table: Table, times: Iterable[datetime]) -> tuple[TextClause, dict[str, Any]] | None:
    """Return the statement that makes the partitions for `times`, None where none are needed.

    Args:
        table: Any table; for an ordinary one nothing is needed.
        times: Aware instants of the rows to come.

    Raises:
        InvalidData: An instant is naive, before 1900 or after 2299.
    """
    if series_of(table) is None or not (moments := {*times}):
        return None
    if {moment.tzinfo for moment in moments} != {UTC}:
        moments = {*map(as_utc, moments)}
    for moment in (min(moments), max(moments)):
        if not _EARLIEST_YEAR <= moment.year <= _LATEST_YEAR:
            raise InvalidData("time", moment, "be from 1900 to 2299")
    # Every piece begins at a midnight, so the days of the rows say which ones are needed.
    days = sorted({moment.date() for moment in moments})
    return _ENSURE, {"relation": table.fullname, "days": days}


def times_in(table: Table, rows: Iterable[Mapping[str, Any]]) -> list[datetime]:
    """Return the times of `rows`, given by attribute name; none for an ordinary table."""
    found = series_of(table)
    return [] if found is None else [row[found.by] for row in rows]


def leaving(table: str) -> str:
    """Return the beginning of the comment on a piece that leaves `table` for its archive."""
    return f"leaving {table}: "


def in_transit(table: str) -> str:
    """Return the SQL condition that a piece of `table` is neither in it nor in its archive yet.

    Args:
        table: A native time series as ``schema.table``; never true of a hypertable.
    """
    name = literal(table)
    return f"""(
  EXISTS (SELECT FROM pg_inherits WHERE inhparent = to_regclass({name}) AND inhdetachpending)
  OR EXISTS (SELECT FROM pg_class
             WHERE relnamespace = {literal(PARTS)}::regnamespace AND NOT relispartition
               AND starts_with(obj_description(oid, 'pg_class'), {literal(leaving(table))})))"""  # noqa: S608 - literals


_ENSURE_SIGNATURE: Final = f"{SCHEMA}.ensure(regclass, date[])"
_ENSURE: Final = text(
    f"SELECT {SCHEMA}.ensure(CAST(CAST(:relation AS text) AS regclass), CAST(:days AS date[]))"
)
_SAFE_PATH: Final = "SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'"

_REBUILD: Final = """
DECLARE
  home text; bare text; target text; aside text; statement text; item record;
  statements text[];
BEGIN
  SELECT nspname, relname, format('%I.%I', nspname, relname) INTO STRICT home, bare, target
  FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE pg_class.oid = relation;
  IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal
             AND NOT starts_with(tgname, 'ts_'))
     OR EXISTS (SELECT FROM pg_policy WHERE polrelid = relation)
     OR (SELECT relrowsecurity FROM pg_class WHERE oid = relation)
     OR EXISTS (SELECT FROM pg_constraint WHERE confrelid = relation AND conrelid <> relation)
     OR EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_rewrite'::regclass
                AND refclassid = 'pg_class'::regclass AND refobjid = relation) THEN
    RAISE EXCEPTION 'triggers, policies, views or foreign keys hang on %: remove them first', target
      USING ERRCODE = 'dependent_objects_still_exist';
  END IF;
  statements := ARRAY(
    SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', target, conname, pg_get_constraintdef(oid))
    FROM pg_constraint
    WHERE conrelid = relation AND contype IN ('p', 'u', 'x', 'f') AND conparentid = 0
    ORDER BY contype = 'f', conname
  ) || ARRAY(
    SELECT replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
    FROM pg_index
    WHERE indrelid = relation AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    ORDER BY indexrelid
  ) || ARRAY(
    SELECT format('COMMENT ON TABLE %s IS %L', target, obj_description(relation, 'pg_class'))
  ) || ARRAY(
    SELECT format('GRANT %s%s ON %s TO %s', privilege_type, part, target,
                  CASE WHEN grantee = 0 THEN 'PUBLIC'
                       ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM (SELECT '' AS part, relowner, relacl AS acl FROM pg_class WHERE oid = relation
          UNION ALL
          SELECT format(' (%I)', attname), NULL, attacl FROM pg_attribute
          WHERE attrelid = relation AND attacl IS NOT NULL) AS rights, aclexplode(acl)
    WHERE grantee IS DISTINCT FROM relowner
  );
  -- The table that was turned into the first partition has that name too.
  aside := left(concat(home, '_', bare), 40) || '_before';
  WHILE to_regclass(format('ts_parts.%I', aside)) IS NOT NULL LOOP
    aside := aside || '_';
  END LOOP;
  EXECUTE format('ALTER TABLE %s SET SCHEMA ts_parts', target);
  EXECUTE format('ALTER TABLE ts_parts.%I RENAME TO %I', bare, aside);
  FOR item IN
    SELECT indexrelid::regclass AS index, row_number() OVER (ORDER BY indexrelid) AS number
    FROM pg_index WHERE indrelid = relation
  LOOP
    EXECUTE format('ALTER INDEX %s RENAME TO %I', item.index, concat(aside, '_', item.number));
  END LOOP;
  EXECUTE format('CREATE TABLE %s (LIKE ts_parts.%I INCLUDING COMMENTS INCLUDING CONSTRAINTS '
                 'INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE) %s',
                 target, aside, clause);
  FOREACH statement IN ARRAY statements LOOP
    EXECUTE statement;
  END LOOP;
  RETURN format('ts_parts.%I', aside)::regclass;
END
"""

_CONVERT: Final = """
DECLARE
  name text := relation::text;
  extension text;
  old regclass;
  lower_end timestamptz; upper_end timestamptz;
BEGIN
  SELECT quote_ident(nspname) INTO extension
  FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace WHERE extname = 'timescaledb';
  IF extension IS NOT NULL THEN
    EXECUTE format('SELECT %1$s.create_hypertable(%2$L::regclass, '
                   '%1$s.by_range(%3$L, %4$L::interval), '
                   'create_default_indexes => false, migrate_data => true)',
                   extension, name, by, every);
    -- Debian's build has no columnstore; asking it for one is an error.
    IF segment_by IS NOT NULL AND current_setting('timescaledb.license', true) = 'timescale' THEN
      EXECUTE format('ALTER TABLE %s SET (timescaledb.compress, timescaledb.compress_segmentby = %L'
                     ', timescaledb.compress_orderby = %L)', name, segment_by, by || ' DESC');
    END IF;
  ELSE
    old := timeseries.rebuild(relation, format('PARTITION BY RANGE (%I)', by));
    EXECUTE format('SELECT date_trunc(''day'', min(%1$I)), '
                   'date_trunc(''day'', max(%1$I)) + interval ''1 day'' FROM %2$s',
                   by, old) INTO lower_end, upper_end;
    IF lower_end IS NULL THEN
      EXECUTE format('DROP TABLE %s', old);
    ELSE
      -- The rows stay where they are: the old table becomes the first partition.
      EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                     name, old, lower_end, upper_end);
    END IF;
  END IF;
  DELETE FROM timeseries.registry AS r
  WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = r.relation) OR r.relation = name::regclass;
  INSERT INTO timeseries.registry VALUES (name::regclass, by, every, coarse_after, segment_by);
END
"""

_REVERT: Final = """
DECLARE
  name text := relation::text;
  old regclass;
BEGIN
  DELETE FROM timeseries.registry AS r WHERE r.relation = revert.relation;
  old := timeseries.rebuild(relation, '');
  EXECUTE format('INSERT INTO %1$s (%3$s) SELECT %3$s FROM %2$s', name, old, (
    SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
    WHERE attrelid = old AND attnum > 0 AND NOT attisdropped AND attgenerated = ''));
  EXECUTE format('DROP TABLE %s', old);
END
"""

_ENSURE_BODY: Final = """
BEGIN
  IF NOT EXISTS (SELECT FROM timeseries.registry AS r WHERE r.relation = ensure.relation) THEN
    RAISE EXCEPTION '% is no time series', relation USING ERRCODE = 'wrong_object_type';
  END IF;
  -- Here everybody is the owner; the setting still says who asked.
  IF NOT has_table_privilege(coalesce(nullif(current_setting('role'), 'none'), session_user),
                             relation, 'INSERT') THEN
    RAISE EXCEPTION 'permission denied for table %', relation
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN timeseries.make_room(relation, days);
END
"""

_MAKE_ROOM_BODY: Final = """
DECLARE
  grows timeseries.registry;
  wanted date; moment timestamptz; covered_until timestamptz := '-infinity';
  lower_end timestamptz; upper_end timestamptz; neighbour timestamptz;
  bare text; part text;
  is_locked boolean := false;
  made integer := 0;
BEGIN
  SELECT * INTO STRICT grows FROM timeseries.registry AS r
  WHERE r.relation = make_room.relation;
  IF (SELECT relkind FROM pg_class WHERE oid = relation) <> 'p' THEN
    RETURN 0; -- TimescaleDB makes its chunks itself
  END IF;
  FOR wanted IN SELECT DISTINCT day FROM unnest(days) AS day ORDER BY day LOOP
    moment := wanted;
    CONTINUE WHEN moment < covered_until;
    IF wanted NOT BETWEEN '1900-01-01' AND '2299-12-31' THEN
      RAISE EXCEPTION 'the time of % must be from 1900 to 2299', relation
        USING ERRCODE = 'datetime_field_overflow';
    END IF;
    SELECT ends_at INTO upper_end FROM timeseries.partitions AS p
    WHERE p.relation = make_room.relation AND starts_at <= moment AND ends_at > moment;
    IF NOT FOUND AND NOT is_locked THEN
      -- Looked at again under the lock: somebody else may have made it just now.
      PERFORM pg_advisory_xact_lock(hashtextextended(concat('timeseries ', relation), 0));
      is_locked := true;
      SELECT ends_at INTO upper_end FROM timeseries.partitions AS p
      WHERE p.relation = make_room.relation AND starts_at <= moment AND ends_at > moment;
    END IF;
    covered_until := upper_end;
    CONTINUE WHEN covered_until IS NOT NULL;
    IF moment < now() - grows.coarse_after THEN
      lower_end := date_trunc('year', moment);
      upper_end := lower_end + interval '1 year';
    ELSE
      lower_end := date_bin(grows.every, moment, '2000-01-03');
      upper_end := lower_end + grows.every;
    END IF;
    SELECT max(ends_at) INTO neighbour FROM timeseries.partitions AS p
    WHERE p.relation = make_room.relation AND ends_at <= moment;
    lower_end := greatest(lower_end, neighbour);
    SELECT min(starts_at) INTO neighbour FROM timeseries.partitions AS p
    WHERE p.relation = make_room.relation AND starts_at > moment;
    upper_end := least(upper_end, neighbour);
    SELECT concat(left(concat(nspname, '_', relname), 50), to_char(lower_end, '_YYYYMMDD'))
    INTO bare
    FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE pg_class.oid = relation;
    -- A piece that was archived keeps its name; a late row makes a second one beside it.
    WHILE to_regclass(format('ts_parts.%I', bare)) IS NOT NULL LOOP
      bare := concat(bare, '_');
    END LOOP;
    part := format('ts_parts.%I', bare);
    -- Made apart and attached: PARTITION OF would wait for every reader of the parent.
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', part, relation);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                   relation, part, lower_end, upper_end);
    made := made + 1;
    covered_until := upper_end;
  END LOOP;
  RETURN made;
END
"""

FUNCTIONS: Final = (
    Function(
        SCHEMA, "rebuild", "relation regclass, clause text", "regclass", "plpgsql", _REBUILD,
        options=_SAFE_PATH, before_tables=True,
    ),
    Function(
        SCHEMA, "convert",
        "relation regclass, by text, every interval, coarse_after interval, segment_by text",
        "void", "plpgsql", _CONVERT, options=_SAFE_PATH, before_tables=True,
    ),
    Function(
        SCHEMA, "revert", "relation regclass", "void", "plpgsql", _REVERT,
        options=_SAFE_PATH, before_tables=True,
    ),
    Function(
        SCHEMA, "make_room", "relation regclass, days date[]", "integer",
        "plpgsql", _MAKE_ROOM_BODY, options=_SAFE_PATH, before_tables=True,
    ),
    Function(
        SCHEMA, "ensure", "relation regclass, days date[]", "integer",
        "plpgsql", _ENSURE_BODY,
        # Who may insert may not create tables; this may, in the registered ones alone.
        options=f"SECURITY DEFINER {_SAFE_PATH}", before_tables=True,
    ),
)  # fmt: skip

PARTITIONS: Final = View(
    SCHEMA,
    "partitions",
    comment="The native partitions of all time series, with their bounds",
    definition=r"""
SELECT r.relation,
       i.inhrelid::regclass AS partition,
       bounds[1]::timestamptz AS starts_at,
       bounds[2]::timestamptz AS ends_at
  FROM timeseries.registry AS r
  JOIN pg_catalog.pg_inherits AS i ON i.inhparent = r.relation AND NOT i.inhdetachpending
  JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
 CROSS JOIN LATERAL pg_catalog.regexp_match(
         pg_catalog.pg_get_expr(c.relpartbound, c.oid),
         'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS bounds
""",
)
"""Where rows of a time series lie when it is partitioned natively."""
