"""What the audit schema has beside its tables: who writes it, who reads it, and its seals.

Nobody has the right to insert into it. The functions here run as the owner, and of the owner too
row-level security asks for a policy and the triggers refuse every change.
"""

from typing import Final

from domain.audit.triggers import DEFINER
from domain.db.objects import Function, Grant, Policy, Trigger, declare
from domain.db.orm import Base
from domain.db.roles import ACTING, OWNER, STAFF

REFUSE: Final = Function(
    schema="audit",
    name="refuse",
    arguments="",
    returns="trigger",
    language="plpgsql",
    body="""
BEGIN
  RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END
""",
)

CIRCUMSTANCES: Final = Function(
    schema="audit",
    name="circumstances",
    arguments="",
    returns="TABLE (at timestamptz, xid bigint, cluster bigint, actor text, origin text,"
    " impersonator text, request_id text)",
    language="plpgsql",
    options=f"ROWS 1 {DEFINER}",
    body="""
DECLARE
  -- Here everybody is the owner; the setting still says who writes.
  role text := coalesce(nullif(current_setting('role'), 'none'), session_user);
  name text := nullif(current_setting('app.actor', true), '');
  room_until timestamptz := nullif(current_setting('app.audit_room_until', true), '');
BEGIN
  at := clock_timestamp();
  IF room_until IS NULL OR room_until <= at THEN
    PERFORM timeseries.make_room('audit.entries', ARRAY[at::date]);
    SELECT ends_at INTO room_until FROM timeseries.partitions AS p
    WHERE p.relation = 'audit.entries'::regclass
      AND p.starts_at <= circumstances.at AND p.ends_at > circumstances.at;
    -- Hypertables make their own; it is asked again tomorrow.
    PERFORM set_config('app.audit_room_until',
                       coalesce(room_until, at + interval '1 day')::text, false);
  END IF;
  origin := CASE WHEN name IS NULL THEN 'psql'
                 WHEN role = 'tradekeep_app' THEN 'user'
                 WHEN role NOT IN ('tradekeep_staff', 'tradekeep_desk') THEN 'psql'
                 WHEN starts_with(name, 'system:') THEN 'system' ELSE 'staff' END;
  actor := CASE WHEN origin = 'psql' THEN session_user ELSE name END;
  xid := pg_current_xact_id()::text::bigint;
  cluster := (SELECT system_identifier FROM pg_control_system());
  impersonator := nullif(current_setting('app.impersonator', true), '');
  request_id := nullif(current_setting('app.request_id', true), '');
  RETURN NEXT;
END
""",
)

KEEP_TRUNCATE: Final = Function(
    schema="audit",
    name="keep_truncate",
    arguments="",
    returns="trigger",
    language="plpgsql",
    options=DEFINER,
    body="""
DECLARE
  c record;
BEGIN
  SELECT * INTO c FROM audit.circumstances();
  INSERT INTO audit.entries (at, xid, cluster, actor, origin, impersonator, request_id,
                             table_name, action)
  VALUES (c.at, c.xid, c.cluster, c.actor, c.origin, c.impersonator, c.request_id,
          concat(TG_TABLE_SCHEMA, '.', TG_TABLE_NAME), 'truncate');
  RETURN NULL;
END
""",
)

NOTE: Final = Function(
    schema="audit",
    name="note",
    arguments="action text, about text, key text, tenant uuid, details jsonb",
    returns="void",
    language="plpgsql",
    options=DEFINER,
    body="""
DECLARE
  own uuid := nullif(current_setting('app.user_id', true), '')::uuid;
  c record;
BEGIN
  IF action IN ('insert', 'update', 'delete', 'truncate') THEN
    RAISE EXCEPTION 'changes of rows are written by their triggers alone'
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF current_setting('role') = 'tradekeep_desk' AND tenant <> ALL (
       coalesce(nullif(current_setting('app.tenants', true), ''), '{}')::uuid[]) THEN
    RAISE EXCEPTION 'limited staff write into the history of their own tenants alone'
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  SELECT * INTO c FROM audit.circumstances();
  -- A tenant writes into its own history, whatever it asks for.
  INSERT INTO audit.entries (at, xid, cluster, actor, origin, impersonator, request_id,
                             user_id, table_name, row_key, action, details)
  VALUES (c.at, c.xid, c.cluster, c.actor, c.origin, c.impersonator, c.request_id,
          CASE WHEN c.origin = 'user' THEN own ELSE tenant END, about, key, action, note.details);
END
""",
)

ENTRY_HASH: Final = """
sha256(convert_to(jsonb_build_array(
  e.id, e.xid, e.cluster::text, to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'),
  e.user_id, e.actor, e.origin, e.impersonator, e.request_id, e.action, e.table_name, e.row_key,
  e.old_values, e.new_values, e.details)::text, 'UTF8'))"""
"""Of an entry ``e``; never changed, or old seals break."""

ENTRIES_HASH: Final = f"""
encode(sha256(string_agg({ENTRY_HASH}, ''::bytea ORDER BY e.xid, e.id)), 'hex')"""

SEAL: Final = Function(
    schema="audit",
    name="seal",
    arguments="most integer",
    returns="SETOF audit.seals",
    language="plpgsql",
    options=DEFINER,
    body="""
DECLARE
  here bigint := (SELECT system_identifier FROM pg_control_system());
  horizon bigint;
  last audit.seals; made audit.seals;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('audit seal', 0));
  -- Taken after the lock: every transaction below it has ended, so nothing appears there any more.
  horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
  SELECT * INTO last FROM audit.seals ORDER BY number DESC LIMIT 1;
  made.number := coalesce(last.number, 0) + 1;
  made.previous_hash := coalesce(last.hash, '');
  made.from_xid := coalesce(last.to_xid, 0);
  made.cluster := coalesce(last.cluster, (SELECT e.cluster FROM audit.entries AS e
                                          ORDER BY e.at LIMIT 1));
  IF made.cluster <> here AND NOT EXISTS (
    SELECT FROM audit.entries AS e WHERE e.cluster = made.cluster AND e.xid >= made.from_xid
  ) THEN
    -- A copy on another server: what came with it is sealed, from here on that server counts.
    made.cluster := here;
    made.from_xid := 0;
  END IF;
  SELECT max(x.xid) + 1 INTO made.to_xid FROM (
    SELECT e.xid FROM audit.entries AS e
    WHERE e.cluster = made.cluster AND e.xid >= made.from_xid
      AND (made.cluster <> here OR e.xid < horizon)
    ORDER BY e.xid LIMIT most) AS x;
  IF made.to_xid IS NULL THEN
    RETURN;
  END IF;
  SELECT count(*), min(e.at), max(e.at),
         <entries_hash>
  INTO made.entries_count, made.first_at, made.last_at, made.entries_hash
  FROM audit.entries AS e
  WHERE e.cluster = made.cluster AND e.xid >= made.from_xid AND e.xid < made.to_xid;
  made.hash := encode(sha256(convert_to(concat_ws('|', made.number, made.cluster, made.from_xid,
    made.to_xid, made.entries_count, made.entries_hash, made.previous_hash), 'UTF8')), 'hex');
  made.sealed_at := clock_timestamp();
  INSERT INTO audit.seals SELECT made.*;
  RETURN NEXT made;
END
""".replace("<entries_hash>", ENTRIES_HASH.strip()),
)

declare(
    Base.metadata,
    REFUSE,
    CIRCUMSTANCES,
    KEEP_TRUNCATE,
    NOTE,
    SEAL,
    *(
        Trigger(
            "audit",
            table,
            "append_only",
            "BEFORE UPDATE OR DELETE OR TRUNCATE FOR EACH STATEMENT"
            " EXECUTE FUNCTION audit.refuse()",
        )
        for table in ("entries", "seals")
    ),
    # Statements on a partition do not fire the triggers of statements on its parent.
    Trigger(
        "audit",
        "entries",
        "append_only_rows",
        "BEFORE UPDATE OR DELETE FOR EACH ROW EXECUTE FUNCTION audit.refuse()",
    ),
    Policy("audit", "entries", "owner_reads", OWNER, command="SELECT", using="true"),
    Policy("audit", "entries", "owner_inserts", OWNER, command="INSERT", check="true"),
    *(
        Grant("EXECUTE", "FUNCTION audit.note(text, text, text, uuid, jsonb)", role)
        for role in ACTING
    ),
    Grant("EXECUTE", "FUNCTION audit.seal(integer)", STAFF),
)
