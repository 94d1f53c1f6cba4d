-- Data loads: runs of the kind data_load. The job's id, which its sender gave, makes a message that comes twice, or is heard
-- by several, one run; a cancel that comes before its job has a row, too.
ALTER TABLE run ADD COLUMN job_id text UNIQUE,
                ADD COLUMN request jsonb,          -- as it was understood
                ADD COLUMN heard_at timestamptz;   -- the last message about it

-- Messages that were refused: who inserts one says so, the others that heard it do not.
CREATE TABLE refused_job (
    digest     bytea PRIMARY KEY,
    refused_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX refused_job_refused_at ON refused_job (refused_at);
