-- bars_of_symbol --
-- The last bars of one timeframe, oldest first. The other branches are left out by their first condition. As JSON where
-- the table may be the application's, without our columns.
SELECT at, open, high, low, close, volume, vwap, trades, provenance FROM (
    (SELECT to_char(b."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at, b.open::float8, b.high::float8,
            b.low::float8, b.close::float8, b.volume::float8, (to_jsonb(b) ->> 'vwap')::float8 AS vwap,
            (to_jsonb(b) ->> 'trade_count')::bigint AS trades, to_jsonb(b) ->> 'provenance' AS provenance
       FROM ohlcv_1min b WHERE %(timeframe)s = '1min' AND b.symbol = %(symbol)s
        AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s)
        AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
      ORDER BY b."timestamp" DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_char(b."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), b.open::float8, b.high::float8,
            b.low::float8, b.close::float8, b.volume::float8, NULL, NULL, NULL
       FROM ohlcv_5min b WHERE %(timeframe)s = '5min' AND b.symbol = %(symbol)s
        AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s)
        AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
      ORDER BY b."timestamp" DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_char(b."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), b.open::float8, b.high::float8,
            b.low::float8, b.close::float8, b.volume::float8, NULL, NULL, NULL
       FROM ohlcv_15min b WHERE %(timeframe)s = '15min' AND b.symbol = %(symbol)s
        AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s)
        AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
      ORDER BY b."timestamp" DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_char(b."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), b.open::float8, b.high::float8,
            b.low::float8, b.close::float8, b.volume::float8, NULL, NULL, NULL
       FROM ohlcv_30min b WHERE %(timeframe)s = '30min' AND b.symbol = %(symbol)s
        AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s)
        AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
      ORDER BY b."timestamp" DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_char(b."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), b.open::float8, b.high::float8,
            b.low::float8, b.close::float8, b.volume::float8, NULL, NULL, NULL
       FROM ohlcv_hourly b WHERE %(timeframe)s = 'hourly' AND b.symbol = %(symbol)s
        AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s)
        AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
      ORDER BY b."timestamp" DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_char(b.date, 'YYYY-MM-DD'), b.open::float8, b.high::float8, b.low::float8, b.close::float8,
            b.volume::float8, NULL, NULL, to_jsonb(b) ->> 'provenance'
       FROM ohlcv_daily b WHERE %(timeframe)s = 'daily' AND b.symbol = %(symbol)s
        AND (%(from)s::timestamptz IS NULL OR b.date >= (%(from)s::timestamptz)::date)
        AND (%(to)s::timestamptz IS NULL OR b.date < (%(to)s::timestamptz)::date)
      ORDER BY b.date DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_char(b.week_start, 'YYYY-MM-DD'), b.open::float8, b.high::float8, b.low::float8, b.close::float8,
            b.volume::float8, NULL, NULL, to_jsonb(b) ->> 'provenance'
       FROM ohlcv_weekly b WHERE %(timeframe)s = 'weekly' AND b.symbol = %(symbol)s
        AND (%(from)s::timestamptz IS NULL OR b.week_start >= (%(from)s::timestamptz)::date)
        AND (%(to)s::timestamptz IS NULL OR b.week_start < (%(to)s::timestamptz)::date)
      ORDER BY b.week_start DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_char(b.month_start, 'YYYY-MM-DD'), b.open::float8, b.high::float8, b.low::float8, b.close::float8,
            b.volume::float8, NULL, NULL, to_jsonb(b) ->> 'provenance'
       FROM ohlcv_monthly b WHERE %(timeframe)s = 'monthly' AND b.symbol = %(symbol)s
        AND (%(from)s::timestamptz IS NULL OR b.month_start >= (%(from)s::timestamptz)::date)
        AND (%(to)s::timestamptz IS NULL OR b.month_start < (%(to)s::timestamptz)::date)
      ORDER BY b.month_start DESC LIMIT %(limit)s)
) AS b ORDER BY at;

-- symbol_exists --
SELECT EXISTS (SELECT FROM symbols WHERE symbol = %(symbol)s);

-- latest_patterns_of --
-- Patterns that stand, the latest first. bar: the start of the bar, as text.
SELECT symbol, at, bar, timeframe, pattern, confidence, direction, price, volume, levels, flow_id FROM (
    (SELECT d.symbol, to_timestamp((d.minute + f.minutes) * 60.0) AS at,
            to_char(to_timestamp(d.minute * 60.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS bar,
            f.name AS timeframe, d.pattern, p.confidence::float8,
            (p.pattern_data ->> 'direction')::int AS direction, (p.pattern_data #>> '{bar,close}')::float8 AS price,
            (p.pattern_data #>> '{bar,volume}')::float8 AS volume, p.levels::float8[], d.flow_id::text AS flow_id
       FROM detection_flow d
       JOIN unnest(%(names)s::text[], %(minutes)s::int[]) AS f (name, minutes) ON f.minutes = d.timeframe
       JOIN intraday_patterns p ON p.id = d.pattern_id
      WHERE d.superseded_at IS NULL
        AND (%(symbol)s::text IS NULL OR d.symbol = %(symbol)s)
        AND (%(pattern)s::text IS NULL OR d.pattern = %(pattern)s)
        AND (%(timeframe)s::text IS NULL OR f.name = %(timeframe)s)
        AND p.confidence >= %(confidence)s
      ORDER BY d.minute DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT p.symbol, p.detection_timestamp, left(p.metadata ->> 'bar_start', 10), l.timeframe, p.pattern_type,
            p.confidence::float8,
            (p.pattern_data ->> 'direction')::int, (p.pattern_data #>> '{bar,close}')::float8,
            (p.pattern_data #>> '{bar,volume}')::float8, p.levels, p.metadata ->> 'flow_id'
       FROM (VALUES ('daily'), ('weekly'), ('monthly')) AS l (timeframe)
      CROSS JOIN LATERAL (
            SELECT symbol, detection_timestamp, pattern_type, confidence, pattern_data, levels::float8[], metadata
              FROM daily_patterns WHERE l.timeframe = 'daily'
            UNION ALL
            SELECT symbol, detection_timestamp, pattern_type, confidence, pattern_data, levels::float8[], metadata
              FROM weekly_patterns WHERE l.timeframe = 'weekly'
            UNION ALL
            SELECT symbol, detection_timestamp, pattern_type, confidence, pattern_data, levels::float8[], metadata
              FROM monthly_patterns WHERE l.timeframe = 'monthly') AS p
      WHERE (%(symbol)s::text IS NULL OR p.symbol = %(symbol)s)
        AND (%(pattern)s::text IS NULL OR p.pattern_type = %(pattern)s)
        AND (%(timeframe)s::text IS NULL OR l.timeframe = %(timeframe)s)
        AND p.confidence >= %(confidence)s
      ORDER BY p.detection_timestamp DESC LIMIT %(limit)s)
) AS p ORDER BY at DESC, symbol, pattern LIMIT %(limit)s;

-- latest_indicators_of --
-- The last values of one symbol, the latest first. As JSON where the table may be the application's.
SELECT at, timeframe, indicator, value, values FROM (
    (SELECT i.calculation_timestamp AS at, i.timeframe, i.indicator_type AS indicator,
            (to_jsonb(i) ->> 'value')::float8 AS value, i.value_data AS values
       FROM intraday_indicators i
      WHERE i.symbol = %(symbol)s AND (%(indicator)s::text IS NULL OR i.indicator_type = %(indicator)s)
        AND (%(timeframe)s::text IS NULL OR i.timeframe = %(timeframe)s)
      ORDER BY i.calculation_timestamp DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT i.calculation_timestamp, to_jsonb(i) ->> 'timeframe', i.indicator_type, (to_jsonb(i) ->> 'value')::float8,
            i.value_data
       FROM daily_indicators i
      WHERE i.symbol = %(symbol)s AND (%(indicator)s::text IS NULL OR i.indicator_type = %(indicator)s)
        AND (%(timeframe)s::text IS NULL OR to_jsonb(i) ->> 'timeframe' = %(timeframe)s)
      ORDER BY i.calculation_timestamp DESC LIMIT %(limit)s)
) AS i ORDER BY at DESC, timeframe, indicator LIMIT %(limit)s;

-- cache_syncs --
-- Runs that did nothing but cache_sync, the newest first.
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
