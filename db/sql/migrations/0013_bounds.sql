-- Nothing grows for ever: what the workers need to know to delete what is over, a little at a time.

-- One row for each thing that is kept within a bound. Whoever locks the row does the next step.
CREATE TABLE upkeep (
    task         text PRIMARY KEY,
    next_at      timestamptz NOT NULL DEFAULT '-infinity',
    after        text NOT NULL DEFAULT '',  -- where the round has come to
    deleted      bigint NOT NULL DEFAULT 0,
    refused      text                       -- why the last step could not delete
);

-- How far the ids of a table went on a day: by them its rows are told apart by when they were written, whatever bar they
-- are of. A replay of an old year writes rows of today.
CREATE TABLE id_mark (
    task     text NOT NULL,
    day      date NOT NULL,
    last_id  bigint NOT NULL,
    PRIMARY KEY (task, day)
);

-- When a bar was written last, in days since 1970. The bars that are here count as written today.
ALTER TABLE recent_bar
    ADD COLUMN written_day integer NOT NULL DEFAULT floor(extract(epoch FROM now()) / 86400)::integer;
ALTER TABLE recent_higher_bar
    ADD COLUMN written_day integer NOT NULL DEFAULT floor(extract(epoch FROM now()) / 86400)::integer;

-- Our own bars before this minute may have been deleted; what is needed of them is put back from the application's.
CREATE TABLE forgotten_bar (
    timeframe  smallint PRIMARY KEY,  -- minutes
    before     integer NOT NULL       -- minutes since 1970
);

-- The first checkpoint of a flow by the index on flow_id, whatever the statistics say: min() alone may walk down the
-- index on the times through all that was ever logged, in search of a flow that is new.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_proc p
                WHERE p.oid = to_regprocedure('log_integration_event(uuid, varchar, varchar, varchar, varchar, varchar,'
                                              ' varchar, numeric, integer, jsonb)')
                  AND strpos(p.prosrc, 'least(99999999.99') > 0 AND pg_has_role(p.proowner, 'USAGE')) THEN
        CREATE OR REPLACE FUNCTION log_integration_event(
            p_flow_id uuid, p_event_type varchar, p_source_system varchar, p_checkpoint varchar,
            p_channel varchar DEFAULT NULL, p_symbol varchar DEFAULT NULL, p_pattern_name varchar DEFAULT NULL,
            p_confidence numeric DEFAULT NULL, p_user_count integer DEFAULT NULL, p_details jsonb DEFAULT NULL)
        RETURNS void LANGUAGE sql SET enable_seqscan = off AS $f$
            INSERT INTO integration_events ("timestamp", flow_id, event_type, source_system, checkpoint, channel,
                                            symbol, pattern_name, confidence, user_count, details, latency_ms)
            SELECT at, p_flow_id, p_event_type, p_source_system, p_checkpoint, p_channel, p_symbol, p_pattern_name,
                   p_confidence, p_user_count, p_details,
                   least(99999999.99, extract(epoch FROM at - (
                       SELECT min(flow."timestamp")
                         FROM (SELECT e."timestamp" FROM integration_events e
                                WHERE e.flow_id = p_flow_id OFFSET 0) AS flow)) * 1000)
              FROM (SELECT clock_timestamp() AS at) AS now
        $f$;
    END IF;
END $$;
