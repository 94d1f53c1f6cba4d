-- migration_lock --
-- One migration at a time; held until the transaction ends.
SELECT pg_advisory_xact_lock(hashtext('tickstockpl.migrate'));

-- create_schema_migration --
CREATE TABLE IF NOT EXISTS schema_migration (
    name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp());

-- schema_migration_exists --
SELECT to_regclass('schema_migration') IS NOT NULL;

-- applied_migrations --
SELECT name FROM schema_migration ORDER BY name;

-- note_migration --
INSERT INTO schema_migration (name) VALUES (%(name)s);

-- may_create --
SELECT has_schema_privilege(current_schema(), 'CREATE'), quote_ident(current_user);
