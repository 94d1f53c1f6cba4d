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
