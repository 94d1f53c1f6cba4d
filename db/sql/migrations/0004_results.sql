-- What is found on closed bars. Several of these tables may be the application's own, there before us.

-- Higher timeframes, as ohlcv_1min.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ohlcv_5min', 'ohlcv_15min', 'ohlcv_30min', 'ohlcv_hourly'] LOOP
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (
            symbol       varchar(20) NOT NULL,
            "timestamp"  timestamptz NOT NULL,
            open         numeric(18,6) NOT NULL,
            high         numeric(18,6) NOT NULL,
            low          numeric(18,6) NOT NULL,
            close        numeric(18,6) NOT NULL,
            volume       numeric(20,6) NOT NULL,
            PRIMARY KEY (symbol, "timestamp"))', name);
    END LOOP;
END $$;

-- Our own bars of the higher timeframes, unrounded: what detectors read. Like recent_bar; `minute` is the start.
CREATE TABLE recent_higher_bar (
    symbol        varchar(20) COLLATE "C" NOT NULL,
    timeframe     smallint NOT NULL,  -- minutes
    minute        integer NOT NULL,
    open          double precision NOT NULL,
    high          double precision NOT NULL,
    low           double precision NOT NULL,
    close         double precision NOT NULL,
    volume_micro  double precision NOT NULL,
    notional      double precision NOT NULL,
    PRIMARY KEY (symbol, timeframe, minute)
);

CREATE TABLE IF NOT EXISTS pattern_definitions (
    id                     serial PRIMARY KEY,
    name                   varchar(50) NOT NULL UNIQUE,
    short_description      text NOT NULL,
    code_reference         text,
    category               text,
    enabled                boolean DEFAULT true,
    display_order          integer DEFAULT 0,
    confidence_threshold   numeric DEFAULT 0.5,
    risk_level             text,
    applicable_timeframes  text[],
    parameters             jsonb
);

CREATE TABLE IF NOT EXISTS indicator_definitions (
    id                     serial PRIMARY KEY,
    name                   varchar(50) NOT NULL UNIQUE,
    short_description      text NOT NULL,
    code_reference         text,
    category               text,
    enabled                boolean DEFAULT true,
    display_order          integer DEFAULT 0,
    applicable_timeframes  text[],
    period                 integer,
    parameters             jsonb
);

CREATE TABLE IF NOT EXISTS intraday_patterns (
    id                    bigserial PRIMARY KEY,
    symbol                varchar(20) NOT NULL,
    pattern_type          varchar(50) NOT NULL,
    confidence            numeric NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    pattern_data          jsonb,
    detection_timestamp   timestamptz NOT NULL,
    expiration_timestamp  timestamptz NOT NULL,
    levels                numeric[],
    metadata              jsonb,
    timeframe             text NOT NULL DEFAULT '1min',
    flow_id               uuid GENERATED ALWAYS AS ((metadata ->> 'flow_id')::uuid) STORED UNIQUE
);
DO $$
BEGIN
    CREATE INDEX IF NOT EXISTS intraday_patterns_symbol ON intraday_patterns (symbol, detection_timestamp);
EXCEPTION WHEN insufficient_privilege THEN
    NULL;  -- the application's table, and its indexes
END $$;

-- Every detection once. pattern_id: its row in intraday_patterns, which may be the application's own table.
CREATE TABLE detection_flow (
    flow_id        uuid PRIMARY KEY,
    symbol         varchar(20) COLLATE "C" NOT NULL,
    timeframe      smallint NOT NULL,  -- minutes
    minute         integer NOT NULL,   -- the bar's start, minutes since 1970
    pattern        text NOT NULL,
    pattern_id     bigint,
    superseded_at  timestamptz         -- the bar was revised, and the pattern is not on it any more
);
CREATE INDEX detection_flow_bar ON detection_flow (symbol, timeframe, minute);

CREATE TABLE IF NOT EXISTS intraday_indicators (
    id                     bigserial PRIMARY KEY,
    symbol                 varchar(20) NOT NULL,
    indicator_type         varchar(50) NOT NULL,
    value                  numeric,
    value_data             jsonb,
    calculation_timestamp  timestamptz NOT NULL,
    expiration_timestamp   timestamptz,
    metadata               jsonb,
    timeframe              text NOT NULL DEFAULT '1min',
    UNIQUE (symbol, calculation_timestamp, indicator_type, timeframe)
);

CREATE TABLE IF NOT EXISTS integration_events (
    id             serial PRIMARY KEY,
    flow_id        uuid,
    "timestamp"    timestamptz DEFAULT now(),
    event_type     varchar(50),
    source_system  varchar(50),
    checkpoint     varchar(100),
    channel        varchar(100),
    symbol         varchar(20),
    pattern_name   varchar(50),
    confidence     numeric(3,2),
    user_count     integer,
    details        jsonb,
    latency_ms     numeric(10,2),
    created_at     timestamptz DEFAULT now()
);

DO $$
BEGIN
    BEGIN
        CREATE INDEX IF NOT EXISTS integration_events_flow_id ON integration_events (flow_id);
        CREATE INDEX IF NOT EXISTS integration_events_timestamp ON integration_events ("timestamp");
    EXCEPTION WHEN insufficient_privilege THEN
        NULL;  -- the application's table, and its indexes
    END;
    IF NOT EXISTS (SELECT FROM pg_proc WHERE proname = 'log_integration_event') THEN
        -- latency_ms: since the flow's first checkpoint. clock_timestamp(), because a transaction may log many.
        CREATE FUNCTION log_integration_event(
            p_flow_id uuid, p_event_type varchar, p_source_system varchar, p_checkpoint varchar,
            p_channel varchar DEFAULT NULL, p_symbol varchar DEFAULT NULL, p_pattern_name varchar DEFAULT NULL,
            p_confidence numeric DEFAULT NULL, p_user_count integer DEFAULT NULL, p_details jsonb DEFAULT NULL)
        RETURNS void LANGUAGE sql AS $f$
            INSERT INTO integration_events ("timestamp", flow_id, event_type, source_system, checkpoint, channel,
                                            symbol, pattern_name, confidence, user_count, details, latency_ms)
            SELECT at, p_flow_id, p_event_type, p_source_system, p_checkpoint, p_channel, p_symbol, p_pattern_name,
                   p_confidence, p_user_count, p_details,
                   least(99999999.99, extract(epoch FROM at - (SELECT min(e."timestamp") FROM integration_events e
                                                                WHERE e.flow_id = p_flow_id)) * 1000)
              FROM (SELECT clock_timestamp() AS at) AS now
        $f$;
    END IF;
    IF to_regclass('pattern_flow_analysis') IS NULL THEN
        CREATE VIEW pattern_flow_analysis AS
        SELECT flow_id, min("timestamp") AS start_time, max("timestamp") AS end_time,
               extract(epoch FROM max("timestamp") - min("timestamp")) * 1000 AS total_latency_ms,
               max(symbol) AS symbol, max(pattern_name) AS pattern_name, max(confidence) AS confidence,
               max(user_count) AS users_notified, count(*) AS checkpoints_logged,
               array_agg(checkpoint ORDER BY "timestamp", id) AS flow_path
          FROM integration_events
         WHERE flow_id IS NOT NULL AND event_type = 'pattern_detected'
         GROUP BY flow_id;
    END IF;
END $$;

-- Up to where the bridge has told each partition's results; only the holder of the newest epoch moves it.
CREATE TABLE bridge_position (
    partition  integer PRIMARY KEY,
    number     bigint NOT NULL,
    epoch      bigint NOT NULL,
    moved_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The streaming sessions that were announced. At most one is active.
CREATE TABLE streaming_session (
    session_id   uuid PRIMARY KEY,
    universe     text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at   timestamptz,
    patterns     bigint NOT NULL DEFAULT 0,   -- told so far in this session
    indicators   bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX streaming_session_active ON streaming_session ((true)) WHERE stopped_at IS NULL;

-- Closed bars of a partition that still wait for their detectors.
ALTER TABLE checkpoint ADD COLUMN undetected integer NOT NULL DEFAULT 0;

ALTER TABLE worker
    ADD COLUMN patterns     bigint NOT NULL DEFAULT 0,
    ADD COLUMN indicators   bigint NOT NULL DEFAULT 0,
    ADD COLUMN alerts       bigint NOT NULL DEFAULT 0,
    ADD COLUMN cpu_s        double precision NOT NULL DEFAULT 0,  -- processor time since its start
    ADD COLUMN memory_mb    double precision NOT NULL DEFAULT 0,
    ADD COLUMN lag_ms       double precision NOT NULL DEFAULT 0,  -- age of the oldest entry of its last commit, then
    ADD COLUMN undetected   bigint NOT NULL DEFAULT 0;            -- closed bars that wait for their detectors
