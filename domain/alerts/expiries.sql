-- For every active rule of the kind: days from :on until its contract expires, and its symbol.
WITH rules AS (
  SELECT id, user_id, instrument_id, portfolio_id, position_id
    FROM alerts.alerts
   WHERE status = 'active' AND alert_type = :kind
     AND (CAST(:tenant AS uuid) IS NULL OR user_id = CAST(:tenant AS uuid))
),
contracts AS (
  SELECT r.id, r.instrument_id FROM rules r
   WHERE r.position_id IS NULL AND r.instrument_id IS NOT NULL
   UNION ALL
  SELECT r.id, p.instrument_id FROM rules r
    JOIN trading.positions p ON p.user_id = r.user_id AND p.id = r.position_id
   WHERE p.status = 'open'
   UNION ALL
  SELECT r.id, p.instrument_id FROM rules r
    JOIN trading.positions p ON p.user_id = r.user_id AND p.portfolio_id = r.portfolio_id
   WHERE r.position_id IS NULL AND r.instrument_id IS NULL AND p.status = 'open'
   UNION ALL
  SELECT r.id, p.instrument_id FROM rules r
    JOIN market.instruments i ON i.underlying_id = r.instrument_id
    JOIN trading.positions p ON p.user_id = r.user_id AND p.instrument_id = i.id
   WHERE r.position_id IS NULL AND p.status = 'open'
     AND (r.portfolio_id IS NULL OR p.portfolio_id = r.portfolio_id)
)
SELECT DISTINCT ON (c.id) c.id, CAST(i.expires_on - CAST(:on AS date) AS numeric), i.symbol
  FROM contracts c
  JOIN market.instruments i ON i.id = c.instrument_id
 WHERE i.expires_on IS NOT NULL
 ORDER BY c.id, i.expires_on, i.symbol
