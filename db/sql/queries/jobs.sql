-- add_job --
-- An existing row stays unchanged, if the same message comes again, or if a cancel came first. A cancel may have added the
-- row with a wrong kind: then the message corrects it.
INSERT INTO run (run_id, kind, run_date, trigger, universe, phases, parameters, requested_by, job_id, request, status, error,
                 ended_at, heard_at)
VALUES (%(run_id)s, %(kind)s, %(run_date)s, 'manual', %(universe)s, %(phases)s, %(parameters)s, %(requested_by)s, %(job_id)s,
        %(request)s, %(status)s, %(error)s, CASE WHEN %(status)s <> 'queued' THEN clock_timestamp() END, clock_timestamp())
ON CONFLICT (job_id) DO UPDATE SET heard_at = clock_timestamp(),
    kind = CASE WHEN run.request IS NULL AND run.status = 'cancelled' THEN excluded.kind ELSE run.kind END
RETURNING run_id = %(run_id)s;

-- cancel_job --
UPDATE run SET heard_at = clock_timestamp(),
               status = CASE WHEN status IN ('queued', 'running') THEN 'cancelling' ELSE status END
 WHERE job_id = %(job_id)s RETURNING run_id;

-- alive_jobs --
-- The jobs of a kind to advance now: first cancelled ones, then the oldest. The others wait in the queue.
SELECT run_id FROM run WHERE kind = %(kind)s AND status IN ('queued', 'running', 'cancelling')
 ORDER BY status = 'cancelling' DESC, created_at LIMIT %(limit)s;

-- lock_job --
-- Not FOR UPDATE, which could deadlock: the rows of a step refer to the run, so their INSERT locks the run's key after the
-- step; a cancel locks the run first, then the steps.
SELECT run_id, run_date, trigger, universe, phases, parameters, status, phase, symbols, original_run_id,
       extract(epoch FROM clock_timestamp() - coalesce(started_at, clock_timestamp()))::float8,
       extract(epoch FROM clock_timestamp() - coalesce(phase_started_at, clock_timestamp()))::float8,
       extract(epoch FROM clock_timestamp())::float8
  FROM run WHERE run_id = %(run_id)s AND status IN ('queued', 'running', 'cancelling')
   FOR NO KEY UPDATE;

-- job_id_of --
SELECT job_id FROM run WHERE run_id = %(run_id)s;

-- request_of_job --
SELECT request FROM run WHERE run_id = %(run_id)s;

-- refuse_job --
-- No row is returned if this message was refused before.
INSERT INTO refused_job (digest) VALUES (%(digest)s) ON CONFLICT DO NOTHING RETURNING refused_at;

-- prune_refused_jobs --
DELETE FROM refused_job WHERE refused_at < clock_timestamp() - interval '1 day';

-- take_jobs_name --
-- Of a process tickstock-jobs, until this connection ends.
SELECT pg_try_advisory_lock(hashtextextended('tickstock-jobs ' || %(name)s, 0));
