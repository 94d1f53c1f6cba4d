-- The daily half: runs and their steps, the schedule, and what they write. The tables of bars and of what is found may be
-- the application's own, there before us.

-- One run of daily processing, a data load, a backtest. `run`, because the application has a table processing_runs.
CREATE TABLE run (
    run_id            uuid PRIMARY KEY,
    kind              text NOT NULL DEFAULT 'daily',
    run_date          date NOT NULL,              -- New York
    trigger           text NOT NULL CHECK (trigger IN ('automatic', 'manual', 'retry')),
    universe          text NOT NULL,
    phases            text[] NOT NULL,            -- in the order in which they are opened
    parameters        jsonb NOT NULL DEFAULT '{}',
    symbols           text[],                     -- pinned at the start
    definitions       jsonb,                      -- pinned at the start
    status            text NOT NULL DEFAULT 'queued'
                      CHECK (status IN ('queued', 'running', 'cancelling', 'completed', 'failed', 'cancelled', 'interrupted')),
    phase             text,                       -- the one that is open
    phase_started_at  timestamptz,
    requested_by      text NOT NULL DEFAULT '',
    original_run_id   uuid REFERENCES run (run_id) ON DELETE SET NULL,
    symbols_processed integer NOT NULL DEFAULT 0,
    symbols_failed    integer NOT NULL DEFAULT 0,
    indicators        bigint NOT NULL DEFAULT 0,  -- values that are there after it
    patterns          bigint NOT NULL DEFAULT 0,  -- detections that are there after it
    error             text,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at        timestamptz,
    ended_at          timestamptz
);
-- What makes it one daily run at a time, and one automatic run a day: no lock in anybody's memory, no timer.
CREATE UNIQUE INDEX run_alive ON run (kind) WHERE kind = 'daily' AND status IN ('queued', 'running', 'cancelling');
CREATE UNIQUE INDEX run_automatic ON run (kind, run_date) WHERE trigger = 'automatic';
CREATE INDEX run_created_at ON run (created_at);

-- A batch of symbols in a phase. token: of one attempt; a commit whose token does not match is refused.
CREATE TABLE run_step (
    run_id          uuid NOT NULL REFERENCES run (run_id) ON DELETE CASCADE,
    phase           text NOT NULL,
    timeframe       text NOT NULL,   -- '' for phases that do all of them at once
    batch           integer NOT NULL,
    symbols         text[] NOT NULL,
    status          text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'done', 'failed', 'cancelled', 'halved')),
    token           bigint NOT NULL,
    attempt         integer NOT NULL DEFAULT 1,
    not_before      timestamptz NOT NULL DEFAULT '-infinity',
    error           text,
    failed_symbols  jsonb NOT NULL DEFAULT '{}',  -- symbol -> why, of a step that is done
    found           bigint NOT NULL DEFAULT 0,    -- rows that are there after it
    changed         bigint NOT NULL DEFAULT 0,    -- rows that it wrote or deleted
    done_by         text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    PRIMARY KEY (run_id, phase, timeframe, batch)
);
CREATE INDEX run_step_waiting ON run_step (run_id) WHERE status = 'waiting';

-- How many messages of runs there are: rows of the outbox under the partition -1, in the order of their commits.
CREATE TABLE run_result (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    number  bigint NOT NULL DEFAULT 0
);
INSERT INTO run_result DEFAULT VALUES;

CREATE TABLE schedule (
    single        boolean PRIMARY KEY DEFAULT true CHECK (single),
    enabled       boolean NOT NULL DEFAULT true,
    trigger_time  text NOT NULL DEFAULT '16:10',  -- HH:MM in New York, or after_close
    universes     text[] NOT NULL DEFAULT '{}',   -- none: every symbol with bars
    market_check  boolean NOT NULL DEFAULT true,
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO schedule DEFAULT VALUES;

-- Days on which the market is closed, or closes early, that the calendar does not know yet.
CREATE TABLE market_closure (
    day        date PRIMARY KEY,
    closes_at  time,   -- New York; NULL: closed all day
    reason     text NOT NULL DEFAULT ''
);

-- Bars of days, weeks and months. Prices as they were traded; a week or month with a split in it is in the unit of its
-- last day.
DO $$
DECLARE
    name text;
    key text;
BEGIN
    FOR name, key IN VALUES ('ohlcv_daily', 'date'), ('ohlcv_weekly', 'week_start'), ('ohlcv_monthly', 'month_start') LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I (
            symbol   varchar(20) NOT NULL,
            %I       date NOT NULL,
            open     numeric(18,6) NOT NULL,
            high     numeric(18,6) NOT NULL,
            low      numeric(18,6) NOT NULL,
            close    numeric(18,6) NOT NULL,
            volume   numeric(20,6) NOT NULL,
            PRIMARY KEY (symbol, %2$I))', name, key);
        BEGIN
            EXECUTE format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS provenance text', name);
            EXECUTE format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS is_final boolean', name);
        EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
            NULL;  -- the application's table: tickstock-jobs says what is lacking
        END;
    END LOOP;
END $$;

-- What is found on them. Keys as the application's statements name them.
DO $$
DECLARE
    name text;
    expires text;
BEGIN
    FOR name, expires IN VALUES ('daily_patterns', 'expiration_date'), ('weekly_patterns', 'expiration_timestamp'),
                                ('monthly_patterns', 'expiration_timestamp'), ('hourly_patterns', 'expiration_timestamp'),
                                ('daily_intraday_patterns', 'expiration_timestamp') LOOP
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %1$I (
            id                   bigserial PRIMARY KEY,
            symbol               varchar(20) NOT NULL,
            pattern_type         varchar(50) NOT NULL,
            confidence           numeric NOT NULL CHECK (confidence BETWEEN 0 AND 1),
            pattern_data         jsonb NOT NULL,
            detection_timestamp  timestamptz NOT NULL,
            %2$I                 timestamptz NOT NULL,
            levels               numeric[],
            metadata             jsonb,
            timeframe            text NOT NULL DEFAULT %3$L)', name, expires, split_part(name, '_', 1));
        EXECUTE format('CREATE INDEX ON %I (symbol, detection_timestamp)', name);
        IF name = 'daily_intraday_patterns' THEN
            EXECUTE format('ALTER TABLE %I ADD COLUMN daily_pattern_id bigint, ADD COLUMN daily_pattern_timestamp timestamptz,
                            ADD COLUMN intraday_signal jsonb', name);
        END IF;
    END LOOP;
END $$;

CREATE TABLE IF NOT EXISTS daily_indicators (
    id                     bigserial PRIMARY KEY,
    symbol                 varchar(20) NOT NULL,
    indicator_type         varchar(50) NOT NULL,
    value                  numeric,
    value_data             jsonb NOT NULL,
    calculation_timestamp  timestamptz NOT NULL,
    expiration_date        timestamptz NOT NULL,
    metadata               jsonb,
    timeframe              text NOT NULL DEFAULT 'daily'
);
DO $$
BEGIN
    CREATE INDEX IF NOT EXISTS daily_indicators_symbol ON daily_indicators (symbol, calculation_timestamp);
EXCEPTION WHEN insufficient_privilege THEN
    NULL;  -- the application's table, and its indexes
END $$;

-- Our own definitions are for days, weeks and months, too, unless somebody has chosen their timeframes.
UPDATE pattern_definitions SET applicable_timeframes = applicable_timeframes || '{daily,weekly,monthly}'::text[]
 WHERE applicable_timeframes::text[] = '{1min,5min,15min,30min,hourly}';
UPDATE indicator_definitions SET applicable_timeframes = applicable_timeframes || '{daily,weekly,monthly}'::text[]
 WHERE applicable_timeframes::text[] = '{1min,5min,15min,30min,hourly}';

-- New shares for an old one, of all splits together.
CREATE AGGREGATE split_factor(numeric) (sfunc = numeric_mul, stype = numeric, initcond = '1');

-- Let exactly `given` stand of some symbols at some times in a table that may be the application's: a row that stands as
-- it is given is not touched. Its key is symbol, kind and time (and the timeframe, where there is such a column); it is
-- another row where `result` differs. Returns the places (from 1) in `given` of the rows that are new or changed, and how
-- many were deleted.
CREATE FUNCTION replace_found(target regclass, kind text, stamp text, result text, names text[], frame text,
                              stamps timestamptz[], given jsonb, OUT new int[], OUT deleted bigint) LANGUAGE plpgsql AS $$
DECLARE
    by_frame text := CASE WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = 'timeframe'
                                          AND NOT attisdropped)
                          THEN 'd.timeframe = $2' ELSE '$2 IS NOT NULL' END;
    scope text := format('d.symbol = ANY ($1) AND d.%I = ANY ($3) AND %s', stamp, by_frame);
    same text := format('d.symbol = g.symbol AND d.%1$I = g.kind AND d.%2$I = g.stamp AND d.%3$I = g.result', kind, stamp, result);
    rows text := format('SELECT r.one ->> ''symbol'' AS symbol, r.one ->> %L AS kind, (r.one ->> %L)::timestamptz AS stamp,
                                r.one -> %L AS result, r.place
                           FROM jsonb_array_elements($4) WITH ORDINALITY AS r (one, place)', kind, stamp, result);
BEGIN
    EXECUTE format('WITH g AS MATERIALIZED (%s)
                    DELETE FROM %s d WHERE %s AND NOT EXISTS (SELECT FROM g WHERE %s)', rows, target, scope, same)
      USING names, frame, stamps, given;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    EXECUTE format('WITH g AS MATERIALIZED (%s)
                    SELECT coalesce(array_agg(g.place::int ORDER BY g.place), ''{}'') FROM g
                     WHERE NOT EXISTS (SELECT FROM %s d WHERE %s AND %s)', rows, target, scope, same)
      INTO new USING names, frame, stamps, given;
    IF cardinality(new) > 0 THEN
        PERFORM insert_known_columns(target, (SELECT jsonb_agg(given -> (place - 1)) FROM unnest(new) AS place));
    END IF;
END $$;
