-- server_facts --
SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_user::text,
       pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync');

-- missing_table_rights --
-- The missing rights (table, privilege). Missing tables are reported elsewhere.
SELECT wanted.privilege, wanted.name
  FROM unnest(%(tables)s::text[], %(privileges)s::text[]) WITH ORDINALITY AS wanted (name, privilege, place)
 WHERE to_regclass(wanted.name) IS NOT NULL AND NOT has_table_privilege(to_regclass(wanted.name), wanted.privilege)
 ORDER BY place;

-- missing_other_rights --
-- TEMPORARY: the staging tables. pg_terminate_backend: a worker ends stalled backends of its own role. The sequences
-- are those in the defaults of the tables that we insert into, whatever their names.
SELECT 'TEMPORARY', 'DATABASE ' || quote_ident(current_database())
 WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
 UNION ALL
SELECT DISTINCT 'USAGE', 'SEQUENCE ' || s.oid::regclass
  FROM unnest(%(inserted)s::text[]) AS t (name)
  JOIN pg_attrdef d ON d.adrelid = to_regclass(t.name)
  JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
  JOIN pg_class s ON s.oid = p.refobjid
 WHERE CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') END
 UNION ALL
SELECT 'EXECUTE', 'FUNCTION ' || f.oid::regprocedure
  FROM pg_proc f
 WHERE f.proname IN ('lock_checkpoints', 'log_integration_event', 'pg_terminate_backend')
   AND pg_function_is_visible(f.oid) AND NOT has_function_privilege(f.oid, 'EXECUTE');

-- stream_exists --
SELECT to_regclass('stream') IS NOT NULL;

-- database_clock --
SELECT extract(epoch FROM clock_timestamp())::float8;

-- views_in_place_of --
-- Those of some tables that are views.
SELECT relname FROM pg_class
 WHERE relkind IN ('v', 'm') AND oid = ANY (SELECT to_regclass(name) FROM unnest(%(tables)s::text[]) AS name) ORDER BY 1;

-- lacking_columns --
-- Our columns of ohlcv_1min may be in bar_detail instead. Missing tables are reported elsewhere.
SELECT wanted.table_name, wanted.column_name
  FROM unnest(%(tables)s::text[], %(columns)s::text[]) WITH ORDINALITY AS wanted (table_name, column_name, place)
 WHERE to_regclass(wanted.table_name) IS NOT NULL
   AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(wanted.table_name)
                      AND a.attname = wanted.column_name AND NOT a.attisdropped)
 ORDER BY wanted.place;

-- upkeep_exists --
SELECT to_regclass('upkeep') IS NOT NULL;

-- refused_upkeep --
SELECT task, refused FROM upkeep WHERE refused IS NOT NULL ORDER BY task;
