-- For every active rule of the kind: the short option that is deepest in the money, by how much a
-- unit of the underlying, and a note with the contract and its days.
WITH rules AS (
  SELECT id, user_id, instrument_id, portfolio_id, position_id,
         CASE jsonb_typeof(conditions -> 'within_days')
           WHEN 'number' THEN CAST(conditions ->> 'within_days' AS numeric) END AS within_days
    FROM alerts.alerts
   WHERE status = 'active' AND alert_type = :kind
     AND (CAST(:tenant AS uuid) IS NULL OR user_id = CAST(:tenant AS uuid))
),
held AS (
  SELECT r.id, r.within_days, i.symbol, i.option_type, i.strike, i.expires_on, i.underlying_id
    FROM rules r
    JOIN trading.positions p ON p.user_id = r.user_id AND p.status = 'open' AND p.quantity < 0
    JOIN market.instruments i ON i.id = p.instrument_id AND i.kind = 'option'
   WHERE (r.position_id IS NULL OR p.id = r.position_id)
     AND (r.portfolio_id IS NULL OR p.portfolio_id = r.portfolio_id)
     AND (r.instrument_id IS NULL OR r.instrument_id IN (i.id, i.underlying_id))
)
SELECT DISTINCT ON (h.id) h.id, worth.inside,
       h.symbol || ', ' || (h.expires_on - CAST(:on AS date)) || ' days'
  FROM held h
  JOIN market.latest_prices l ON l.instrument_id = h.underlying_id
 CROSS JOIN LATERAL (
   SELECT CASE h.option_type WHEN 'call' THEN l.price - h.strike ELSE h.strike - l.price END
            AS inside
 ) worth
 WHERE h.expires_on >= CAST(:on AS date)
   AND (h.within_days IS NULL OR h.expires_on - CAST(:on AS date) <= h.within_days)
 ORDER BY h.id, worth.inside DESC, h.symbol
