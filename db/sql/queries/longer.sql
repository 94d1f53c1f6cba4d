-- longer_bars --
-- Bars of days, weeks and months: a day begins at midnight in New York. The planner drops all branches but one.
SELECT b.symbol, b.day::timestamp AT TIME ZONE 'America/New_York', trim_scale(b.open::numeric), trim_scale(b.high::numeric),
       trim_scale(b.low::numeric), trim_scale(b.close::numeric), trim_scale(b.volume::numeric)
  FROM (SELECT 'daily' AS timeframe, symbol, date AS day, open, high, low, close, volume FROM ohlcv_daily
        UNION ALL SELECT 'weekly', symbol, week_start, open, high, low, close, volume FROM ohlcv_weekly
        UNION ALL SELECT 'monthly', symbol, month_start, open, high, low, close, volume FROM ohlcv_monthly) AS b
 WHERE b.timeframe = %(timeframe)s
   AND (%(symbols)s::text[] IS NULL OR b.symbol = ANY (%(symbols)s))
   AND (%(from)s::timestamptz IS NULL OR b.day::timestamp AT TIME ZONE 'America/New_York' >= %(from)s)
   AND (%(to)s::timestamptz IS NULL OR b.day::timestamp AT TIME ZONE 'America/New_York' < %(to)s)
 ORDER BY b.symbol COLLATE "C", b.day;

-- longer_patterns_found --
-- The patterns of the daily runs. `bar_start` is the bar's first day; rows without it come from the application.
SELECT p.symbol, p.bar, p.timeframe, p.pattern_type, p.confidence::float8, (p.pattern_data ->> 'direction')::int,
       (p.pattern_data #>> '{bar,close}')::float8, (p.pattern_data #>> '{bar,volume}')::float8, p.levels::float8[],
       p.metadata ->> 'flow_id'
  FROM (SELECT t.*, left(t.metadata ->> 'bar_start', 10)::timestamp AT TIME ZONE 'America/New_York' AS bar
          FROM (SELECT 'daily' AS timeframe, symbol, pattern_type, confidence, pattern_data, levels, metadata
                  FROM daily_patterns
                UNION ALL SELECT 'weekly', symbol, pattern_type, confidence, pattern_data, levels, metadata
                  FROM weekly_patterns
                UNION ALL SELECT 'monthly', symbol, pattern_type, confidence, pattern_data, levels, metadata
                  FROM monthly_patterns) AS t) AS p
 WHERE p.bar IS NOT NULL AND p.timeframe = ANY (%(timeframes)s)
   AND (%(symbols)s::text[] IS NULL OR p.symbol = ANY (%(symbols)s))
   AND (%(patterns)s::text[] IS NULL OR p.pattern_type = ANY (%(patterns)s))
   AND (%(from)s::timestamptz IS NULL OR p.bar >= %(from)s) AND (%(to)s::timestamptz IS NULL OR p.bar < %(to)s)
 ORDER BY p.symbol COLLATE "C", p.bar, p.pattern_type COLLATE "C";

-- longer_indicators_found --
-- The indicators of the daily runs. Columns that a table of the application may lack are read through JSON. A row's time is
-- the close of its bar's last day, which is a day of the bar's week and month.
SELECT i.symbol, i.bar, i.timeframe, i.indicator_type, i.value, i.value_data
  FROM (SELECT t.*, date_trunc(CASE t.timeframe WHEN 'weekly' THEN 'week' WHEN 'monthly' THEN 'month' ELSE 'day' END,
                               t.calculation_timestamp AT TIME ZONE 'America/New_York') AT TIME ZONE 'America/New_York' AS bar
          FROM (SELECT d.symbol, d.indicator_type, d.value_data, d.calculation_timestamp,
                       (to_jsonb(d) ->> 'value')::float8 AS value, coalesce(to_jsonb(d) ->> 'timeframe', 'daily') AS timeframe
                  FROM daily_indicators d) AS t) AS i
 WHERE i.timeframe = ANY (%(timeframes)s)
   AND (%(symbols)s::text[] IS NULL OR i.symbol = ANY (%(symbols)s))
   AND (%(indicators)s::text[] IS NULL OR i.indicator_type = ANY (%(indicators)s))
   AND (%(from)s::timestamptz IS NULL OR i.bar >= %(from)s) AND (%(to)s::timestamptz IS NULL OR i.bar < %(to)s)
 ORDER BY i.symbol COLLATE "C", i.timeframe, i.indicator_type COLLATE "C", i.calculation_timestamp;
