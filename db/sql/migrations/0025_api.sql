-- A client that had no answer asks again under the same key, and gets the answer of the run that it started.
ALTER TABLE run ADD COLUMN idempotency_key text UNIQUE;

-- The latest patterns of all symbols: a list that people look at.
CREATE INDEX detection_flow_minute ON detection_flow (minute) WHERE superseded_at IS NULL;
