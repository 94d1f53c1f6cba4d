-- A client that had no answer asks again under the same key, and gets the answer of the run that it started.
ALTER TABLE run ADD COLUMN idempotency_key text UNIQUE;

-- The latest patterns of all symbols: a list that people look at.
CREATE INDEX detection_flow_minute ON detection_flow (minute) WHERE superseded_at IS NULL;
DO $$
BEGIN
    CREATE INDEX IF NOT EXISTS daily_patterns_detected ON daily_patterns (detection_timestamp);
    CREATE INDEX IF NOT EXISTS weekly_patterns_detected ON weekly_patterns (detection_timestamp);
    CREATE INDEX IF NOT EXISTS monthly_patterns_detected ON monthly_patterns (detection_timestamp);
EXCEPTION WHEN insufficient_privilege OR undefined_column OR wrong_object_type THEN
    NULL;  -- the application's tables, and their indexes
END $$;
