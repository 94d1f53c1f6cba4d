-- universe_value --
-- NAME:KEY may exist for several environments or types: the row for all environments is used, then the oldest.
SELECT value FROM cache_entries
 WHERE name = %(name)s AND key = %(key)s
 ORDER BY environment IS NOT DISTINCT FROM 'DEFAULT' DESC, id LIMIT 1;

-- universe_row_for_update --
SELECT id, value FROM cache_entries
 WHERE name = %(name)s AND key = %(key)s
 ORDER BY environment IS NOT DISTINCT FROM 'DEFAULT' DESC, id LIMIT 1 FOR UPDATE;

-- universe_entries --
-- The table also holds the application's settings; the shape of a value shows whether it is a universe.
SELECT name, key, type, environment, value FROM cache_entries
 WHERE type NOT IN ('app_settings', 'cache_config') ORDER BY name, key, id;

-- lock_universes --
-- Readers continue. Two imports of one new name must not both find nothing.
LOCK TABLE cache_entries IN SHARE ROW EXCLUSIVE MODE;

-- update_universe --
UPDATE cache_entries SET value = %(value)s::jsonb, updated_at = CURRENT_TIMESTAMP WHERE id = %(id)s;

-- insert_universe --
INSERT INTO cache_entries (type, name, key, value, environment, created_at, updated_at)
VALUES (%(type)s, %(name)s, %(key)s, %(value)s::jsonb, 'DEFAULT', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP);
