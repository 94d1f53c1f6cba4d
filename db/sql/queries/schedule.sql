-- read_schedule --
-- With the database's clock: it decides what is due, so that processes whose clocks differ agree.
SELECT enabled, trigger_time, universes, market_check, after_close, enabled_since, clock_timestamp() FROM schedule;

-- lock_schedule --
SELECT FROM schedule FOR UPDATE;

-- change_schedule --
UPDATE schedule SET enabled = %(enabled)s, trigger_time = %(trigger_time)s, universes = %(universes)s,
                    market_check = %(market_check)s, after_close = %(after_close)s, updated_at = clock_timestamp(),
                    enabled_since = CASE WHEN enabled OR NOT %(enabled)s THEN enabled_since ELSE clock_timestamp() END;

-- last_automatic_run --
-- The newest day with a completed run of all phases.
SELECT max(run_date) FROM run WHERE kind = 'daily' AND trigger = 'automatic' AND status = 'completed';

-- add_due_run --
-- No row: the day has its run already, or another run is active. A constraint decides, so that any process may ask.
INSERT INTO run (run_id, run_date, trigger, universe, phases, parameters, requested_by, due_at)
VALUES (%(run_id)s, %(run_date)s, %(trigger)s, %(universe)s, %(phases)s, %(parameters)s, %(requested_by)s, %(due_at)s)
ON CONFLICT DO NOTHING RETURNING run_id;
