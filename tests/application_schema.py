"""The application's own tables, view, function and rows, written from the facts that docs/tables.md names.

Not its text: the columns, types, keys and defaults that were seen, in one script that can run before or after ours.
"""

# What it would run on a fresh database; each statement leaves alone what is there.
SCHEMA = """
CREATE TABLE IF NOT EXISTS symbols (
    symbol varchar(20) PRIMARY KEY, name varchar(255), type varchar(20), active boolean DEFAULT true,
    exchange varchar(20), market varchar(20), locale varchar(10), currency_name varchar(20),
    currency_symbol varchar(10), cik varchar(20), composite_figi varchar(50), share_class_figi varchar(50),
    primary_exchange varchar(20), market_cap bigint, sector varchar(100), industry varchar(100), country varchar(50),
    last_updated timestamp DEFAULT CURRENT_TIMESTAMP, last_updated_utc timestamptz);
CREATE TABLE IF NOT EXISTS ohlcv_1min (
    symbol varchar(20) NOT NULL REFERENCES symbols (symbol), "timestamp" timestamptz NOT NULL,
    open numeric(10,4) NOT NULL, high numeric(10,4) NOT NULL, low numeric(10,4) NOT NULL, close numeric(10,4) NOT NULL,
    volume bigint NOT NULL, PRIMARY KEY (symbol, "timestamp"));
CREATE TABLE IF NOT EXISTS ohlcv_hourly (
    symbol varchar(20) NOT NULL, "timestamp" timestamptz NOT NULL,
    open numeric(10,4) NOT NULL, high numeric(10,4) NOT NULL, low numeric(10,4) NOT NULL, close numeric(10,4) NOT NULL,
    volume bigint NOT NULL, PRIMARY KEY (symbol, "timestamp"));
CREATE TABLE IF NOT EXISTS pattern_definitions (
    id serial PRIMARY KEY, name varchar(100) NOT NULL UNIQUE, short_description varchar(255) NOT NULL,
    long_description text, basic_logic_description text, code_reference varchar(255), category varchar(50),
    created_date timestamp DEFAULT CURRENT_TIMESTAMP, updated_date timestamp DEFAULT CURRENT_TIMESTAMP,
    enabled boolean NOT NULL DEFAULT true, display_order integer DEFAULT 0, confidence_threshold numeric(3,2),
    risk_level varchar(20) CHECK (risk_level IN ('low', 'medium', 'high')), typical_success_rate numeric(5,2),
    created_by varchar(100), applicable_timeframes text[] DEFAULT ARRAY['daily']);
CREATE TABLE IF NOT EXISTS indicator_definitions (
    id serial PRIMARY KEY, name varchar(100) NOT NULL UNIQUE, short_description varchar(255) NOT NULL,
    long_description text, basic_logic_description text, code_reference varchar(255), category varchar(50),
    created_date timestamp DEFAULT CURRENT_TIMESTAMP, updated_date timestamp DEFAULT CURRENT_TIMESTAMP,
    enabled boolean NOT NULL DEFAULT true, display_order integer DEFAULT 0, period integer, parameters jsonb,
    output_type varchar(50), typical_range varchar(100), created_by varchar(100),
    applicable_timeframes text[] DEFAULT ARRAY['daily']);
CREATE TABLE IF NOT EXISTS intraday_patterns (
    id bigserial PRIMARY KEY, symbol varchar(20) NOT NULL, pattern_type varchar(50) NOT NULL,
    confidence numeric(4,3) NOT NULL CHECK (confidence BETWEEN 0 AND 1), pattern_data jsonb NOT NULL,
    detection_timestamp timestamptz NOT NULL, expiration_timestamp timestamptz NOT NULL, levels numeric[],
    metadata jsonb, timeframe varchar(10) DEFAULT '1min');
CREATE TABLE IF NOT EXISTS intraday_indicators (
    id bigserial PRIMARY KEY, symbol varchar(20) NOT NULL, indicator_type varchar(50) NOT NULL,
    value_data jsonb NOT NULL, calculation_timestamp timestamptz NOT NULL, expiration_timestamp timestamptz,
    metadata jsonb, timeframe varchar(10) DEFAULT '1min');
CREATE TABLE IF NOT EXISTS integration_events (
    id serial PRIMARY KEY, flow_id uuid, "timestamp" timestamptz DEFAULT now(), event_type varchar(50),
    source_system varchar(50), checkpoint varchar(100), channel varchar(100), symbol varchar(20),
    pattern_name varchar(50), confidence numeric(3,2), user_count integer, details jsonb, latency_ms numeric(10,2),
    created_at timestamptz DEFAULT now());
CREATE INDEX IF NOT EXISTS idx_integration_events_flow ON integration_events (flow_id);
CREATE TABLE IF NOT EXISTS cache_entries (
    id serial PRIMARY KEY, type varchar(100) NOT NULL, name varchar(100) NOT NULL, key varchar(100) NOT NULL,
    value jsonb NOT NULL, environment varchar(50) NOT NULL DEFAULT 'DEFAULT',
    created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS pattern_detections (
    id bigserial PRIMARY KEY, pattern_id integer REFERENCES pattern_definitions (id), symbol varchar(10) NOT NULL,
    detected_at timestamp NOT NULL, confidence numeric(4,3), price_at_detection numeric(10,4),
    volume_at_detection bigint, pattern_data jsonb, outcome_1d numeric(6,3), outcome_5d numeric(6,3),
    outcome_30d numeric(6,3), outcome_evaluated_at timestamp);
CREATE TABLE IF NOT EXISTS hourly_patterns (
    id bigserial PRIMARY KEY, symbol varchar(20) NOT NULL, pattern_type varchar(50) NOT NULL,
    confidence numeric(4,3) NOT NULL, pattern_data jsonb NOT NULL, detection_timestamp timestamptz NOT NULL,
    expiration_timestamp timestamptz NOT NULL, levels numeric[], metadata jsonb);
CREATE OR REPLACE FUNCTION log_integration_event(
    p_flow_id uuid, p_event_type varchar, p_source varchar, p_checkpoint varchar, p_channel varchar DEFAULT NULL,
    p_symbol varchar DEFAULT NULL, p_pattern varchar DEFAULT NULL, p_confidence numeric DEFAULT NULL,
    p_user_count integer DEFAULT NULL, p_details jsonb DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
    INSERT INTO integration_events (flow_id, event_type, source_system, checkpoint, channel, symbol, pattern_name,
                                    confidence, user_count, details)
    VALUES (p_flow_id, p_event_type, p_source, p_checkpoint, p_channel, p_symbol, p_pattern, p_confidence,
            p_user_count, p_details);
END $f$;
CREATE OR REPLACE VIEW pattern_flow_analysis AS
SELECT flow_id, min("timestamp") AS start_time, max("timestamp") AS end_time,
       extract(epoch FROM max("timestamp") - min("timestamp")) * 1000 AS total_latency_ms,
       max(symbol)::varchar(20) AS symbol, max(pattern_name)::varchar(50) AS pattern_name,
       max(confidence) AS confidence, max(user_count) AS users_notified, count(*) AS checkpoints_logged,
       array_agg(checkpoint ORDER BY "timestamp") AS flow_path
  FROM integration_events WHERE flow_id IS NOT NULL GROUP BY flow_id;
"""

# Rows that it brings: two patterns of ours on days alone, and one that nobody of ours knows.
ROWS = """
INSERT INTO pattern_definitions (name, short_description, long_description, code_reference, category, enabled,
                                 display_order, confidence_threshold, risk_level, typical_success_rate, created_by,
                                 applicable_timeframes)
VALUES ('Doji', 'open and close alike', 'text', 'app.doji', 'candlestick', true, 1, 0.50, 'medium', 55.0, 'app',
        ARRAY['daily']),
       ('Hammer', 'a long lower shadow', 'text', 'app.hammer', 'candlestick', true, 2, 0.60, 'medium', 60.0, 'app',
        ARRAY['daily']),
       ('WeeklyCup', 'a cup', 'text', 'app.cup', 'pattern', true, 3, 0.70, 'low', 40.0, 'app', ARRAY['daily'])
ON CONFLICT (name) DO NOTHING;
INSERT INTO symbols (symbol, name, exchange, market_cap, last_updated) VALUES ('OLD', 'there before', 'XNYS', 5, now())
ON CONFLICT DO NOTHING;
"""

# What its pages and monitors ask.
QUERIES = (
    (
        "SELECT name, long_description, basic_logic_description, created_date, updated_date, typical_success_rate,"
        " created_by, risk_level FROM pattern_definitions"
    ),
    "SELECT name, long_description, output_type, typical_range, created_by FROM indicator_definitions",
    "SELECT symbol, exchange, market_cap, sector, industry, country, cik, composite_figi, last_updated FROM symbols",
    "SELECT symbol, indicator_type, value_data, metadata FROM intraday_indicators WHERE expiration_timestamp > now()",
    "SELECT flow_id, symbol, pattern_name, users_notified, flow_path FROM pattern_flow_analysis",
    (
        "SELECT log_integration_event(p_flow_id => gen_random_uuid(), p_event_type => 'x', p_source => 'app',"
        " p_checkpoint => 'EVENT_RECEIVED', p_channel => 'c', p_symbol => 'OLD', p_pattern => 'Doji',"
        " p_confidence => 0.5, p_user_count => 1, p_details => '{}')"
    ),
)
