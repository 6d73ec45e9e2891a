"""What the alerts schema has beside its tables: firings are facts, only their answer changes."""

from domain.db.objects import Function, Trigger, declare
from domain.db.orm import Base

REFUSE_CHANGE = Function(
    schema="alerts",
    name="refuse_change",
    arguments="",
    returns="trigger",
    language="plpgsql",
    body="""
DECLARE
  -- Generated columns are not computed yet in a BEFORE trigger. References go NULL with what they
  -- refer to.
  may_change CONSTANT text[] := ARRAY['acknowledged_at', 'acknowledged_by', 'resolved_at',
    'channels_notified', 'acknowledged', 'alert_id', 'instrument_id'];
BEGIN
  IF to_jsonb(OLD) - may_change = to_jsonb(NEW) - may_change
     AND (NEW.alert_id IS NULL OR NEW.alert_id = OLD.alert_id)
     AND (NEW.instrument_id IS NULL OR NEW.instrument_id = OLD.instrument_id) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END
""",
)

declare(
    Base.metadata,
    REFUSE_CHANGE,
    Trigger(
        schema="alerts",
        table="alert_events",
        name="append_only",
        definition="BEFORE UPDATE FOR EACH ROW EXECUTE FUNCTION alerts.refuse_change()",
    ),
)
