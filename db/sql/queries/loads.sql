-- add_load --
-- An existing row stays as it is: the same message came again, or a cancel came first.
INSERT INTO run (run_id, kind, run_date, trigger, universe, phases, parameters, requested_by, job_id, request, status, error,
                 ended_at, heard_at)
VALUES (%(run_id)s, 'data_load', %(run_date)s, 'manual', %(universe)s, %(phases)s, %(parameters)s, %(requested_by)s, %(job_id)s,
        %(request)s, %(status)s, %(error)s, CASE WHEN %(status)s <> 'queued' THEN clock_timestamp() END, clock_timestamp())
ON CONFLICT (job_id) DO UPDATE SET heard_at = clock_timestamp() RETURNING run_id = %(run_id)s;

-- cancel_load --
UPDATE run SET heard_at = clock_timestamp(),
               status = CASE WHEN status IN ('queued', 'running') THEN 'cancelling' ELSE status END
 WHERE job_id = %(job_id)s RETURNING run_id;

-- alive_loads --
-- The loads to advance: those being cancelled, then the oldest; the others stay queued.
SELECT run_id FROM run WHERE kind = 'data_load' AND status IN ('queued', 'running', 'cancelling')
 ORDER BY status = 'cancelling' DESC, created_at LIMIT %(limit)s;

-- lock_load --
SELECT run_id, run_date, trigger, universe, phases, parameters, status, phase, symbols, original_run_id,
       extract(epoch FROM clock_timestamp() - coalesce(started_at, clock_timestamp()))::float8,
       extract(epoch FROM clock_timestamp() - coalesce(phase_started_at, clock_timestamp()))::float8,
       extract(epoch FROM clock_timestamp())::float8
  FROM run WHERE run_id = %(run_id)s AND status IN ('queued', 'running', 'cancelling')
   FOR UPDATE;

-- request_of_load --
SELECT request FROM run WHERE run_id = %(run_id)s;

-- loads_to_show --
-- Those that are alive, and those that ended or were heard of within a day; age_s: since the end, or NULL. Whether one was
-- heard of just now: its sender may have written over what we said of it.
SELECT run_id, job_id, status, phases, phase, coalesce(symbols, '{}'), notes, error, created_at, started_at, ended_at,
       extract(epoch FROM clock_timestamp() - ended_at)::float8, heard_at > clock_timestamp() - interval '3 seconds',
       clock_timestamp()
  FROM run
 WHERE kind = 'data_load' AND (status IN ('queued', 'running', 'cancelling') OR ended_at > clock_timestamp() - interval '1 day'
                               OR heard_at > clock_timestamp() - interval '1 day');

-- steps_of_load --
SELECT phase, status, symbols, failed_symbols, error FROM run_step
 WHERE run_id = %(run_id)s AND status <> 'halved' ORDER BY stage, batch;

-- refuse_job --
-- No row: another process has recorded it.
INSERT INTO refused_job (digest) VALUES (%(digest)s) ON CONFLICT DO NOTHING RETURNING refused_at;

-- prune_refused_jobs --
DELETE FROM refused_job WHERE refused_at < clock_timestamp() - interval '1 day';
