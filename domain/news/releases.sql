-- Stores what differs from what was known: a first value, a revision as a vintage of its own, a
-- correction of a vintage in place. The same value again is nothing new.
WITH incoming AS (
  SELECT DISTINCT ON (symbol, observed_on, vintage_on) *
    FROM unnest(:symbol, :observed_on, :vintage_on, :value, :is_preliminary, :revised_at, :source)
      WITH ORDINALITY AS i (symbol, observed_on, vintage_on, value, is_preliminary, revised_at,
                            source, n)
   ORDER BY symbol, observed_on, vintage_on, n DESC
),
listed AS (
  INSERT INTO news.economic_series (symbol, source)
  SELECT DISTINCT ON (symbol) symbol, source FROM incoming ORDER BY symbol
      ON CONFLICT (symbol) DO NOTHING
),
compared AS (
  SELECT i.*, known.vintage_on AS known_on, known.told AS known_told,
         lag(i.vintage_on) OVER before AS batch_on,
         lag(ROW (trim_scale(i.value), i.is_preliminary)::text) OVER before AS batch_told,
         ROW (trim_scale(i.value), i.is_preliminary)::text AS told
    FROM incoming i
    LEFT JOIN LATERAL (
      SELECT r.vintage_on, ROW (trim_scale(r.value), r.is_preliminary)::text AS told
        FROM news.economic_releases r
       WHERE r.symbol = i.symbol AND r.observed_on = i.observed_on
         AND r.vintage_on <= i.vintage_on
       ORDER BY r.vintage_on DESC
       LIMIT 1
    ) known ON true
  WINDOW before AS (PARTITION BY i.symbol, i.observed_on ORDER BY i.vintage_on)
),
written AS (
  INSERT INTO news.economic_releases
    (symbol, observed_on, vintage_on, value, is_preliminary, revised_at, source)
  SELECT symbol, observed_on, vintage_on, value, is_preliminary, revised_at, source
    FROM compared
   -- Rows compare as text: with NULL in them they would compare as unknown.
   WHERE CASE WHEN known_on IS NULL AND batch_on IS NULL THEN true
              WHEN known_on IS NULL OR batch_on > known_on THEN told <> batch_told
              ELSE told <> known_told END
   ORDER BY symbol, observed_on, vintage_on
      ON CONFLICT (symbol, observed_on, vintage_on) DO UPDATE
         SET value = excluded.value, is_preliminary = excluded.is_preliminary,
             revised_at = excluded.revised_at, source = excluded.source
  RETURNING (xmax = 0) AS is_new
)
SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM written
