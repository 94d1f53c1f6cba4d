-- monitor_signs --
-- Seconds since the last sign of life of any worker, and of the bridge; NULL: none yet. And how long the active bridge
-- has been connected.
SELECT (extract(epoch FROM clock_timestamp()) - extract(epoch FROM max(renewed_at) FILTER (WHERE starts_with(unit, 'consumer:'))))::float8,
       (extract(epoch FROM clock_timestamp()) - extract(epoch FROM max(renewed_at) FILTER (WHERE unit = 'bridge')))::float8,
       (extract(epoch FROM clock_timestamp()) - extract(epoch FROM max(backend_start) FILTER (
           WHERE unit = 'bridge' AND owner IS NOT NULL AND expires_at >= clock_timestamp())))::float8
  FROM lease;

-- monitor_unowned --
-- Partitions without an owner, and for how many seconds; if it never had one, since the stream was made. While workers
-- run, at most since the first of them connected: before that, nobody could have taken it. Only partitions of the
-- current stream: anybody may have written another unit with such a name.
SELECT c.partition,
       (extract(epoch FROM clock_timestamp()) - extract(epoch FROM greatest(coalesce(l.renewed_at, s.created_at), w.first_start)))::float8
  FROM checkpoint c JOIN lease l ON l.unit = 'partition:' || c.partition CROSS JOIN stream s
 CROSS JOIN (SELECT min(backend_start) AS first_start FROM lease
              WHERE starts_with(unit, 'consumer:') AND owner IS NOT NULL AND expires_at >= clock_timestamp()) AS w
 WHERE s.name = %(stream)s
   AND (l.owner IS NULL OR l.expires_at < clock_timestamp())
 ORDER BY 1;

-- monitor_leases --
-- All leases and their holders, except partitions and workers' names, which have tables of their own.
SELECT unit, owner, epoch, (extract(epoch FROM expires_at) - extract(epoch FROM clock_timestamp()))::float8 FROM lease
 WHERE NOT starts_with(unit, 'partition:') AND NOT starts_with(unit, 'consumer:')
   AND owner IS NOT NULL AND expires_at >= clock_timestamp()
 ORDER BY unit COLLATE "C";

-- monitor_producers --
-- Live producers: running ones, and those that stopped within the last hour without ending their lease (a release
-- clears the owner). Their ticks are counted when committed.
SELECT substr(l.unit, 10), l.expires_at >= clock_timestamp(), min(g.feed), least(coalesce(sum(g.ticks_in), 0), 9223372036854775807)::bigint,
       least(coalesce(sum(g.lost), 0), 9223372036854775807)::bigint,
       (extract(epoch FROM clock_timestamp()) - extract(epoch FROM max(g.updated_at)))::float8, l.spool_bytes
  FROM lease l LEFT JOIN ledger g ON g.producer = substr(l.unit, 10)
 WHERE starts_with(l.unit, 'producer:') AND l.owner IS NOT NULL
   AND l.expires_at >= clock_timestamp() - interval '1 hour'
 GROUP BY l.unit, l.expires_at, l.spool_bytes ORDER BY 2 DESC, l.unit COLLATE "C";

-- monitor_bridge --
-- The standby bridges: each has one connection with its name. The number of waiting results is computed from the
-- numbers, and the age from the first row of each partition: reading all rows is slow if there are many. The messages
-- of runs have their own partition, -1.
SELECT (SELECT owner FROM lease WHERE unit = 'bridge' AND owner IS NOT NULL AND expires_at >= clock_timestamp()),
       (SELECT epoch FROM lease WHERE unit = 'bridge'),
       (SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND starts_with(application_name, 'tickstock-bridge ')),
       coalesce(sum(greatest(0, c.outbox_number - coalesce(p.number, 0))), 0)::bigint,
       (extract(epoch FROM clock_timestamp()) - extract(epoch FROM min(first.created_at)))::float8
  FROM (SELECT partition, outbox_number FROM checkpoint UNION ALL SELECT -1, number FROM run_result) AS c
  LEFT JOIN bridge_position p ON p.partition = c.partition
  LEFT JOIN LATERAL (SELECT o.created_at FROM outbox o
                      WHERE o.partition = c.partition AND o.number > coalesce(p.number, 0)
                      ORDER BY o.number LIMIT 1) AS first ON true;

-- monitor_jobs --
-- The number of processes `tickstock-jobs` (each has one coordinator, which connects again at once; the connection for
-- steps stays closed until there is a step); the seconds since the first of them connected; the messages of runs that
-- wait for the bridge; the seconds since the first active job was requested or any active job last ended a step, 0 if no
-- job is active.
SELECT count(*), (extract(epoch FROM clock_timestamp()) - extract(epoch FROM min(backend_start)))::float8,
       (SELECT greatest(0, r.number - coalesce(p.number, 0))::bigint
          FROM run_result r LEFT JOIN bridge_position p ON p.partition = -1),
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - greatest(
                   min(j.created_at), max(j.started_at), max(j.phase_started_at),
                   max((SELECT max(s.ended_at) FROM run_step s WHERE s.run_id = j.run_id)))), 0)::float8
          FROM run j WHERE j.kind <> 'daily' AND j.status IN ('queued', 'running', 'cancelling'))
  FROM pg_stat_activity
 WHERE datname = current_database() AND starts_with(application_name, 'tickstock-jobs-coordinator ');

-- monitor_run --
-- The latest daily run, which is the active one if a run is active: the seconds that it took or has taken so far, the
-- seconds since it last ended a step, and the seconds since its end.
SELECT run_id, run_date, status, phase,
       (coalesce(extract(epoch FROM ended_at), extract(epoch FROM clock_timestamp()))
          - extract(epoch FROM coalesce(started_at, created_at)))::float8,
       CASE WHEN ended_at IS NULL THEN
           extract(epoch FROM clock_timestamp()) - extract(epoch FROM greatest(created_at, started_at, phase_started_at,
               (SELECT max(s.ended_at) FROM run_step s WHERE s.run_id = r.run_id))) ELSE 0 END::float8,
       (extract(epoch FROM clock_timestamp()) - extract(epoch FROM ended_at))::float8, symbols_failed, error
  FROM run r WHERE kind = 'daily' ORDER BY created_at DESC LIMIT 1;

-- monitor_ticks --
-- Seconds since a tick of a live producer or of the front door was committed; ticks lost, in all and of producers that
-- lost some within lately_s; closed bars that wait for detection.
SELECT (extract(epoch FROM clock_timestamp()) - extract(epoch FROM max(l.updated_at) FILTER (WHERE r.name IS NULL)))::float8,
       least(coalesce(sum(l.lost), 0), 9223372036854775807)::bigint,
       least(coalesce(sum(l.lost) FILTER (
           WHERE l.lost_at > clock_timestamp() - make_interval(secs => %(lately_s)s)), 0), 9223372036854775807)::bigint,
       (SELECT coalesce(sum(undetected), 0)::bigint FROM checkpoint)
  FROM ledger l LEFT JOIN replay r ON r.name = l.producer;

-- monitor_new_dead_letters --
-- Down the primary key until one is old enough: one step if few are new.
SELECT count(*) FROM dead_letter
 WHERE id > coalesce((SELECT id FROM dead_letter
                       WHERE created_at <= clock_timestamp() - make_interval(secs => %(lately_s)s)
                       ORDER BY id DESC LIMIT 1), 0);

-- monitor_gaps --
-- A partial first minute that is not fetched again: every start without an API key leaves one.
SELECT state, count(*) FROM gap
 WHERE state <> 'repaired' AND NOT (state = 'open' AND tried = 0 AND why = ANY (%(first_minutes)s)) GROUP BY state;

-- monitor_checkpoints --
-- The latest rows of each system, by checkpoint, with the seconds since the last one. Anybody may write to the log:
-- infinite times are ignored, here and below.
SELECT coalesce(source_system, '-'), coalesce(checkpoint, '-'), count(*),
       (extract(epoch FROM clock_timestamp()) - extract(epoch FROM max("timestamp")))::float8
  FROM integration_events
 WHERE "timestamp" > clock_timestamp() - make_interval(secs => %(window_s)s) AND isfinite("timestamp")
 GROUP BY 1, 2 ORDER BY 1, 2;

-- monitor_flows --
-- The progress of recently published patterns, and the duration of each step. A pattern without its next step after
-- grace_s is an orphan. WEBSOCKET_DELIVERED comes once per user, or never: nobody may be looking.
WITH flow AS (
    SELECT flow_id,
           min("timestamp") FILTER (WHERE checkpoint = 'PATTERN_PUBLISHED') AS published,
           min("timestamp") FILTER (WHERE checkpoint = 'EVENT_RECEIVED') AS received,
           min("timestamp") FILTER (WHERE checkpoint = 'EVENT_PARSED') AS parsed,
           min("timestamp") FILTER (WHERE checkpoint = 'WEBSOCKET_DELIVERED') AS delivered
      FROM integration_events
     WHERE "timestamp" > clock_timestamp() - make_interval(secs => %(window_s)s) AND isfinite("timestamp")
       AND flow_id IS NOT NULL
     GROUP BY flow_id),
step AS (
    SELECT *, (extract(epoch FROM received) - extract(epoch FROM published)) * 1000 AS received_ms,
           (extract(epoch FROM delivered) - extract(epoch FROM published)) * 1000 AS delivered_ms,
           published < clock_timestamp() - make_interval(secs => %(grace_s)s) AS is_old
      FROM flow WHERE published IS NOT NULL)
SELECT count(*), count(received), count(parsed), count(delivered),
       count(*) FILTER (WHERE is_old),
       count(*) FILTER (WHERE is_old AND received IS NULL),
       count(*) FILTER (WHERE is_old AND received IS NOT NULL AND parsed IS NULL),
       count(*) FILTER (WHERE is_old AND parsed IS NOT NULL AND delivered IS NULL),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY received_ms)::float8,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY received_ms)::float8,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY delivered_ms)::float8,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY delivered_ms)::float8
  FROM step;

-- monitor_latest_flows --
-- By the log's own index on its times: the view would be computed whole.
SELECT flow_id FROM (
    SELECT flow_id, max("timestamp") AS at FROM (
        SELECT flow_id, "timestamp" FROM integration_events
         WHERE "timestamp" > clock_timestamp() - make_interval(secs => %(window_s)s) AND isfinite("timestamp")
           AND flow_id IS NOT NULL AND event_type = 'pattern_detected' AND checkpoint = 'PATTERN_PUBLISHED'
         ORDER BY "timestamp" DESC LIMIT 100) AS latest
     GROUP BY flow_id) AS flow
 ORDER BY at DESC LIMIT %(count)s;

-- monitor_flow_analyses --
SELECT flow_id, start_time, symbol, pattern_name, confidence::float8, total_latency_ms::float8,
       users_notified::integer, checkpoints_logged::integer, flow_path
  FROM pattern_flow_analysis WHERE flow_id = ANY (%(flow_ids)s::uuid[])
 ORDER BY start_time DESC, flow_id;
