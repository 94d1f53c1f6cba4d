-- add_upkeep_tasks --
INSERT INTO upkeep (task) SELECT unnest(%(tasks)s::text[]) ON CONFLICT DO NOTHING;

-- claim_upkeep --
-- The step that has been due for longest and that no other process does now.
SELECT task, after FROM upkeep
 WHERE task = ANY (%(tasks)s::text[]) AND next_at <= clock_timestamp()
 ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED;

-- limit_upkeep --
-- Other work on the table has priority.
SELECT set_config('lock_timeout', '100ms', true), set_config('statement_timeout', '2s', true);

-- put_off_upkeep --
UPDATE upkeep
   SET next_at = clock_timestamp() + make_interval(secs => %(wait_s)s), after = %(after)s,
       deleted = deleted + %(deleted)s, refused = %(refused)s
 WHERE task = %(task)s;

-- table_walk --
-- Whether a table has parts (partitioned, a hypertable), and whether an index starts with its id.
SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid),
       EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = c.oid AND a.attname = 'id' AND i.indpred IS NULL)
  FROM pg_class c WHERE c.oid = to_regclass(%(table)s);

-- symbols_of_bars --
-- The next symbols that have bars, one step down the key for each.
WITH RECURSIVE walk AS (
    (SELECT symbol FROM recent_bar WHERE symbol > %(after)s COLLATE "C" ORDER BY symbol LIMIT 1)
    UNION ALL
    SELECT (SELECT b.symbol FROM recent_bar b WHERE b.symbol > w.symbol ORDER BY b.symbol LIMIT 1)
      FROM walk w WHERE w.symbol IS NOT NULL)
SELECT symbol FROM walk WHERE symbol IS NOT NULL LIMIT %(count)s;

-- forget_bars --
-- Delete bars that were not written for this number of days, unless they are among the last `kept` regular ones of their
-- symbol, or newer; or, if it has fewer of these, among its last `most_kept`. Not of an unfinished replay: its minutes
-- may still grow. Our table is a plain one, so a ctid is one row.
WITH gone AS (
    DELETE FROM recent_bar WHERE ctid = ANY (ARRAY(
        SELECT old.ctid
          FROM unnest(%(symbols)s::text[]) AS of (symbol)
         CROSS JOIN LATERAL (SELECT coalesce(
               (SELECT r.minute FROM (SELECT b.minute FROM recent_bar b WHERE b.symbol = of.symbol COLLATE "C"
                                       ORDER BY b.minute DESC LIMIT %(most_kept)s) AS r
                 WHERE EXISTS (SELECT FROM always_open a WHERE a.symbol IN (of.symbol, '*'))
                    OR is_regular_bar(r.minute, 1, %(half_days)s::date[])
                 ORDER BY r.minute DESC OFFSET %(kept)s - 1 LIMIT 1),
               (SELECT b.minute FROM recent_bar b WHERE b.symbol = of.symbol COLLATE "C"
                 ORDER BY b.minute DESC OFFSET %(most_kept)s - 1 LIMIT 1)) AS minute) AS oldest
         CROSS JOIN LATERAL (SELECT b.ctid FROM recent_bar b
                              WHERE b.symbol = of.symbol COLLATE "C" AND b.written_day < %(day)s
                                AND b.minute < oldest.minute AND b.minute < %(day)s * 1440 AND b.feed <> ALL (%(unfinished)s)
                              ORDER BY b.minute LIMIT %(most)s FOR UPDATE SKIP LOCKED) AS old
         LIMIT %(most)s))
    RETURNING minute, feed, trades),
noted AS (
    INSERT INTO forgotten_bar AS f (timeframe, before)
    SELECT 1, max(minute) + 1 FROM gone HAVING count(*) > 0
        ON CONFLICT (timeframe) DO UPDATE SET before = greatest(f.before, excluded.before)),
-- The audit compares a replay's ticks with its bars: these bars still count, though they are deleted here.
pruned AS (
    INSERT INTO replaced AS r (partition, by_feed, feed, bars, taken_away, cut, ticks)
    SELECT 0, 'pruned', g.feed, count(*), 0, 0, sum(g.trades)::bigint FROM gone g
     WHERE EXISTS (SELECT FROM replay p WHERE p.name = g.feed) GROUP BY g.feed
        ON CONFLICT (partition, by_feed, feed) DO UPDATE SET bars = r.bars + excluded.bars, ticks = r.ticks + excluded.ticks)
SELECT count(*) FROM gone;

-- forget_higher_bars --
WITH gone AS (
    DELETE FROM recent_higher_bar WHERE ctid = ANY (ARRAY(
        SELECT old.ctid
          FROM unnest(%(symbols)s::text[]) AS of (symbol)
         CROSS JOIN unnest(ARRAY[5, 15, 30, 60]::smallint[]) AS its (timeframe)
         CROSS JOIN LATERAL (SELECT coalesce(
               (SELECT r.minute FROM (SELECT b.minute FROM recent_higher_bar b
                                       WHERE b.symbol = of.symbol COLLATE "C" AND b.timeframe = its.timeframe
                                       ORDER BY b.minute DESC LIMIT %(most_kept)s) AS r
                 WHERE EXISTS (SELECT FROM always_open a WHERE a.symbol IN (of.symbol, '*'))
                    OR is_regular_bar(r.minute, its.timeframe, %(half_days)s::date[])
                 ORDER BY r.minute DESC OFFSET %(kept)s - 1 LIMIT 1),
               (SELECT b.minute FROM recent_higher_bar b
                 WHERE b.symbol = of.symbol COLLATE "C" AND b.timeframe = its.timeframe
                 ORDER BY b.minute DESC OFFSET %(most_kept)s - 1 LIMIT 1)) AS minute) AS oldest
         CROSS JOIN LATERAL (SELECT b.ctid FROM recent_higher_bar b
                              WHERE b.symbol = of.symbol COLLATE "C" AND b.timeframe = its.timeframe
                                AND b.written_day < %(day)s AND b.minute < oldest.minute AND b.minute < %(day)s * 1440
                              ORDER BY b.minute LIMIT %(most)s FOR UPDATE SKIP LOCKED) AS old
         LIMIT %(most)s))
    RETURNING timeframe, minute),
noted AS (
    INSERT INTO forgotten_bar AS f (timeframe, before)
    SELECT timeframe, max(minute) + 1 FROM gone GROUP BY timeframe
        ON CONFLICT (timeframe) DO UPDATE SET before = greatest(f.before, excluded.before))
SELECT count(*) FROM gone;

-- unfinished_replays --
-- As long as their rows exist.
SELECT r.name FROM replay r
 WHERE (SELECT count(*) FROM finished_replay f WHERE f.replay = r.name)
       < coalesce(r.partitions, (SELECT count(*) FROM checkpoint));

-- database_day --
SELECT floor(extract(epoch FROM now()) / 86400)::integer;

-- mark_pattern_ids --
-- Once a day, record the current ids, and delete the marks that no limit needs any more.
INSERT INTO id_mark (task, day, last_id) SELECT 'patterns', current_date, coalesce(max(id), 0) FROM intraday_patterns
    ON CONFLICT DO NOTHING;

-- mark_event_ids --
INSERT INTO id_mark (task, day, last_id) SELECT 'events', current_date, coalesce(max(id), 0) FROM integration_events
    ON CONFLICT DO NOTHING;

-- mark_indicator_ids --
INSERT INTO id_mark (task, day, last_id) SELECT 'indicators', current_date, coalesce(max(id), 0) FROM intraday_indicators
    ON CONFLICT DO NOTHING;

-- last_marked_id --
-- The newest id older than this number of days; earlier marks are no longer needed.
WITH mark AS (
    SELECT max(day) AS day FROM id_mark WHERE task = %(task)s AND day < current_date - %(days)s::integer),
gone AS (
    DELETE FROM id_mark USING mark WHERE task = %(task)s AND id_mark.day < mark.day)
SELECT m.last_id FROM id_mark m JOIN mark USING (day) WHERE m.task = %(task)s;

-- forget_patterns --
WITH old AS (
    SELECT id FROM intraday_patterns WHERE id > %(after)s::bigint AND id <= %(last)s ORDER BY id LIMIT %(most)s),
gone AS (DELETE FROM intraday_patterns WHERE id = ANY (ARRAY(SELECT id FROM old)) RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT max(id) FROM old);

-- forget_flows --
-- After their rows: a flow deleted first would look new, and would be stored twice.
WITH next AS MATERIALIZED (
    SELECT flow_id, pattern_id FROM detection_flow WHERE flow_id > %(after)s::uuid ORDER BY flow_id LIMIT %(most)s),
gone AS (
    DELETE FROM detection_flow
     WHERE flow_id = ANY (ARRAY(
        SELECT n.flow_id FROM next n
         WHERE n.pattern_id <= %(last)s AND NOT EXISTS (SELECT FROM intraday_patterns p WHERE p.id = n.pattern_id)))
    RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT flow_id FROM next ORDER BY flow_id DESC LIMIT 1);

-- forget_events --
WITH old AS (
    SELECT id FROM integration_events WHERE id > %(after)s::bigint AND id <= %(last)s ORDER BY id LIMIT %(most)s),
gone AS (DELETE FROM integration_events WHERE id = ANY (ARRAY(SELECT id FROM old)) RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT max(id) FROM old);

-- forget_indicators --
WITH old AS (
    SELECT id FROM intraday_indicators WHERE id > %(after)s::bigint AND id <= %(last)s ORDER BY id LIMIT %(most)s),
gone AS (DELETE FROM intraday_indicators WHERE id = ANY (ARRAY(SELECT id FROM old)) RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT max(id) FROM old);

-- forget_dead_letters --
-- Also by their number: anybody who may write to the front door could fill the disk.
WITH bound AS (
    SELECT coalesce((SELECT id FROM dead_letter ORDER BY id DESC OFFSET %(letters)s LIMIT 1), 0) AS id),
old AS (
    SELECT d.id FROM (SELECT id, created_at FROM dead_letter ORDER BY id LIMIT %(most)s) AS d, bound
     WHERE d.id <= bound.id OR d.created_at < clock_timestamp() - make_interval(days => %(days)s)),
gone AS (DELETE FROM dead_letter WHERE id = ANY (ARRAY(SELECT id FROM old)) RETURNING 1)
SELECT count(*) FROM gone;

-- forget_leases --
-- Names of processes, by the key; a process that returns creates its name again.
WITH next AS MATERIALIZED (
    SELECT unit, owner, expires_at, renewed_at FROM lease WHERE unit > %(after)s ORDER BY unit LIMIT %(most)s),
gone AS (
    DELETE FROM lease l USING next n
     WHERE l.unit = ANY (ARRAY(SELECT unit FROM next)) AND l.unit = n.unit
       AND (starts_with(l.unit, 'producer:') OR starts_with(l.unit, 'consumer:'))
       AND (l.owner IS NULL OR l.expires_at < clock_timestamp())
       AND l.renewed_at < clock_timestamp() - make_interval(days => %(days)s)
       AND l.sent IS NULL  -- the only record of ticks that are not settled yet
    RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT max(unit) FROM next);

-- forget_workers --
WITH next AS MATERIALIZED (
    SELECT consumer FROM worker WHERE consumer > %(after)s ORDER BY consumer LIMIT %(most)s),
gone AS (
    DELETE FROM worker w
     WHERE w.consumer = ANY (ARRAY(SELECT consumer FROM next))
       AND w.updated_at < clock_timestamp() - make_interval(days => %(days)s)
       AND NOT EXISTS (SELECT FROM lease l WHERE l.unit = 'consumer:' || w.consumer AND l.owner IS NOT NULL
                          AND l.expires_at >= clock_timestamp())
    RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT max(consumer) FROM next);

-- forget_ledger --
-- Of producers that have ended: live ones whose lease ended a day ago, replays that ended in this partition. after: the
-- partition and the producer.
WITH next AS MATERIALIZED (
    SELECT partition, producer FROM ledger
     WHERE (partition, producer) > (%(partition)s, %(producer)s) ORDER BY partition, producer LIMIT %(most)s),
gone AS (
    DELETE FROM ledger l USING next n
     WHERE l.partition = n.partition AND l.producer = n.producer AND NOT starts_with(l.producer, 'front-door')
       AND l.updated_at < clock_timestamp() - make_interval(days => %(days)s)
       AND NOT EXISTS (SELECT FROM lease s WHERE s.unit = 'producer:' || l.producer AND s.sent IS NOT NULL)
       AND NOT EXISTS (SELECT FROM lease s WHERE s.unit = 'producer:' || l.producer
                          AND s.renewed_at > clock_timestamp() - interval '25 hours')
       AND (EXISTS (SELECT FROM finished_replay f WHERE f.replay = l.producer AND f.partition = l.partition)
            OR NOT EXISTS (SELECT FROM replay r WHERE r.name = l.producer))
    RETURNING 1)
SELECT (SELECT count(*) FROM gone), n.partition, n.producer
  FROM next n ORDER BY n.partition DESC, n.producer DESC LIMIT 1;

-- forget_sessions --
-- A few rows a day.
DELETE FROM streaming_session WHERE stopped_at < clock_timestamp() - make_interval(days => %(days)s);

-- forget_gaps --
-- With its missing minutes. An open gap is kept ten times as long.
WITH next AS MATERIALIZED (
    SELECT id FROM gap WHERE id > %(after)s::bigint ORDER BY id LIMIT %(most)s),
gone AS (
    DELETE FROM gap
     WHERE id = ANY (ARRAY(SELECT id FROM next))
       AND found_at < clock_timestamp() - make_interval(days => %(days)s * CASE state WHEN 'open' THEN 10 ELSE 1 END)
    RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT max(id) FROM next);

-- forget_replays --
-- Afterwards the same file is a new replay, which writes the same bars.
WITH next AS MATERIALIZED (
    SELECT name FROM replay WHERE name > %(after)s ORDER BY name LIMIT %(most)s),
gone AS (
    DELETE FROM replay r
     WHERE r.name = ANY (ARRAY(SELECT name FROM next))
       AND r.started_at < clock_timestamp() - make_interval(days => %(days)s)
       AND NOT EXISTS (SELECT FROM finished_replay f WHERE f.replay = r.name
                          AND f.ended_at >= clock_timestamp() - make_interval(days => %(days)s))
       AND NOT EXISTS (SELECT FROM ledger l WHERE l.producer = r.name AND NOT l.ended
                          AND l.updated_at >= clock_timestamp() - make_interval(days => %(days)s))
    RETURNING r.name),
ends AS (DELETE FROM finished_replay f WHERE f.replay = ANY (ARRAY(SELECT name FROM gone))),
covers AS (DELETE FROM replay_cover c WHERE c.replay = ANY (ARRAY(SELECT name FROM gone))),
scores AS (DELETE FROM replaced d WHERE d.by_feed = ANY (ARRAY(SELECT name FROM gone))
                                     OR d.feed = ANY (ARRAY(SELECT name FROM gone)))
SELECT (SELECT count(*) FROM gone), (SELECT max(name) FROM next);

-- forget_run_steps --
-- Of runs that ended long ago; what became of the latest daily run is shown whole, however old it is.
DELETE FROM run_step WHERE ctid = ANY (ARRAY(
    SELECT s.ctid FROM run r JOIN run_step s USING (run_id)
     WHERE r.ended_at < clock_timestamp() - make_interval(days => %(days)s)
       AND r.run_id IS DISTINCT FROM (SELECT l.run_id FROM run l WHERE l.kind = 'daily' ORDER BY l.created_at DESC LIMIT 1)
     LIMIT %(most)s));

-- forget_runs --
-- After their steps. The latest daily run stays, and backtests have a bound of their own.
DELETE FROM run WHERE run_id = ANY (ARRAY(
    SELECT r.run_id FROM run r
     WHERE r.ended_at < clock_timestamp() - make_interval(days => %(days)s)
       AND r.run_id IS DISTINCT FROM (SELECT l.run_id FROM run l WHERE l.kind = 'daily' ORDER BY l.created_at DESC LIMIT 1)
       AND r.kind <> 'backtest'
       AND NOT EXISTS (SELECT FROM run_step s WHERE s.run_id = r.run_id)
     LIMIT %(most)s));

-- forget_backtest_trades --
DELETE FROM backtest_trade WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM run r JOIN backtest_trade t USING (run_id)
     WHERE r.kind = 'backtest' AND r.ended_at < clock_timestamp() - make_interval(days => %(days)s)
     LIMIT %(most)s));

-- forget_backtest_equity --
DELETE FROM backtest_equity WHERE ctid = ANY (ARRAY(
    SELECT e.ctid FROM run r JOIN backtest_equity e USING (run_id)
     WHERE r.kind = 'backtest' AND r.ended_at < clock_timestamp() - make_interval(days => %(days)s)
     LIMIT %(most)s));

-- forget_backtests --
-- After their rows; figures and steps, a few rows each, go with them.
DELETE FROM run WHERE run_id = ANY (ARRAY(
    SELECT r.run_id FROM run r
     WHERE r.kind = 'backtest' AND r.ended_at < clock_timestamp() - make_interval(days => %(days)s)
       AND NOT EXISTS (SELECT FROM backtest_trade t WHERE t.run_id = r.run_id)
       AND NOT EXISTS (SELECT FROM backtest_equity e WHERE e.run_id = r.run_id)
     LIMIT %(most)s));
