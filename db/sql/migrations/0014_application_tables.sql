-- Tables that the application knows, too. Whoever made them first, both must work with them: those that we made get the
-- columns that its own statements name; those that it made get, where this role may, what we would like to have.

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT c.* FROM (VALUES
            ('symbols', 'exchange', 'varchar(50)'), ('symbols', 'market', 'varchar(50)'),
            ('symbols', 'locale', 'varchar(20)'), ('symbols', 'currency_name', 'varchar(50)'),
            ('symbols', 'currency_symbol', 'varchar(10)'), ('symbols', 'cik', 'varchar(20)'),
            ('symbols', 'composite_figi', 'varchar(50)'), ('symbols', 'share_class_figi', 'varchar(50)'),
            ('symbols', 'primary_exchange', 'varchar(50)'), ('symbols', 'market_cap', 'bigint'),
            ('symbols', 'sector', 'varchar(100)'), ('symbols', 'industry', 'varchar(200)'),
            ('symbols', 'country', 'varchar(50)'), ('symbols', 'last_updated', 'timestamp DEFAULT CURRENT_TIMESTAMP'),
            ('symbols', 'last_updated_utc', 'timestamptz'),
            ('pattern_definitions', 'long_description', 'text'),
            ('pattern_definitions', 'basic_logic_description', 'text'),
            ('pattern_definitions', 'created_date', 'timestamp DEFAULT CURRENT_TIMESTAMP'),
            ('pattern_definitions', 'updated_date', 'timestamp DEFAULT CURRENT_TIMESTAMP'),
            ('pattern_definitions', 'typical_success_rate', 'numeric(5,2)'),
            ('pattern_definitions', 'created_by', 'varchar(100)'),
            ('indicator_definitions', 'long_description', 'text'),
            ('indicator_definitions', 'basic_logic_description', 'text'),
            ('indicator_definitions', 'created_date', 'timestamp DEFAULT CURRENT_TIMESTAMP'),
            ('indicator_definitions', 'updated_date', 'timestamp DEFAULT CURRENT_TIMESTAMP'),
            ('indicator_definitions', 'output_type', 'varchar(50)'),
            ('indicator_definitions', 'typical_range', 'varchar(100)'),
            ('indicator_definitions', 'created_by', 'varchar(100)')) AS c (owner_table, name, type)
         -- The shapes that our own migrations gave them, and no one else.
         WHERE (c.owner_table = 'symbols'
                AND (SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
                      WHERE attrelid = to_regclass('symbols') AND attnum > 0 AND NOT attisdropped)
                    = ARRAY['symbol', 'name', 'type', 'active'])
            OR (c.owner_table <> 'symbols'
                AND (SELECT atttypid = 'text'::regtype FROM pg_attribute
                      WHERE attrelid = to_regclass(c.owner_table) AND attname = 'short_description'))
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS %I %s', wanted.owner_table, wanted.name, wanted.type);
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;  -- made by us as another role: `tickstock doctor` names what is lacking
        END;
    END LOOP;
    FOR wanted IN
        SELECT c.* FROM (VALUES ('pattern_definitions', 'parameters', 'jsonb'), ('indicator_definitions', 'parameters', 'jsonb'),
                                ('intraday_indicators', 'value', 'numeric')) AS c (owner_table, name, type)
         WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(c.owner_table) AND attname = c.name
                              AND NOT attisdropped)
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %I ADD COLUMN %I %s', wanted.owner_table, wanted.name, wanted.type);
        EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
            NULL;  -- the fleet lives without it (db/foreign_tables.py)
        END;
    END LOOP;
END $$;

-- The application's own CREATE OR REPLACE must find the parameter names, and the column types, that it gives itself.
DO $$
DECLARE
    ours oid := (SELECT p.oid FROM pg_proc p
                  WHERE p.proname = 'log_integration_event' AND 'p_source_system' = ANY (p.proargnames)
                    AND pg_function_is_visible(p.oid) AND pg_has_role(p.proowner, 'USAGE'));
    renamed text := replace(replace(pg_get_functiondef(ours), 'p_source_system', 'p_source'), 'p_pattern_name', 'p_pattern');
BEGIN
    IF ours IS NOT NULL THEN
        EXECUTE format('DROP FUNCTION %s', ours::regprocedure);
        EXECUTE renamed;
    END IF;
    IF (SELECT atttypid = 'text'::regtype FROM pg_attribute
         WHERE attrelid = to_regclass('pattern_flow_analysis') AND attname = 'symbol')
       AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass('pattern_flow_analysis')), 'USAGE') THEN
        DROP VIEW pattern_flow_analysis;
        CREATE VIEW pattern_flow_analysis AS
        SELECT flow_id, min("timestamp") AS start_time, max("timestamp") AS end_time,
               extract(epoch FROM max("timestamp") - min("timestamp")) * 1000 AS total_latency_ms,
               max(symbol)::varchar(20) AS symbol, max(pattern_name)::varchar(50) AS pattern_name,
               max(confidence) AS confidence, max(user_count) AS users_notified, count(*) AS checkpoints_logged,
               array_agg(checkpoint ORDER BY "timestamp", id) AS flow_path
          FROM integration_events
         WHERE flow_id IS NOT NULL AND event_type = 'pattern_detected'
         GROUP BY flow_id;
    END IF;
EXCEPTION WHEN dependent_objects_still_exist THEN
    RAISE NOTICE 'kept as it was, because something of yours depends on it: %', SQLERRM;
END $$;

-- Rows given as JSON into a table that may lack some of their columns; a row whose key is there stays as it is.
CREATE FUNCTION insert_known_columns(target regclass, given jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    known text := (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                    WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND given -> 0 ? a.attname::text);
BEGIN
    EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM jsonb_populate_recordset(NULL::%1$s, $1) ON CONFLICT DO NOTHING',
                   target, known) USING given;
END $$;
