-- active_session --
SELECT session_id::text, universe, started_at, stopped_at, patterns, indicators FROM streaming_session
 WHERE stopped_at IS NULL;

-- last_session --
SELECT session_id::text, universe, started_at, stopped_at, patterns, indicators FROM streaming_session
 ORDER BY started_at DESC LIMIT 1;

-- reopen_session --
-- After a quick restart of the bridge, continue the session that the bridge stopped at its end. (The market's close would have
-- stopped it as well.)
UPDATE streaming_session SET stopped_at = NULL
 WHERE session_id = (SELECT session_id FROM streaming_session ORDER BY started_at DESC LIMIT 1)
   AND universe = %(universe)s AND stopped_at >= %(at)s::timestamptz - make_interval(secs => %(within_s)s);

-- start_session --
-- If another bridge was faster, use its session.
INSERT INTO streaming_session (session_id, universe, started_at)
VALUES (%(session_id)s::uuid, %(universe)s, %(at)s) ON CONFLICT DO NOTHING;

-- count_session --
-- Absolute numbers: repeated after a lost answer, or by a stalled bridge, they change nothing.
UPDATE streaming_session
   SET patterns = greatest(patterns, %(patterns)s), indicators = greatest(indicators, %(indicators)s)
 WHERE session_id = %(session_id)s::uuid AND stopped_at IS NULL;

-- stop_session --
UPDATE streaming_session
   SET stopped_at = coalesce(stopped_at, %(at)s),
       patterns = greatest(patterns, %(patterns)s), indicators = greatest(indicators, %(indicators)s)
 WHERE session_id = %(session_id)s::uuid;

-- former_bridge --
-- Whether another bridge was active shortly before this one took the lease, and when.
SELECT coalesce(idle_since > clock_timestamp() - make_interval(secs => %(within_s)s), false), idle_since
  FROM lease WHERE unit = 'bridge';

-- has_cache_entries --
-- The application's table of universes; without the application it does not exist.
SELECT to_regclass('cache_entries') IS NOT NULL;

-- universe_size --
-- NAME:KEY is a universe; its value is a list, {"symbols": […]} or {"stocks": […]}, as jsonb, json or text.
SELECT CASE WHEN jsonb_typeof(value) = 'array' THEN jsonb_array_length(value)
            WHEN jsonb_typeof(value -> 'symbols') = 'array' THEN jsonb_array_length(value -> 'symbols')
            WHEN jsonb_typeof(value -> 'stocks') = 'array' THEN jsonb_array_length(value -> 'stocks') END
  FROM (SELECT value::text::jsonb AS value FROM cache_entries WHERE name || ':' || key = %(universe)s) AS entry;

-- active_symbol_count --
SELECT count(*) FROM symbols WHERE coalesce(active, true);

-- log_bridge_event --
-- The bridge's own events in the flow log: no symbol, no pattern.
SELECT log_integration_event(%(flow_id)s::uuid, %(event_type)s, 'TickStockPL', %(checkpoint)s, NULL, NULL, NULL, NULL,
                             NULL, %(details)s::jsonb);

-- worker_counts --
-- All rows, including those of ended workers: one that returns with its old name must not look new.
SELECT w.consumer, CASE WHEN isfinite(w.started_at) THEN w.started_at END, l.unit IS NOT NULL AS living,
       (extract(epoch FROM clock_timestamp()) - extract(epoch FROM w.updated_at))::float8 AS idle_s,
       (extract(epoch FROM w.updated_at) - extract(epoch FROM w.started_at))::float8 AS age_s,
       w.ticks, w.bars, w.cpu_s, w.memory_mb, w.lag_ms, w.undetected
  FROM worker w
  LEFT JOIN lease l ON l.unit = 'consumer:' || w.consumer AND l.owner IS NOT NULL AND l.expires_at >= clock_timestamp();

-- partitions_owned --
SELECT count(*) FROM lease
 WHERE unit ~ '^partition:[0-9]+$' AND owner IS NOT NULL AND expires_at >= clock_timestamp();

-- committed_positions --
SELECT partition, position FROM checkpoint ORDER BY partition;

-- symbol_freshness --
-- Each symbol's newest bar (one index step each), compared with the newest of all; ages in minutes.
WITH newest AS MATERIALIZED (
    SELECT s.symbol::text AS symbol, b.minute
      FROM symbols s
     CROSS JOIN LATERAL (SELECT r.minute FROM recent_bar r WHERE r.symbol = s.symbol::text COLLATE "C"
                          ORDER BY r.minute DESC LIMIT 1) AS b),
aged AS (SELECT symbol, (SELECT max(minute) FROM newest) - minute AS age FROM newest),
stale AS (SELECT symbol FROM aged WHERE age > %(active)s AND age <= %(stale)s)
SELECT (SELECT count(*) FROM aged WHERE age <= %(active)s), (SELECT count(*) FROM stale),
       ARRAY(SELECT symbol FROM stale ORDER BY symbol COLLATE "C" LIMIT %(listed)s);

-- dead_letters_since --
-- A transaction may commit a lower id a moment after a higher one was seen: rows younger than settle_s wait.
SELECT reason, count(*), max(id) FROM dead_letter
 WHERE id > %(seen)s AND created_at <= clock_timestamp() - make_interval(secs => %(settle_s)s)
 GROUP BY reason ORDER BY count(*) DESC, reason;

-- last_dead_letter_before --
-- Down the primary key until one is old enough: one step if few are new. Without a time: any row.
SELECT coalesce((SELECT id FROM dead_letter
                  WHERE created_at <= coalesce(%(at)s::timestamptz, 'infinity') ORDER BY id DESC LIMIT 1), 0);

-- ticks_lost --
SELECT least(coalesce(sum(lost), 0), 9223372036854775807)::bigint FROM ledger;
