-- create_result_stages --
-- Of this connection, filled by COPY outside the transaction, as stage_bar.
CREATE TEMPORARY TABLE IF NOT EXISTS stage_higher_bar (
    partition integer, symbol bpchar, timeframe smallint, minute integer, open float8, high float8, low float8,
    close float8, volume_micro float8, notional float8);
-- A row of stage_indicator with `again` is no value: it names a bar whose values were computed again.
CREATE TEMPORARY TABLE IF NOT EXISTS stage_indicator (
    partition integer, again boolean, symbol text, indicator_type text, timeframe text, calculated_at timestamptz,
    value numeric, value_data jsonb, metadata jsonb);

-- empty_result_stages --
TRUNCATE stage_higher_bar, stage_indicator;

-- copy_higher_stage --
COPY stage_higher_bar FROM STDIN (FORMAT binary);

-- copy_indicator_stage --
COPY stage_indicator FROM STDIN;

-- upsert_recent_higher_bar --
INSERT INTO recent_higher_bar AS t (symbol, timeframe, minute, open, high, low, close, volume_micro, notional)
SELECT symbol::text, timeframe, minute, open, high, low, close, volume_micro, notional
  FROM stage_higher_bar WHERE partition = ANY (%(partitions)s)
ON CONFLICT (symbol, timeframe, minute) DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
       volume_micro = excluded.volume_micro, notional = excluded.notional, written_day = excluded.written_day;

-- upsert_ohlcv_5min --
INSERT INTO ohlcv_5min AS t (symbol, "timestamp", open, high, low, close, volume)
SELECT symbol::text, to_timestamp(minute * 60.0), open::text::numeric, high::text::numeric, low::text::numeric,
       close::text::numeric, (volume_micro / 1e6)::text::numeric
  FROM stage_higher_bar WHERE partition = ANY (%(partitions)s) AND timeframe = 5
ON CONFLICT (symbol, "timestamp") DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume;

-- upsert_ohlcv_15min --
INSERT INTO ohlcv_15min AS t (symbol, "timestamp", open, high, low, close, volume)
SELECT symbol::text, to_timestamp(minute * 60.0), open::text::numeric, high::text::numeric, low::text::numeric,
       close::text::numeric, (volume_micro / 1e6)::text::numeric
  FROM stage_higher_bar WHERE partition = ANY (%(partitions)s) AND timeframe = 15
ON CONFLICT (symbol, "timestamp") DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume;

-- upsert_ohlcv_30min --
INSERT INTO ohlcv_30min AS t (symbol, "timestamp", open, high, low, close, volume)
SELECT symbol::text, to_timestamp(minute * 60.0), open::text::numeric, high::text::numeric, low::text::numeric,
       close::text::numeric, (volume_micro / 1e6)::text::numeric
  FROM stage_higher_bar WHERE partition = ANY (%(partitions)s) AND timeframe = 30
ON CONFLICT (symbol, "timestamp") DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume;

-- upsert_ohlcv_hourly --
INSERT INTO ohlcv_hourly AS t (symbol, "timestamp", open, high, low, close, volume)
SELECT symbol::text, to_timestamp(minute * 60.0), open::text::numeric, high::text::numeric, low::text::numeric,
       close::text::numeric, (volume_micro / 1e6)::text::numeric
  FROM stage_higher_bar WHERE partition = ANY (%(partitions)s) AND timeframe = 60
ON CONFLICT (symbol, "timestamp") DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume;

-- delete_indicators_again --
-- All values of ours on the bars that were computed again: some have no value any more, others are written again.
DELETE FROM intraday_indicators i USING stage_indicator s
 WHERE s.again AND s.partition = ANY (%(partitions)s) AND i.symbol = s.symbol
   AND i.indicator_type = ANY (%(indicators)s::text[]) AND i.timeframe = s.timeframe
   AND i.calculation_timestamp = s.calculated_at;

-- insert_indicators --
INSERT INTO intraday_indicators (symbol, indicator_type, value, value_data, calculation_timestamp, expiration_timestamp,
                                 metadata, timeframe)
SELECT symbol, indicator_type, value, value_data, calculated_at, calculated_at + make_interval(secs => %(lifetime_s)s),
       metadata, timeframe
  FROM stage_indicator WHERE NOT again AND partition = ANY (%(partitions)s);

-- insert_indicators_without_value --
-- The application's table without `value`: value_data holds all outputs, the value first.
INSERT INTO intraday_indicators (symbol, indicator_type, value_data, calculation_timestamp, expiration_timestamp,
                                 metadata, timeframe)
SELECT symbol, indicator_type, value_data, calculated_at, calculated_at + make_interval(secs => %(lifetime_s)s),
       metadata, timeframe
  FROM stage_indicator WHERE NOT again AND partition = ANY (%(partitions)s);

-- has_indicator_value --
SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('intraday_indicators') AND attname = 'value'
                  AND NOT attisdropped);

-- standing_detections --
-- Those on some bars (computed again), and those with some ids (found now). LATERAL and OFFSET 0: by the index, as in
-- staged_over_existing.
SELECT f.flow_id, f.symbol, f.superseded_at IS NOT NULL, f.is_repeat
  FROM unnest(%(symbols)s::text[], %(timeframes)s::smallint[], %(minutes)s::int[]) AS bar (symbol, timeframe, minute)
  CROSS JOIN LATERAL (SELECT d.flow_id, d.symbol, d.superseded_at, d.is_repeat FROM detection_flow d
                       WHERE d.symbol = bar.symbol COLLATE "C" AND d.timeframe = bar.timeframe
                         AND d.minute = bar.minute OFFSET 0) AS f
UNION
SELECT flow_id, symbol, superseded_at IS NOT NULL, is_repeat FROM detection_flow
 WHERE flow_id = ANY (%(flow_ids)s::uuid[]);

-- insert_detections --
WITH found AS (
    SELECT f.*, to_timestamp(f.at) AS ended, ARRAY(SELECT jsonb_array_elements_text(f.levels)::numeric) AS prices
      FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS f (flow_id uuid, symbol text, pattern text, confidence numeric, pattern_data jsonb, at float8, levels jsonb,
              metadata jsonb, timeframe text, timeframe_minutes smallint, minute int, is_repeat boolean)
), inserted AS (
    INSERT INTO intraday_patterns (symbol, pattern_type, confidence, pattern_data, detection_timestamp,
                                   expiration_timestamp, levels, metadata, timeframe)
    SELECT symbol, pattern, confidence, pattern_data, ended, ended + make_interval(secs => %(lifetime_s)s), prices,
           metadata, timeframe
      FROM found
    RETURNING id, (metadata ->> 'flow_id')::uuid AS flow_id
)
INSERT INTO detection_flow (flow_id, symbol, timeframe, minute, pattern, pattern_id, is_repeat)
SELECT f.flow_id, f.symbol, f.timeframe_minutes, f.minute, f.pattern, i.id, f.is_repeat
  FROM found f JOIN inserted i USING (flow_id);

-- refresh_detections --
-- Found again on a revised bar: the same detection with new values.
UPDATE intraday_patterns p
   SET confidence = f.confidence, pattern_data = f.pattern_data, metadata = f.metadata,
       levels = ARRAY(SELECT jsonb_array_elements_text(f.levels)::numeric),
       expiration_timestamp = to_timestamp(f.at) + make_interval(secs => %(lifetime_s)s)
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS f (flow_id uuid, confidence numeric, pattern_data jsonb, at float8, levels jsonb, metadata jsonb)
  CROSS JOIN LATERAL (SELECT s.pattern_id FROM detection_flow s WHERE s.flow_id = f.flow_id OFFSET 0) AS d
 WHERE p.id = d.pattern_id;

-- note_detections_stand --
UPDATE detection_flow SET superseded_at = NULL, is_repeat = %(is_repeat)s
 WHERE flow_id = ANY (%(flow_ids)s::uuid[]) AND (superseded_at IS NOT NULL OR is_repeat <> %(is_repeat)s);

-- supersede_detections --
WITH gone AS (
    UPDATE detection_flow SET superseded_at = clock_timestamp()
     WHERE flow_id = ANY (%(flow_ids)s::uuid[]) AND superseded_at IS NULL RETURNING pattern_id
)
UPDATE intraday_patterns p
   SET expiration_timestamp = least(p.expiration_timestamp, clock_timestamp()),
       metadata = coalesce(p.metadata, '{}') || '{"superseded": true}'
  FROM gone WHERE p.id = gone.pattern_id;

-- has_detection_copies --
SELECT to_regclass('pattern_detections') IS NOT NULL OR to_regclass('hourly_patterns') IS NOT NULL;

-- copy_detections --
SELECT copy_detections(%(rows)s::jsonb, %(lifetime_s)s);

-- remove_detection_copies --
SELECT remove_detection_copies(%(flow_ids)s::uuid[]);

-- log_patterns_published --
-- Before they are published, so that a subscriber finds the row. By the function, if it is the application's.
SELECT log_integration_event(f.flow_id, 'pattern_detected', 'TickStockPL', 'PATTERN_PUBLISHED',
                             'tickstock.events.patterns', f.symbol, f.pattern, f.confidence, NULL::int, f.details)
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS f (flow_id uuid, symbol text, pattern text, confidence numeric, details jsonb)
 WHERE (SELECT md5(p.prosrc) FROM pg_proc p
         WHERE p.oid = to_regprocedure('log_integration_event(uuid, varchar, varchar, varchar, varchar, varchar, varchar,'
                                       ' numeric, integer, jsonb)')) IS DISTINCT FROM %(ours)s;

-- log_patterns_published_at_once --
-- What our own function does, for all rows in one statement.
INSERT INTO integration_events ("timestamp", flow_id, event_type, source_system, checkpoint, channel, symbol,
                                pattern_name, confidence, details, latency_ms)
SELECT f.at, f.flow_id, 'pattern_detected', 'TickStockPL', 'PATTERN_PUBLISHED', 'tickstock.events.patterns', f.symbol,
       f.pattern, f.confidence, f.details, least(99999999.99, extract(epoch FROM f.at - (
           SELECT min(flow."timestamp")
             FROM (SELECT e."timestamp" FROM integration_events e WHERE e.flow_id = f.flow_id OFFSET 0) AS flow)) * 1000)
  FROM (SELECT r.*, clock_timestamp() AS at
          FROM jsonb_to_recordset(%(rows)s::jsonb)
            AS r (flow_id uuid, symbol text, pattern text, confidence numeric, details jsonb)) AS f
 WHERE (SELECT md5(p.prosrc) FROM pg_proc p
         WHERE p.oid = to_regprocedure('log_integration_event(uuid, varchar, varchar, varchar, varchar, varchar, varchar,'
                                       ' numeric, integer, jsonb)')) = %(ours)s;
