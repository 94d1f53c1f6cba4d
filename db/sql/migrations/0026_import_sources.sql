-- What a run asks a vendor: stages of a phase, what the quota makes it wait for, and what each step was told.

ALTER TABLE run ADD COLUMN days_again date[] NOT NULL DEFAULT '{}';  -- before its own days: their bars were not final yet

ALTER TABLE run_step
    ADD COLUMN stage       smallint NOT NULL DEFAULT 0,   -- within its phase: each begins when the one before has ended
    ADD COLUMN weight      integer,                       -- for the progress, in symbols; NULL: as many as it has
    ADD COLUMN waits_until timestamptz,                   -- before then the vendor wants no question
    ADD COLUMN detail      jsonb NOT NULL DEFAULT '{}';   -- source, rows, and what was refused

-- What the reference data of a symbol needs. The table may be the application's: what it lacks is not kept then.
DO $$
BEGIN
    ALTER TABLE symbols ADD COLUMN IF NOT EXISTS exchange text, ADD COLUMN IF NOT EXISTS primary_exchange text,
                        ADD COLUMN IF NOT EXISTS market_cap bigint, ADD COLUMN IF NOT EXISTS last_updated_utc timestamptz;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
    NULL;
END $$;
ALTER TABLE run ADD COLUMN notes text[] NOT NULL DEFAULT '{}';  -- what was left out, and why

-- Keep what a vendor says of symbols, in the columns that there are; what it does not say stays. A text that is too long
-- for the application's column is cut. Returns how many rows are new or changed.
CREATE FUNCTION update_symbols(given jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    columns text;
    values_ text;
    kept text;
    changed text;
    count bigint;
BEGIN
    SELECT string_agg(quote_ident(attname), ', '),
           string_agg(CASE WHEN atttypid = 'varchar'::regtype AND atttypmod > 4
                           THEN format('left(r.one ->> %L, %s)', attname, atttypmod - 4)
                           ELSE format('(r.one ->> %L)::%s', attname, format_type(atttypid, NULL)) END, ', '),
           string_agg(format('%1$I = coalesce(excluded.%1$I, t.%1$I)', attname), ', ') FILTER (WHERE attname <> 'symbol'),
           string_agg(format('coalesce(excluded.%1$I, t.%1$I) IS DISTINCT FROM t.%1$I', attname), ' OR ') FILTER (WHERE attname <> 'symbol')
      INTO columns, values_, kept, changed
      FROM pg_attribute WHERE attrelid = 'symbols'::regclass AND attnum > 0 AND NOT attisdropped
                          AND given -> 0 ? attname::text;
    IF columns IS NULL OR kept IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('INSERT INTO symbols AS t (%s)
                    SELECT %s FROM jsonb_array_elements($1) AS r (one) ORDER BY r.one ->> ''symbol''
                    ON CONFLICT (symbol) DO UPDATE SET %s WHERE %s', columns, values_, kept, changed) USING given;
    GET DIAGNOSTICS count = ROW_COUNT;
    RETURN count;
END $$;
