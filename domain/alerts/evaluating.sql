-- Claims and tells firings in one statement: rules are locked, every observation is folded into
-- their state, what fired becomes an event and a message, and the states are written back.
-- The same decisions in Python, with their reasons: domain/alerts/matching.py.
-- It runs with nested loops switched off: nobody can estimate how many rules a value meets, and a
-- loop over two lists of twenty thousand takes minutes. Where an index must be used, the lookup is
-- written as a subquery that nothing else can serve.
WITH RECURSIVE observed AS MATERIALIZED (
  SELECT *
    FROM unnest(:alert_type, :subject_id, :alert_id, :value, :previous, :at, :bar_at, :key, :note)
      WITH ORDINALITY AS o (alert_type, subject_id, alert_id, value, previous, at, bar_at, key,
                            note, n)
),
-- Locked in the order of their ids, so that two batches cannot wait for each other. At READ
-- COMMITTED a row that somebody else changed meanwhile comes back as it is now.
locked AS MATERIALIZED (
  SELECT a.*
    FROM alerts.alerts a
   WHERE a.status = 'active'
     AND (CAST(:tenant AS uuid) IS NULL OR a.user_id = CAST(:tenant AS uuid))
     AND a.id = ANY (ARRAY(
           SELECT w.id
             FROM (SELECT DISTINCT subject_id, alert_type FROM observed WHERE alert_id IS NULL) o
            CROSS JOIN LATERAL (
                    SELECT id FROM alerts.alerts
                     WHERE subject_id = o.subject_id AND alert_type = o.alert_type
                       AND status = 'active'
                    OFFSET 0) w
            UNION
           SELECT alert_id FROM observed WHERE alert_id IS NOT NULL))
   ORDER BY a.id
     FOR UPDATE
),
matched AS (
  SELECT l.id, o.*
    FROM locked l
    JOIN observed o ON o.subject_id = l.subject_id AND o.alert_type = l.alert_type
   WHERE o.alert_id IS NULL
   UNION ALL
  SELECT l.id, o.*
    FROM locked l
    JOIN observed o ON o.alert_id = l.id AND o.alert_type = l.alert_type
),
-- What each rule looks at, in order. An instant has one value, the last given. An event with a key
-- that was told before is left out.
queue AS MATERIALIZED (
  SELECT m.id AS rule_id, m.value, m.previous, m.at, m.bar_at, m.key, m.note,
         row_number() OVER (PARTITION BY m.id ORDER BY m.at, m.key NULLS FIRST) AS turn
    FROM (SELECT *, row_number() OVER (
                      PARTITION BY id, key, CASE WHEN key IS NULL THEN at END ORDER BY n DESC
                    ) AS repeated
            FROM matched) m
    JOIN locked l ON l.id = m.id
   WHERE m.repeated = 1
     AND (m.key IS NOT NULL OR l.last_evaluated_at IS NULL OR m.at > l.last_evaluated_at)
     AND (m.key IS NULL OR NOT EXISTS (
           SELECT FROM alerts.alert_events e
            WHERE e.user_id = l.user_id AND e.dedupe_key = m.id || ':' || m.key))
),
steps AS (
  SELECT id AS rule_id, 0::bigint AS turn, status, is_armed, last_value, last_evaluated_at,
         condition_since, last_triggered_at, last_period_at, trigger_count,
         false AS fires, NULL::numeric AS value, NULL::numeric AS previous,
         NULL::timestamptz AS at, NULL::timestamptz AS bar_at, NULL::text AS key,
         NULL::text AS note
    FROM locked
   UNION ALL
  SELECT s.rule_id, q.turn,
         CASE WHEN over.is_over THEN 'expired'
              WHEN fired.fires AND r.trigger_mode = 'once' THEN 'triggered'
              ELSE s.status END,
         CASE WHEN over.is_over THEN s.is_armed ELSE armed.is_armed AND NOT fired.fires END,
         CASE WHEN over.is_over OR q.at < s.last_evaluated_at THEN s.last_value ELSE q.value END,
         CASE WHEN over.is_over THEN s.last_evaluated_at
              ELSE greatest(s.last_evaluated_at, q.at) END,
         CASE WHEN over.is_over THEN s.condition_since
              WHEN fired.fires AND kind.is_crossing THEN NULL
              ELSE true_since.since END,
         CASE WHEN fired.fires THEN greatest(s.last_triggered_at, q.at)
              ELSE s.last_triggered_at END,
         CASE WHEN fired.fires THEN kind.period ELSE s.last_period_at END,
         s.trigger_count + fired.fires::integer,
         fired.fires, q.value, compared.previous, q.at, q.bar_at, q.key, q.note
    FROM steps s
    JOIN queue q ON q.rule_id = s.rule_id AND q.turn = s.turn + 1
    JOIN locked r ON r.id = s.rule_id
    CROSS JOIN LATERAL (
      SELECT r.condition IN ('crosses_above', 'crosses_below', 'crosses') AS is_crossing,
             coalesce(r.threshold, 0) AS low,
             coalesce(r.threshold_high, r.threshold, 0) AS high,
             r.hysteresis AS slack,
             CASE r.trigger_mode
               WHEN 'once_per_day' THEN date_trunc('day', q.at, 'UTC')
               WHEN 'once_per_bar' THEN coalesce(q.bar_at, date_trunc('minute', q.at, 'UTC'))
             END AS period
    ) kind
    CROSS JOIN LATERAL (
      SELECT coalesce(q.at >= r.expires_at, false) AS is_over
    ) over
    CROSS JOIN LATERAL (
      SELECT CASE r.condition WHEN 'pct_change' THEN coalesce(q.previous, s.last_value)
                              ELSE coalesce(s.last_value, q.previous) END AS previous
    ) compared
    CROSS JOIN LATERAL (
      SELECT s.is_armed
          OR q.key IS NOT NULL
          OR (NOT kind.is_crossing AND kind.period IS DISTINCT FROM s.last_period_at
              AND kind.period IS NOT NULL)
          OR coalesce(CASE r.condition
               WHEN 'above' THEN q.value <= low - slack
               WHEN 'crosses_above' THEN q.value <= low - slack
               WHEN 'below' THEN q.value >= low + slack
               WHEN 'crosses_below' THEN q.value >= low + slack
               WHEN 'crosses' THEN abs(q.value - low) >= slack
               WHEN 'equals' THEN q.value <> low AND abs(q.value - low) >= slack
               WHEN 'between' THEN (q.value < low AND q.value <= low - slack)
                                OR (q.value > high AND q.value >= high + slack)
               WHEN 'outside' THEN q.value BETWEEN low + slack AND high - slack
               WHEN 'pct_change' THEN compared.previous <> 0
                AND abs(q.value - compared.previous) * 100 < low * abs(compared.previous)
                AND abs(q.value - compared.previous) * 100
                    <= (low - slack) * abs(compared.previous)
               ELSE true END, false) AS is_armed
    ) armed
    CROSS JOIN LATERAL (
      SELECT CASE
        WHEN kind.is_crossing THEN CASE
          WHEN armed.is_armed
           AND ((r.condition <> 'crosses_below' AND compared.previous <= low AND q.value > low)
             OR (r.condition <> 'crosses_above' AND compared.previous >= low AND q.value < low))
          THEN q.at
          WHEN CASE r.condition
                 WHEN 'crosses_above' THEN q.value > low
                 WHEN 'crosses_below' THEN q.value < low
                 ELSE (q.value - low) * (compared.previous - low) > 0 END
          THEN s.condition_since END
        WHEN CASE r.condition
               WHEN 'above' THEN q.value > low
               WHEN 'below' THEN q.value < low
               WHEN 'between' THEN q.value BETWEEN low AND high
               WHEN 'outside' THEN q.value NOT BETWEEN low AND high
               WHEN 'equals' THEN q.value = low
               WHEN 'pct_change' THEN compared.previous <> 0
                AND abs(q.value - compared.previous) * 100 >= low * abs(compared.previous)
               ELSE q.value <> 0 END
        THEN CASE WHEN q.key IS NOT NULL THEN q.at ELSE coalesce(s.condition_since, q.at) END
      END AS since
    ) true_since
    CROSS JOIN LATERAL (
      SELECT NOT over.is_over
         AND armed.is_armed
         AND true_since.since IS NOT NULL
         AND (q.key IS NOT NULL
              OR q.at >= true_since.since + make_interval(secs => r.sustain_seconds))
         AND coalesce(q.at >= r.snoozed_until, true)
         AND (r.cooldown_seconds = 0 OR s.last_triggered_at IS NULL
              OR q.at >= s.last_triggered_at + make_interval(secs => r.cooldown_seconds))
         AND (kind.period IS NULL OR kind.period IS DISTINCT FROM s.last_period_at) AS fires
    ) fired
   WHERE s.status = 'active'
),
written AS (
  INSERT INTO alerts.alert_events
    (user_id, alert_id, instrument_id, alert_type, severity, title, message, source,
     observed_value, threshold, occurrence, dedupe_key, triggered_at, details)
  SELECT r.user_id, r.id, r.instrument_id, r.alert_type, r.severity, r.name, wording.message,
         'rule', s.value, r.threshold, s.trigger_count,
         r.id || ':' || coalesce(s.key, s.trigger_count::text), s.at,
         jsonb_strip_nulls(jsonb_build_object(
           'condition', r.condition, 'value', trim_scale(s.value)::text,
           'previous', trim_scale(s.previous)::text, 'threshold', trim_scale(r.threshold)::text,
           'threshold_high', trim_scale(r.threshold_high)::text, 'symbol', i.symbol,
           'bar_at', s.bar_at, 'key', s.key, 'note', s.note))
    FROM steps s
    JOIN locked r ON r.id = s.rule_id
    CROSS JOIN LATERAL (
      SELECT (SELECT symbol FROM market.instruments WHERE id = r.instrument_id) AS symbol
    ) i
    CROSS JOIN LATERAL (
      SELECT jsonb_build_object(
        'name', r.name, 'symbol', i.symbol, 'type', replace(r.alert_type, '_', ' '),
        'condition', replace(r.condition, '_', ' '),
        'threshold', trim_scale(r.threshold)::text,
        'threshold_high', trim_scale(r.threshold_high)::text,
        'value', trim_scale(s.value)::text, 'previous', trim_scale(s.previous)::text,
        'at', to_char(s.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC',
        'note', s.note) AS fields
    ) said
    CROSS JOIN LATERAL (
      SELECT coalesce(trim(string_agg(coalesce(part[2], said.fields ->> part[1], ''), ''
                                      ORDER BY nth)), r.name) AS message
        FROM regexp_matches(
               coalesce(r.message_template, CAST(:templates AS jsonb) ->> r.condition),
               '\{([a-z_]+)\}|([^{}]+)', 'g') WITH ORDINALITY AS found (part, nth)
    ) wording
   WHERE s.fires
      ON CONFLICT (user_id, dedupe_key) DO NOTHING
  RETURNING *
),
last AS MATERIALIZED (
  SELECT DISTINCT ON (rule_id) * FROM steps ORDER BY rule_id, turn DESC
),
counted AS (
  SELECT alert_id, count(*)::integer AS firings FROM written GROUP BY alert_id
),
moved AS (
  UPDATE alerts.alerts a
     SET status = last.status, is_armed = last.is_armed, last_value = last.last_value,
         last_evaluated_at = last.last_evaluated_at, condition_since = last.condition_since,
         last_triggered_at = last.last_triggered_at, last_period_at = last.last_period_at,
         trigger_count = a.trigger_count + coalesce(counted.firings, 0)
    FROM last
    LEFT JOIN counted ON counted.alert_id = last.rule_id
   WHERE a.id = last.rule_id AND last.turn > 0
     AND a.id = ANY (ARRAY(SELECT rule_id FROM last))
),
told AS (
  INSERT INTO messaging.outbox (topic, key, user_id, payload)
  SELECT CAST(:topic AS text), w.alert_id::text, w.user_id,
         jsonb_strip_nulls(jsonb_build_object(
           'type', CAST(:topic AS text), 'userId', w.user_id, 'alertId', w.alert_id, 'eventId', w.id,
           'symbol', w.details ->> 'symbol', 'alertType', w.alert_type,
           'condition', w.details ->> 'condition', 'currentValue', w.details ->> 'value',
           'threshold', w.details ->> 'threshold', 'severity', w.severity, 'title', w.title,
           'message', w.message, 'channels', to_jsonb(r.channels),
           'triggeredAt', to_char(w.triggered_at AT TIME ZONE 'UTC',
                                  'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
    FROM written w
    JOIN locked r ON r.id = w.alert_id
   ORDER BY w.triggered_at, w.alert_id, w.occurrence
)
SELECT * FROM written ORDER BY triggered_at, alert_id, occurrence
