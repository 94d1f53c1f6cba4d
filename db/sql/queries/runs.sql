-- add_run --
-- No row: another daily run is active, the day has had its automatic one, or a run has this key. Constraints decide.
INSERT INTO run (run_id, run_date, trigger, universe, phases, parameters, requested_by, original_run_id, idempotency_key)
VALUES (%(run_id)s, %(run_date)s, %(trigger)s, %(universe)s, %(phases)s, %(parameters)s, %(requested_by)s,
        %(original_run_id)s, %(idempotency_key)s)
ON CONFLICT DO NOTHING RETURNING run_id;

-- run_alive --
SELECT run_id FROM run WHERE kind = 'daily' AND status IN ('queued', 'running', 'cancelling');

-- run_of_key --
-- Whether it is for the same request, but for its day; then the day, and when the run was added.
SELECT run_id, trigger = %(trigger)s AND universe = %(universe)s AND phases = %(phases)s::text[]
               AND parameters = %(parameters)s::jsonb AND original_run_id IS NOT DISTINCT FROM %(original_run_id)s::uuid,
       run_date, created_at
  FROM run WHERE idempotency_key = %(idempotency_key)s;

-- processing --
-- The active daily run, and the progress of its open phase: symbols of its ended steps, and of all steps. coordinated: a
-- coordinator was active within the last minute, or the run is younger than a minute.
SELECT r.run_id, r.status, r.phases, r.phase, coalesce(r.started_at, r.created_at), coalesce(cardinality(r.symbols), 0),
       s.ended, s.every, greatest(r.created_at, l.renewed_at) > clock_timestamp() - interval '1 minute', clock_timestamp()
  FROM run r
  LEFT JOIN lease l ON l.unit = %(unit)s
 CROSS JOIN LATERAL (SELECT coalesce(sum(cardinality(t.symbols)) FILTER (WHERE t.status <> 'waiting'), 0)::int AS ended,
                            coalesce(sum(cardinality(t.symbols)), 0)::int AS every
                       FROM run_step t
                      WHERE t.run_id = r.run_id AND t.phase = r.phase AND t.status <> 'halved') AS s
 WHERE r.kind = 'daily' AND r.status IN ('queued', 'running', 'cancelling');

-- latest_daily_run --
SELECT run_id FROM run WHERE kind = 'daily' ORDER BY created_at DESC LIMIT 1;

-- is_run_alive --
SELECT EXISTS (SELECT FROM run WHERE kind = 'daily' AND status IN ('queued', 'running', 'cancelling'));

-- lock_run_alive --
SELECT run_id, run_date, trigger, universe, phases, parameters, status, phase, symbols, original_run_id,
       extract(epoch FROM clock_timestamp() - coalesce(started_at, clock_timestamp()))::float8,
       extract(epoch FROM clock_timestamp() - coalesce(phase_started_at, clock_timestamp()))::float8,
       extract(epoch FROM clock_timestamp())::float8
  FROM run WHERE kind = 'daily' AND status IN ('queued', 'running', 'cancelling')
   FOR UPDATE;

-- begin_run --
UPDATE run SET status = 'running', started_at = clock_timestamp(), symbols = %(symbols)s, definitions = %(definitions)s
 WHERE run_id = %(run_id)s;

-- add_note --
UPDATE run SET notes = notes || %(note)s::text WHERE run_id = %(run_id)s;

-- notes_of_run --
SELECT notes FROM run WHERE run_id = %(run_id)s;

-- look_again --
UPDATE run SET days_again = %(days)s WHERE run_id = %(run_id)s;

-- open_phase --
UPDATE run SET phase = %(phase)s, phase_started_at = clock_timestamp() WHERE run_id = %(run_id)s;

-- end_run --
UPDATE run SET status = %(status)s, ended_at = clock_timestamp(), error = %(error)s,
               started_at = coalesce(started_at, clock_timestamp()),
               symbols_processed = %(symbols_processed)s, symbols_failed = %(symbols_failed)s,
               indicators = %(indicators)s, patterns = %(patterns)s
 WHERE run_id = %(run_id)s;

-- cancel_run --
-- A run that has not begun is ended by the coordinator when it sees it.
UPDATE run SET status = 'cancelling'
 WHERE kind = 'daily' AND status IN ('queued', 'running', 'cancelling') RETURNING run_id;

-- tell_runs_changed --
NOTIFY tickstock_runs;

-- listen_runs --
LISTEN tickstock_runs;

-- runs --
SELECT run_id, run_date, trigger, universe, phases, status, phase, requested_by, original_run_id, symbols_processed,
       symbols_failed, indicators, patterns, error, created_at, started_at, ended_at, coalesce(cardinality(symbols), 0), due_at
  FROM run
 WHERE kind = 'daily' AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
   AND (%(days)s::int IS NULL OR created_at > clock_timestamp() - make_interval(days => %(days)s))
 ORDER BY created_at DESC LIMIT %(limit)s;

-- symbols_of_runs --
-- Every symbol with bars in the days before: a symbol is registered with its first bar.
SELECT s.symbol FROM symbols s
 WHERE EXISTS (SELECT FROM ohlcv_1min o WHERE o.symbol = s.symbol
                  AND o."timestamp" BETWEEN %(first)s AND %(last)s)
    OR EXISTS (SELECT FROM ohlcv_daily d WHERE d.symbol = s.symbol AND d.date BETWEEN %(first)s AND %(last)s)
 ORDER BY s.symbol COLLATE "C";

-- symbols_without_bars --
-- Those of some symbols that no run can be about.
SELECT w.symbol FROM unnest(%(symbols)s::text[]) AS w (symbol)
 WHERE NOT EXISTS (SELECT FROM ohlcv_daily d WHERE d.symbol = w.symbol AND d.date BETWEEN %(first)s AND %(last)s)
   AND NOT EXISTS (SELECT FROM ohlcv_1min o WHERE o.symbol = w.symbol
                      AND o."timestamp" BETWEEN %(first)s AND %(last)s)
 ORDER BY w.symbol COLLATE "C";

-- failed_symbols_of_run --
-- For a retry: symbols of failed steps, and failed symbols of done steps.
SELECT DISTINCT symbol FROM (
    SELECT unnest(symbols) AS symbol FROM run_step WHERE run_id = %(run_id)s AND status IN ('failed', 'cancelled', 'waiting')
    UNION ALL
    SELECT jsonb_object_keys(failed_symbols) FROM run_step WHERE run_id = %(run_id)s
) AS s ORDER BY 1;

-- failures_of_run --
-- Symbol *: a question for all symbols at once.
SELECT DISTINCT ON (symbol, CASE WHEN symbol = '*' THEN why END) symbol, phase, why FROM (
    SELECT unnest(symbols) AS symbol, phase, coalesce(error, status) AS why FROM run_step
     WHERE run_id = %(run_id)s AND status IN ('failed', 'cancelled')
    UNION ALL
    SELECT e.key, s.phase, e.value FROM run_step s, jsonb_each_text(s.failed_symbols) AS e WHERE s.run_id = %(run_id)s
    UNION ALL
    SELECT '*', phase, concat_ws(': ', nullif(timeframe, ''), coalesce(detail ->> 'error', error)) FROM run_step
     WHERE run_id = %(run_id)s AND cardinality(symbols) = 0 AND coalesce(detail ->> 'error', error) IS NOT NULL
) AS s ORDER BY symbol, CASE WHEN symbol = '*' THEN why END, phase;

-- add_run_result --
-- The row lock is held until the commit: the order of the numbers is the order of the commits.
WITH next AS (UPDATE run_result SET number = number + 1 RETURNING number)
INSERT INTO outbox (partition, number, kind, body)
SELECT -1, next.number, %(kind)s, %(body)s FROM next RETURNING number;

-- raise_run_result --
UPDATE run_result SET number = %(number)s WHERE number < %(number)s RETURNING number;

-- last_run_result --
SELECT number FROM run_result FOR UPDATE;

-- phase_seconds --
-- Seconds since the open phase of a run began.
SELECT extract(epoch FROM coalesce(ended_at, clock_timestamp()) - phase_started_at)::float8 FROM run WHERE run_id = %(run_id)s;
