-- load_recent_bars --
-- For each history the bars up to one minute, as many as a window has, and those that follow; all, or the regular ones. A row
-- for each history, and in it an array for each column, in the binary format: a row for each bar takes ten times as long.
SELECT w.number, b.*
  FROM unnest(%(symbol)s::text[], %(timeframe)s::int[], %(minute)s::int[], %(is_whole)s::bool[], %(window)s::int[], %(slack)s::int[])
    WITH ORDINALITY AS w (symbol, timeframe, minute, is_whole, "window", slack, number)
 CROSS JOIN LATERAL (
       SELECT array_send(array_agg(minute)), array_send(array_agg(open)), array_send(array_agg(high)),
              array_send(array_agg(low)), array_send(array_agg(close)), array_send(array_agg(volume_micro)),
              array_send(array_agg(notional))
         FROM (SELECT * FROM (
               (SELECT r.minute, r.open, r.high, r.low, r.close, r.volume_micro, r.notional FROM recent_bar r
                 WHERE r.symbol = w.symbol COLLATE "C" AND r.minute <= w.minute AND r.open <> 'NaN'
                   AND (w.is_whole OR is_regular_bar(r.minute, 1, %(half_days)s::date[]))
                 ORDER BY r.minute DESC LIMIT w."window")
               UNION ALL
               (SELECT r.minute, r.open, r.high, r.low, r.close, r.volume_micro, r.notional FROM recent_bar r
                 WHERE r.symbol = w.symbol COLLATE "C" AND r.minute > w.minute AND r.open <> 'NaN'
                   AND (w.is_whole OR is_regular_bar(r.minute, 1, %(half_days)s::date[]))
                 ORDER BY r.minute LIMIT w.slack)) AS either ORDER BY minute) AS bar) AS b;

-- load_recent_higher_bars --
SELECT w.number, b.*
  FROM unnest(%(symbol)s::text[], %(timeframe)s::int[], %(minute)s::int[], %(is_whole)s::bool[], %(window)s::int[], %(slack)s::int[])
    WITH ORDINALITY AS w (symbol, timeframe, minute, is_whole, "window", slack, number)
 CROSS JOIN LATERAL (
       SELECT array_send(array_agg(minute)), array_send(array_agg(open)), array_send(array_agg(high)),
              array_send(array_agg(low)), array_send(array_agg(close)), array_send(array_agg(volume_micro)),
              array_send(array_agg(notional))
         FROM (SELECT * FROM (
               (SELECT r.minute, r.open, r.high, r.low, r.close, r.volume_micro, r.notional FROM recent_higher_bar r
                 WHERE r.symbol = w.symbol COLLATE "C" AND r.timeframe = w.timeframe AND r.minute <= w.minute
                   AND (w.is_whole OR is_regular_bar(r.minute, w.timeframe, %(half_days)s::date[]))
                 ORDER BY r.minute DESC LIMIT w."window")
               UNION ALL
               (SELECT r.minute, r.open, r.high, r.low, r.close, r.volume_micro, r.notional FROM recent_higher_bar r
                 WHERE r.symbol = w.symbol COLLATE "C" AND r.timeframe = w.timeframe AND r.minute > w.minute
                   AND (w.is_whole OR is_regular_bar(r.minute, w.timeframe, %(half_days)s::date[]))
                 ORDER BY r.minute LIMIT w.slack)) AS either ORDER BY minute) AS bar) AS b;

-- session_sums_before --
-- In whole millionths, so that the order does not matter: a sum of bigint is exact, of float8 only up to 2^53. The
-- limit is LARGEST_SUM of workers/windows.py, 2^61. round() of a float8 rounds half to even, as numpy's rint.
SELECT w.number, least(sum(least(round(b.notional * 1e6), 2305843009213693952)::bigint), 2305843009213693952)::bigint,
       least(sum(least(b.volume_micro, 2305843009213693952)::bigint), 2305843009213693952)::bigint
  FROM unnest(%(number)s::int[], %(symbol)s::text[], %(from)s::int[], %(before)s::int[]) AS w (number, symbol, first, before)
  CROSS JOIN LATERAL (SELECT r.notional, r.volume_micro FROM recent_bar r
                       WHERE r.symbol = w.symbol COLLATE "C" AND r.minute >= w.first AND r.minute < w.before
                         AND r.open <> 'NaN' OFFSET 0) AS b
 GROUP BY w.number;

-- volumes_of_minutes --
-- From the application's tables, because bars deleted from our own copies still count.
SELECT w.number, x.volume::float8
  FROM unnest(%(number)s::int[], %(symbol)s::text[], %(minute)s::bigint[]) AS w (number, symbol, minute)
 CROSS JOIN LATERAL (SELECT o.volume FROM ohlcv_1min o
                      WHERE o.symbol = w.symbol AND o."timestamp" = to_timestamp(w.minute * 60.0)
                        AND o."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0) OFFSET 0) AS x;

-- volumes_of_5_minutes --
SELECT w.number, x.volume::float8
  FROM unnest(%(number)s::int[], %(symbol)s::text[], %(minute)s::bigint[]) AS w (number, symbol, minute)
 CROSS JOIN LATERAL (SELECT o.volume FROM ohlcv_5min o
                      WHERE o.symbol = w.symbol AND o."timestamp" = to_timestamp(w.minute * 60.0)
                        AND o."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0) OFFSET 0) AS x;

-- volumes_of_15_minutes --
SELECT w.number, x.volume::float8
  FROM unnest(%(number)s::int[], %(symbol)s::text[], %(minute)s::bigint[]) AS w (number, symbol, minute)
 CROSS JOIN LATERAL (SELECT o.volume FROM ohlcv_15min o
                      WHERE o.symbol = w.symbol AND o."timestamp" = to_timestamp(w.minute * 60.0)
                        AND o."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0) OFFSET 0) AS x;

-- volumes_of_30_minutes --
SELECT w.number, x.volume::float8
  FROM unnest(%(number)s::int[], %(symbol)s::text[], %(minute)s::bigint[]) AS w (number, symbol, minute)
 CROSS JOIN LATERAL (SELECT o.volume FROM ohlcv_30min o
                      WHERE o.symbol = w.symbol AND o."timestamp" = to_timestamp(w.minute * 60.0)
                        AND o."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0) OFFSET 0) AS x;

-- volumes_of_hours --
SELECT w.number, x.volume::float8
  FROM unnest(%(number)s::int[], %(symbol)s::text[], %(minute)s::bigint[]) AS w (number, symbol, minute)
 CROSS JOIN LATERAL (SELECT o.volume FROM ohlcv_hourly o
                      WHERE o.symbol = w.symbol AND o."timestamp" = to_timestamp(w.minute * 60.0)
                        AND o."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0) OFFSET 0) AS x;
