-- bars_of_symbol --
-- The last bars of one timeframe, oldest first. Only one branch has rows: the first condition of the others is false. As
-- JSON, because the tables may be the application's, without some of our columns; after the LIMIT, because it is slow.
-- A day begins at midnight in New York, as in longer_bars.
SELECT coalesce(to_char((bar ->> 'timestamp')::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                bar ->> 'date', bar ->> 'week_start', bar ->> 'month_start') AS at,
       (bar ->> 'open')::float8, (bar ->> 'high')::float8, (bar ->> 'low')::float8, (bar ->> 'close')::float8,
       (bar ->> 'volume')::float8, (bar ->> 'vwap')::float8, (bar ->> 'trade_count')::bigint, bar ->> 'provenance', (bar ->> 'revision')::int
  FROM (
    SELECT to_jsonb(b) AS bar FROM (
        SELECT * FROM ohlcv_1min WHERE %(timeframe)s = '1min' AND symbol = %(symbol)s
           AND "timestamp" >= coalesce(%(from)s::timestamptz, '-infinity') AND "timestamp" < coalesce(%(to)s::timestamptz, 'infinity')
         ORDER BY "timestamp" DESC LIMIT %(limit)s) AS b
    UNION ALL
    SELECT to_jsonb(b) AS bar FROM (
        SELECT * FROM ohlcv_5min WHERE %(timeframe)s = '5min' AND symbol = %(symbol)s
           AND "timestamp" >= coalesce(%(from)s::timestamptz, '-infinity') AND "timestamp" < coalesce(%(to)s::timestamptz, 'infinity')
         ORDER BY "timestamp" DESC LIMIT %(limit)s) AS b
    UNION ALL
    SELECT to_jsonb(b) AS bar FROM (
        SELECT * FROM ohlcv_15min WHERE %(timeframe)s = '15min' AND symbol = %(symbol)s
           AND "timestamp" >= coalesce(%(from)s::timestamptz, '-infinity') AND "timestamp" < coalesce(%(to)s::timestamptz, 'infinity')
         ORDER BY "timestamp" DESC LIMIT %(limit)s) AS b
    UNION ALL
    SELECT to_jsonb(b) AS bar FROM (
        SELECT * FROM ohlcv_30min WHERE %(timeframe)s = '30min' AND symbol = %(symbol)s
           AND "timestamp" >= coalesce(%(from)s::timestamptz, '-infinity') AND "timestamp" < coalesce(%(to)s::timestamptz, 'infinity')
         ORDER BY "timestamp" DESC LIMIT %(limit)s) AS b
    UNION ALL
    SELECT to_jsonb(b) AS bar FROM (
        SELECT * FROM ohlcv_hourly WHERE %(timeframe)s = 'hourly' AND symbol = %(symbol)s
           AND "timestamp" >= coalesce(%(from)s::timestamptz, '-infinity') AND "timestamp" < coalesce(%(to)s::timestamptz, 'infinity')
         ORDER BY "timestamp" DESC LIMIT %(limit)s) AS b
    UNION ALL
    SELECT to_jsonb(b) AS bar FROM (
        SELECT * FROM ohlcv_daily WHERE %(timeframe)s = 'daily' AND symbol = %(symbol)s
           AND date > coalesce(((%(from)s::timestamptz - interval '1 us') AT TIME ZONE 'America/New_York')::date, '-infinity')
           AND date <= coalesce(((%(to)s::timestamptz - interval '1 us') AT TIME ZONE 'America/New_York')::date, 'infinity')
         ORDER BY date DESC LIMIT %(limit)s) AS b
    UNION ALL
    SELECT to_jsonb(b) AS bar FROM (
        SELECT * FROM ohlcv_weekly WHERE %(timeframe)s = 'weekly' AND symbol = %(symbol)s
           AND week_start > coalesce(((%(from)s::timestamptz - interval '1 us') AT TIME ZONE 'America/New_York')::date, '-infinity')
           AND week_start <= coalesce(((%(to)s::timestamptz - interval '1 us') AT TIME ZONE 'America/New_York')::date, 'infinity')
         ORDER BY week_start DESC LIMIT %(limit)s) AS b
    UNION ALL
    SELECT to_jsonb(b) AS bar FROM (
        SELECT * FROM ohlcv_monthly WHERE %(timeframe)s = 'monthly' AND symbol = %(symbol)s
           AND month_start > coalesce(((%(from)s::timestamptz - interval '1 us') AT TIME ZONE 'America/New_York')::date, '-infinity')
           AND month_start <= coalesce(((%(to)s::timestamptz - interval '1 us') AT TIME ZONE 'America/New_York')::date, 'infinity')
         ORDER BY month_start DESC LIMIT %(limit)s) AS b
) AS bars ORDER BY at;

-- symbol_exists --
SELECT EXISTS (SELECT FROM symbols WHERE symbol = %(symbol)s);

-- symbols_like --
-- Symbols that begin with a text, then symbols whose name contains it. JSON, because the application's table may lack
-- columns.
SELECT symbol, name, type, active FROM (
    SELECT s.symbol::text AS symbol, to_jsonb(s) ->> 'name' AS name, to_jsonb(s) ->> 'type' AS type,
           s.active IS NOT FALSE AS active, starts_with(upper(s.symbol::text), upper(%(search)s)) AS begins
      FROM symbols s) AS s
 WHERE begins OR strpos(upper(name), upper(%(search)s)) > 0
 ORDER BY begins DESC, active DESC, symbol COLLATE "C" LIMIT %(limit)s;

-- every_definition --
-- All definitions, enabled or not. JSON, because the application's tables may lack columns. A threshold is text, because it
-- may be no valid float8.
SELECT kind, name, description, enabled, timeframes, threshold, period FROM (
    SELECT 'pattern' AS kind, p.name::text AS name, to_jsonb(p) ->> 'short_description' AS description, p.enabled,
           CASE jsonb_typeof(to_jsonb(p) -> 'applicable_timeframes') WHEN 'array'
                THEN ARRAY(SELECT jsonb_array_elements_text(to_jsonb(p) -> 'applicable_timeframes')) END AS timeframes,
           to_jsonb(p) ->> 'confidence_threshold' AS threshold, NULL::int AS period
      FROM pattern_definitions p
    UNION ALL
    SELECT 'indicator', i.name::text, to_jsonb(i) ->> 'short_description', i.enabled,
           CASE jsonb_typeof(to_jsonb(i) -> 'applicable_timeframes') WHEN 'array'
                THEN ARRAY(SELECT jsonb_array_elements_text(to_jsonb(i) -> 'applicable_timeframes')) END,
           NULL, (to_jsonb(i) ->> 'period')::int
      FROM indicator_definitions i) AS d
 ORDER BY kind, name COLLATE "C";

-- latest_patterns_of --
-- The latest patterns, which end at or after `from` and before `to`. bar: the start of the bar, as text. superseded: list
-- superseded patterns, too. That needs a symbol, because the index over all symbols has only valid patterns.
SELECT symbol, at, bar, timeframe, pattern, confidence, direction, price, volume, levels, flow_id, superseded_at, event,
       parameters, base_rate FROM (
    (SELECT d.symbol, to_timestamp((d.minute + f.minutes) * 60.0) AS at,
            to_char(to_timestamp(d.minute * 60.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS bar,
            f.name AS timeframe, d.pattern, p.confidence::float8,
            (p.pattern_data ->> 'direction')::int AS direction, (p.pattern_data #>> '{bar,close}')::float8 AS price,
            (p.pattern_data #>> '{bar,volume}')::float8 AS volume, p.levels::float8[], d.flow_id::text AS flow_id,
            d.superseded_at, p.pattern_data ->> 'event' AS event, p.pattern_data -> 'parameters' AS parameters,
            p.metadata -> 'base_rate' AS base_rate
       FROM detection_flow d
       JOIN unnest(%(names)s::text[], %(minutes)s::int[]) AS f (name, minutes) ON f.minutes = d.timeframe
       JOIN intraday_patterns p ON p.id = d.pattern_id
      WHERE (d.superseded_at IS NULL OR %(superseded)s AND d.symbol = %(symbol)s)
        AND (%(symbol)s::text IS NULL OR d.symbol = %(symbol)s)
        AND (%(pattern)s::text IS NULL OR d.pattern = %(pattern)s)
        AND (%(timeframe)s::text IS NULL OR f.name = %(timeframe)s)
        AND d.minute >= coalesce(extract(epoch FROM %(from)s::timestamptz) / 60 - f.minutes, 0)
        AND d.minute < coalesce(extract(epoch FROM %(to)s::timestamptz) / 60 - f.minutes, 2147483647)
        AND p.confidence >= %(confidence)s
        AND (NOT %(published)s OR coalesce(p.pattern_data ->> 'event', 'first') = 'first')
      ORDER BY d.minute DESC LIMIT %(limit)s)
    UNION ALL
    SELECT p.symbol, p.detection_timestamp, left(p.metadata ->> 'bar_start', 10), 'daily', p.pattern_type,
           p.confidence::float8, (p.pattern_data ->> 'direction')::int, (p.pattern_data #>> '{bar,close}')::float8,
           (p.pattern_data #>> '{bar,volume}')::float8, p.levels::float8[], p.metadata ->> 'flow_id', NULL,
           p.pattern_data ->> 'event', p.pattern_data -> 'parameters', p.metadata -> 'base_rate'
      FROM (SELECT * FROM daily_patterns
             WHERE coalesce(%(timeframe)s, 'daily') = 'daily' AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
               AND (%(pattern)s::text IS NULL OR pattern_type = %(pattern)s) AND confidence >= %(confidence)s
               AND detection_timestamp >= coalesce(%(from)s::timestamptz, '-infinity')
               AND detection_timestamp < coalesce(%(to)s::timestamptz, 'infinity')
               AND (NOT %(published)s OR coalesce(pattern_data ->> 'event', 'first') = 'first')
             ORDER BY detection_timestamp DESC LIMIT %(limit)s) AS p
    UNION ALL
    SELECT p.symbol, p.detection_timestamp, left(p.metadata ->> 'bar_start', 10), 'weekly', p.pattern_type,
           p.confidence::float8, (p.pattern_data ->> 'direction')::int, (p.pattern_data #>> '{bar,close}')::float8,
           (p.pattern_data #>> '{bar,volume}')::float8, p.levels::float8[], p.metadata ->> 'flow_id', NULL,
           p.pattern_data ->> 'event', p.pattern_data -> 'parameters', p.metadata -> 'base_rate'
      FROM (SELECT * FROM weekly_patterns
             WHERE coalesce(%(timeframe)s, 'weekly') = 'weekly' AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
               AND (%(pattern)s::text IS NULL OR pattern_type = %(pattern)s) AND confidence >= %(confidence)s
               AND detection_timestamp >= coalesce(%(from)s::timestamptz, '-infinity')
               AND detection_timestamp < coalesce(%(to)s::timestamptz, 'infinity')
               AND (NOT %(published)s OR coalesce(pattern_data ->> 'event', 'first') = 'first')
             ORDER BY detection_timestamp DESC LIMIT %(limit)s) AS p
    UNION ALL
    SELECT p.symbol, p.detection_timestamp, left(p.metadata ->> 'bar_start', 10), 'monthly', p.pattern_type,
           p.confidence::float8, (p.pattern_data ->> 'direction')::int, (p.pattern_data #>> '{bar,close}')::float8,
           (p.pattern_data #>> '{bar,volume}')::float8, p.levels::float8[], p.metadata ->> 'flow_id', NULL,
           p.pattern_data ->> 'event', p.pattern_data -> 'parameters', p.metadata -> 'base_rate'
      FROM (SELECT * FROM monthly_patterns
             WHERE coalesce(%(timeframe)s, 'monthly') = 'monthly' AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
               AND (%(pattern)s::text IS NULL OR pattern_type = %(pattern)s) AND confidence >= %(confidence)s
               AND detection_timestamp >= coalesce(%(from)s::timestamptz, '-infinity')
               AND detection_timestamp < coalesce(%(to)s::timestamptz, 'infinity')
               AND (NOT %(published)s OR coalesce(pattern_data ->> 'event', 'first') = 'first')
             ORDER BY detection_timestamp DESC LIMIT %(limit)s) AS p
) AS p ORDER BY at DESC, symbol, pattern LIMIT %(limit)s;

-- latest_indicators_of --
-- The last values of one symbol, latest first. As JSON if the table may be the application's, without our columns.
SELECT at, timeframe, indicator, value, values FROM (
    SELECT i.calculation_timestamp AS at, i.timeframe, i.indicator_type AS indicator,
           (to_jsonb(i) ->> 'value')::float8 AS value, i.value_data AS values
      FROM (SELECT * FROM intraday_indicators
             WHERE symbol = %(symbol)s AND calculation_timestamp < coalesce(%(to)s::timestamptz, 'infinity')
               AND (%(indicator)s::text IS NULL OR indicator_type = %(indicator)s)
               AND (%(timeframe)s::text IS NULL OR timeframe = %(timeframe)s)
             ORDER BY calculation_timestamp DESC LIMIT %(limit)s) AS i
    UNION ALL
    SELECT i.calculation_timestamp, to_jsonb(i) ->> 'timeframe', i.indicator_type, (to_jsonb(i) ->> 'value')::float8,
           i.value_data
      FROM (SELECT * FROM daily_indicators d
             WHERE symbol = %(symbol)s AND calculation_timestamp < coalesce(%(to)s::timestamptz, 'infinity')
               AND (%(indicator)s::text IS NULL OR indicator_type = %(indicator)s)
               AND (%(timeframe)s::text IS NULL OR to_jsonb(d) ->> 'timeframe' = %(timeframe)s)
             ORDER BY calculation_timestamp DESC LIMIT %(limit)s) AS i
) AS i ORDER BY at DESC, timeframe, indicator LIMIT %(limit)s;

-- cache_syncs --
-- Runs with only the phase cache_sync, newest first.
SELECT run_id, coalesce(parameters ->> 'cache_mode', 'full'), status, created_at, started_at, ended_at, requested_by, error
  FROM run
 WHERE kind = 'daily' AND phases = '{cache_sync}' AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
   AND (%(days)s::int IS NULL OR created_at > clock_timestamp() - make_interval(days => %(days)s))
 ORDER BY created_at DESC LIMIT %(limit)s;

-- cache_sync_stats --
SELECT count(*), count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
       count(*) FILTER (WHERE status = 'cancelled'), count(*) FILTER (WHERE ended_at IS NULL),
       avg(extract(epoch FROM ended_at - coalesce(started_at, created_at))) FILTER (WHERE status = 'completed')::float8,
       max(ended_at) FILTER (WHERE status = 'completed')
  FROM run
 WHERE kind = 'daily' AND phases = '{cache_sync}'
   AND created_at > clock_timestamp() - make_interval(days => %(days)s);
