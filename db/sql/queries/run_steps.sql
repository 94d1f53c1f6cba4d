-- add_run_steps --
INSERT INTO run_step (run_id, phase, timeframe, batch, symbols, token, stage, not_before)
SELECT %(run_id)s, %(phase)s, t.timeframe, s.batch, ARRAY(SELECT jsonb_array_elements_text(s.symbols)),
       (random() * 9e18)::bigint, %(stage)s, coalesce(%(not_before)s::timestamptz, '-infinity')
  FROM unnest(%(timeframes)s::text[]) AS t (timeframe),
       ROWS FROM (jsonb_array_elements(%(batches)s::jsonb)) WITH ORDINALITY AS s (symbols, batch);

-- add_question_steps --
-- Steps that ask a vendor for all symbols of the run at once. They are in the first stages of the phase.
INSERT INTO run_step (run_id, phase, timeframe, batch, symbols, token, stage, weight, not_before)
SELECT %(run_id)s, %(phase)s, q.question, 1, '{}', (random() * 9e18)::bigint, q.stage, %(weight)s,
       coalesce(q.not_before, '-infinity')
  FROM unnest(%(questions)s::text[], %(stages)s::int[], %(not_before)s::timestamptz[]) AS q (question, stage, not_before);

-- waiting_steps --
-- The due steps of the first stage that has not ended.
SELECT s.phase, s.timeframe, s.batch, s.token FROM run_step s
 WHERE s.run_id = %(run_id)s AND s.status = 'waiting' AND s.not_before <= clock_timestamp()
   AND s.stage = (SELECT min(f.stage) FROM run_step f WHERE f.run_id = %(run_id)s AND f.status = 'waiting');

-- phase_progress --
-- Of one phase: symbols of all steps, of ended ones, rows found, the last symbol done; numbers of waiting, done and
-- failed steps; seconds to wait for a vendor.
SELECT coalesce(sum(coalesce(weight, cardinality(symbols))), 0)::int,
       coalesce(sum(coalesce(weight, cardinality(symbols))) FILTER (WHERE status <> 'waiting'), 0)::int,
       coalesce(sum(found), 0)::bigint,
       (SELECT l.symbols[cardinality(l.symbols)] FROM run_step l
         WHERE l.run_id = %(run_id)s AND l.phase = %(phase)s AND l.status = 'done' ORDER BY l.ended_at DESC LIMIT 1),
       count(*) FILTER (WHERE status = 'waiting'), count(*) FILTER (WHERE status = 'done'),
       count(*) FILTER (WHERE status = 'failed'),
       coalesce(greatest(0, extract(epoch FROM max(greatest(not_before, waits_until)) FILTER (WHERE status = 'waiting'
                                                                               AND greatest(not_before, waits_until) > '-infinity')
                                               - clock_timestamp())), 0)::float8
  FROM run_step WHERE run_id = %(run_id)s AND phase = %(phase)s AND status <> 'halved';

-- phase_failures --
-- The number of symbols that failed in a phase.
SELECT count(DISTINCT symbol) FROM (
    SELECT unnest(symbols) AS symbol FROM run_step
     WHERE run_id = %(run_id)s AND (%(phase)s::text IS NULL OR phase = %(phase)s) AND status IN ('failed', 'cancelled')
    UNION ALL
    SELECT jsonb_object_keys(failed_symbols) FROM run_step
     WHERE run_id = %(run_id)s AND (%(phase)s::text IS NULL OR phase = %(phase)s)
) AS s;

-- run_totals --
-- Values, detections, symbols for which everything was done, and why steps failed.
SELECT coalesce(sum(found) FILTER (WHERE phase = 'indicators'), 0)::bigint,
       coalesce(sum(found) FILTER (WHERE phase = 'patterns'), 0)::bigint,
       (SELECT count(*) FROM (
            SELECT unnest(symbols) AS symbol FROM run_step WHERE run_id = %(run_id)s AND status = 'done'
            EXCEPT (SELECT unnest(symbols) FROM run_step WHERE run_id = %(run_id)s AND status IN ('failed', 'cancelled')
                    UNION ALL SELECT jsonb_object_keys(failed_symbols) FROM run_step WHERE run_id = %(run_id)s)) AS s),
       (SELECT string_agg(DISTINCT error, '; ') FROM run_step WHERE run_id = %(run_id)s AND status = 'failed')
  FROM run_step WHERE run_id = %(run_id)s;

-- cancel_steps --
-- With another token, so that a running attempt cannot commit.
UPDATE run_step SET status = 'cancelled', token = token # 1, ended_at = clock_timestamp()
 WHERE run_id = %(run_id)s AND status = 'waiting';

-- halve_failed_steps --
-- A batch that keeps failing is split, until the symbol that causes it is alone.
WITH halved AS (
    UPDATE run_step SET status = 'halved' WHERE run_id = %(run_id)s AND phase = %(phase)s AND status = 'failed'
       AND cardinality(symbols) > 1 RETURNING *
)
INSERT INTO run_step (run_id, phase, timeframe, batch, symbols, token, stage)
SELECT h.run_id, h.phase, h.timeframe,
       (SELECT max(s.batch) FROM run_step s WHERE s.run_id = h.run_id AND s.phase = h.phase AND s.timeframe = h.timeframe)
         + row_number() OVER (PARTITION BY h.timeframe ORDER BY h.batch, half.first), half.symbols, (random() * 9e18)::bigint, h.stage
  FROM halved h CROSS JOIN LATERAL (VALUES (1, h.symbols[:cardinality(h.symbols) / 2]),
                                           (2, h.symbols[cardinality(h.symbols) / 2 + 1:])) AS half (first, symbols);

-- read_step --
-- No row: it is done, or dealt again with another token.
SELECT symbols, attempt FROM run_step
 WHERE run_id = %(run_id)s AND phase = %(phase)s AND timeframe = %(timeframe)s AND batch = %(batch)s
   AND token = %(token)s AND status = 'waiting';

-- lock_step --
-- As read_step; a second process with the same attempt waits here, and then finds nothing.
SELECT symbols, attempt FROM run_step
 WHERE run_id = %(run_id)s AND phase = %(phase)s AND timeframe = %(timeframe)s AND batch = %(batch)s
   AND token = %(token)s AND status = 'waiting' FOR UPDATE;

-- read_pinned_run --
SELECT run_date, parameters, definitions, symbols, days_again FROM run WHERE run_id = %(run_id)s;

-- end_step --
-- Only for the attempt that computed it. No row: the token has changed, commit nothing.
UPDATE run_step SET status = 'done', found = %(found)s, changed = %(changed)s, failed_symbols = %(failed)s,
                    detail = %(detail)s, waits_until = NULL, done_by = %(done_by)s, ended_at = clock_timestamp(), error = NULL
 WHERE run_id = %(run_id)s AND phase = %(phase)s AND timeframe = %(timeframe)s AND batch = %(batch)s
   AND token = %(token)s AND status = 'waiting' RETURNING batch;

-- fail_step --
UPDATE run_step SET error = %(error)s, token = token # 1, attempt = attempt + 1,
                    not_before = clock_timestamp() + make_interval(secs => 0.2 * 2 ^ attempt),
                    status = CASE WHEN attempt >= %(attempts)s THEN 'failed' ELSE 'waiting' END,
                    ended_at = CASE WHEN attempt >= %(attempts)s THEN clock_timestamp() END
 WHERE run_id = %(run_id)s AND phase = %(phase)s AND timeframe = %(timeframe)s AND batch = %(batch)s
   AND token = %(token)s AND status = 'waiting';

-- note_wait --
-- The vendor accepts no request for this time; the progress of the run shows the wait.
UPDATE run_step SET waits_until = clock_timestamp() + make_interval(secs => %(seconds)s)
 WHERE run_id = %(run_id)s AND phase = %(phase)s AND timeframe = %(timeframe)s AND batch = %(batch)s AND token = %(token)s;

-- questions_of_run --
-- The questions of a phase to a vendor, with their details.
SELECT timeframe, detail FROM run_step
 WHERE run_id = %(run_id)s AND phase = %(phase)s AND cardinality(symbols) = 0 ORDER BY timeframe;

-- sources_of_run --
-- The number of daily bars from each source.
SELECT e.key, sum(e.value::bigint)::bigint FROM run_step s, jsonb_each_text(s.detail -> 'rows') AS e
 WHERE s.run_id = %(run_id)s GROUP BY e.key ORDER BY e.key;
