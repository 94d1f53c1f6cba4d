-- A client that had no answer asks again under the same key, and gets the answer of the run that it started.
ALTER TABLE run ADD COLUMN idempotency_key text UNIQUE;
