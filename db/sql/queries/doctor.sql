-- server_facts --
SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_user::text,
       pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync');

-- table_rights --
-- What of each right (table, privilege) is missing. A table that is not there is the schema's business.
SELECT wanted.name, wanted.privilege
  FROM unnest(%(tables)s::text[], %(privileges)s::text[]) WITH ORDINALITY AS wanted (name, privilege, place)
 WHERE to_regclass(wanted.name) IS NOT NULL AND NOT has_table_privilege(to_regclass(wanted.name), wanted.privilege)
 ORDER BY place;

-- other_rights --
-- TEMPORARY: the staging table. pg_terminate_backend: a worker ends its own role's stalled backends.
SELECT name FROM (VALUES
    ('TEMPORARY on this database', has_database_privilege(current_database(), 'TEMPORARY')),
    ('USAGE on the sequence dead_letter_id_seq',
     to_regclass('dead_letter_id_seq') IS NULL OR has_sequence_privilege(to_regclass('dead_letter_id_seq'), 'USAGE')),
    ('EXECUTE on lock_checkpoints()',
     to_regprocedure('lock_checkpoints(integer[],bigint[])') IS NULL
     OR has_function_privilege(to_regprocedure('lock_checkpoints(integer[],bigint[])'), 'EXECUTE')),
    ('EXECUTE on pg_terminate_backend()',
     has_function_privilege('pg_terminate_backend(integer,bigint)', 'EXECUTE'))) AS wanted (name, granted)
 WHERE granted IS NOT TRUE;

-- timescaledb --
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb');

-- stream_exists --
SELECT to_regclass('stream') IS NOT NULL;

-- database_clock --
SELECT extract(epoch FROM clock_timestamp())::float8;
