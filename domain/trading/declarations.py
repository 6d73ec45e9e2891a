"""What the trading schema has beside its tables: append-only triggers and the round-trip view."""

from domain.db.objects import Function, Trigger, View, declare
from domain.db.orm import Base

REFUSE_CHANGE = Function(
    schema="trading",
    name="refuse_change",
    arguments="",
    returns="trigger",
    language="plpgsql",
    body="""
BEGIN
  -- Generated columns are not computed yet in a BEFORE trigger.
  IF TG_OP = 'UPDATE'
     AND to_jsonb(OLD) - ARRAY['status', 'signed_quantity']
       = to_jsonb(NEW) - ARRAY['status', 'signed_quantity']
     AND OLD.status <> 'reverted' AND NEW.status <> 'booked' THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION '%.% is append-only: book a correction instead', TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END
""",
)

ROUND_TRIPS = View(
    schema="trading",
    name="round_trips",
    comment="Closed position cycles, one row each, in the shape of nof0's trades",
    definition="""
SELECT p.id,
       p.user_id,
       p.portfolio_id,
       p.instrument_id,
       i.symbol,
       p.side,
       p.peak_quantity AS quantity,
       p.entry_price,
       p.exit_price,
       p.opened_at AS entry_at,
       p.closed_at AS exit_at,
       (extract(epoch FROM p.opened_at) * 1000)::bigint AS entry_ts_ms,
       (extract(epoch FROM p.closed_at) * 1000)::bigint AS exit_ts_ms,
       p.realized_gross_pnl,
       p.realized_fees AS total_commission,
       p.realized_pnl AS realized_net_pnl,
       p.currency,
       coalesce(p.leverage, o.leverage) AS leverage,
       coalesce(p.confidence, o.confidence) AS confidence,
       p.side AS trade_type,
       o.external_id AS entry_oid,
       l.external_id AS exit_oid
  FROM trading.positions p
  JOIN market.instruments i ON i.id = p.instrument_id
  LEFT JOIN trading.trades o ON o.user_id = p.user_id AND o.id = p.opening_trade_id
  LEFT JOIN trading.trades l ON l.user_id = p.user_id AND l.id = p.last_trade_id
 WHERE p.status = 'closed'
""",
)

declare(
    Base.metadata,
    REFUSE_CHANGE,
    *(
        Trigger(
            schema="trading",
            table=table,
            name="append_only",
            definition="BEFORE UPDATE OR DELETE FOR EACH ROW"
            " EXECUTE FUNCTION trading.refuse_change()",
        )
        for table in ("trades", "cash_movements")
    ),
    ROUND_TRIPS,
)
