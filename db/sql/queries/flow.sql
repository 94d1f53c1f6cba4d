-- flow_checkpoints --
-- Every checkpoint of a flow, ours and the application's, with milliseconds since the first and since the last one.
SELECT id, "timestamp", checkpoint, event_type, source_system, channel, user_count, details,
       coalesce(extract(epoch FROM "timestamp" - min("timestamp") OVER ()) * 1000, 0)::float8,
       (extract(epoch FROM "timestamp" - lag("timestamp") OVER (ORDER BY "timestamp", id)) * 1000)::float8
  FROM integration_events WHERE flow_id = %(flow_id)s
 ORDER BY "timestamp", id;

-- flow_analysis --
-- The view may be the application's own: it has these columns, in this order.
SELECT flow_id, start_time, end_time, total_latency_ms::float8, symbol, pattern_name, confidence::float8,
       users_notified::integer, checkpoints_logged::integer, flow_path
  FROM pattern_flow_analysis WHERE flow_id = %(flow_id)s;

-- flow_detection --
-- The row in intraday_patterns may have been pruned; our own row of every detection has not.
SELECT d.symbol, d.pattern, d.timeframe, to_timestamp(d.minute * 60.0), d.superseded_at, d.pattern_id,
       p.confidence::float8, p.detection_timestamp, p.expiration_timestamp, p.levels::float8[],
       EXISTS (SELECT FROM recent_bar b WHERE b.symbol = d.symbol AND b.replay
                  AND b.minute BETWEEN d.minute AND d.minute + d.timeframe - 1),
       p.pattern_data ->> 'event', (p.pattern_data ->> 'repeat_after')::int, p.pattern_data ->> 'part_of'
  FROM detection_flow d LEFT JOIN intraday_patterns p ON p.id = d.pattern_id
 WHERE d.flow_id = %(flow_id)s;

-- patterns_found --
-- The current ones. All values but the key are in intraday_patterns: detections that were pruned there are left out.
SELECT d.symbol, to_timestamp(d.minute * 60.0), d.timeframe, d.pattern, p.confidence::float8,
       (p.pattern_data ->> 'direction')::int, (p.pattern_data #>> '{bar,close}')::float8,
       (p.pattern_data #>> '{bar,volume}')::float8, p.levels::float8[], d.flow_id
  FROM detection_flow d JOIN intraday_patterns p ON p.id = d.pattern_id
 WHERE d.superseded_at IS NULL
   AND (%(symbols)s::text[] IS NULL OR d.symbol = ANY (%(symbols)s))
   AND (%(patterns)s::text[] IS NULL OR d.pattern = ANY (%(patterns)s))
   AND (%(timeframe)s::int IS NULL OR d.timeframe = %(timeframe)s)
   AND (%(from)s::timestamptz IS NULL OR to_timestamp(d.minute * 60.0) >= %(from)s)
   AND (%(to)s::timestamptz IS NULL OR to_timestamp(d.minute * 60.0) < %(to)s)
 ORDER BY d.symbol, d.minute, d.timeframe, d.pattern;

-- indicators_found --
-- Through JSON: the application's table may have no column `value`; then only value_data holds it. A row's bar ends at
-- its calculation time. Rows of other timeframes are the application's own.
SELECT i.symbol, i.calculation_timestamp - make_interval(mins => t.minutes), i.timeframe, i.indicator_type,
       coalesce((to_jsonb(i) ->> 'value')::float8,
                (SELECT min(o.value::float8) FROM jsonb_each_text(nullif(i.value_data, 'null')) AS o
                 HAVING count(*) = 1)), i.value_data
  FROM unnest(%(timeframes)s::text[], %(minutes)s::int[]) AS t (timeframe, minutes)
  JOIN intraday_indicators i ON i.timeframe = t.timeframe
 WHERE (%(symbols)s::text[] IS NULL OR i.symbol = ANY (%(symbols)s))
   AND (%(indicators)s::text[] IS NULL OR i.indicator_type = ANY (%(indicators)s))
   AND (%(from)s::timestamptz IS NULL OR i.calculation_timestamp - make_interval(mins => t.minutes) >= %(from)s)
   AND (%(to)s::timestamptz IS NULL OR i.calculation_timestamp - make_interval(mins => t.minutes) < %(to)s)
 ORDER BY i.symbol COLLATE "C", t.minutes, i.indicator_type COLLATE "C", i.calculation_timestamp;

-- latest_patterns --
SELECT d.symbol, to_timestamp(d.minute * 60.0), d.pattern, p.confidence::float8, (p.pattern_data ->> 'direction')::int
  FROM detection_flow d JOIN intraday_patterns p ON p.id = d.pattern_id
 WHERE d.superseded_at IS NULL ORDER BY d.minute DESC, p.confidence DESC, d.symbol, d.pattern LIMIT %(count)s;

-- log_test_pattern --
-- As the application calls it. The casts select the application's function by its argument types.
SELECT log_integration_event(%(flow_id)s::uuid, 'pattern_detected', 'TickStockPL', 'PATTERN_PUBLISHED', %(channel)s,
                             %(symbol)s, %(pattern)s, %(confidence)s::numeric, NULL, %(details)s::jsonb);

-- session_of_test_pattern --
-- The running session, else the last one: as in the bridge's own messages.
SELECT session_id FROM streaming_session ORDER BY stopped_at DESC NULLS FIRST, started_at DESC LIMIT 1;
