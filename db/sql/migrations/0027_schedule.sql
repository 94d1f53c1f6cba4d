-- The clock of daily runs. Whether a run was caught up late, its row says: created_at against due_at.
ALTER TABLE run ADD COLUMN due_at timestamptz;  -- of an automatic run
ALTER TABLE schedule ADD COLUMN after_close boolean NOT NULL DEFAULT false;  -- ten minutes after each close
-- What was due before is not caught up: a new fleet does not begin with a run, nor a schedule that was switched on again.
ALTER TABLE schedule ADD COLUMN enabled_since timestamptz NOT NULL DEFAULT clock_timestamp();
UPDATE schedule SET after_close = true, trigger_time = '16:10' WHERE trigger_time = 'after_close';
ALTER TABLE schedule ADD CONSTRAINT schedule_trigger_time CHECK (trigger_time ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$');
