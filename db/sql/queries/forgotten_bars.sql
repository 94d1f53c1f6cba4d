-- lock_forgotten_bars --
-- Until this transaction ends no bar is deleted: restored and loaded bars fit together.
SELECT pg_advisory_xact_lock_shared(hashtext('tickstockpl.forgotten_bar'));

-- try_to_forget_bars --
SELECT pg_try_advisory_xact_lock(hashtext('tickstockpl.forgotten_bar'));

-- forgotten_before --
SELECT coalesce(max(before), 0) FROM forgotten_bar WHERE timeframe = %(timeframe)s;

-- put_back_staged --
-- Bars deleted from our copy. They get the feed '', so that nothing is merged with them; a replay and a repair still
-- differ from live bars. Rounded as in the table.
INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro, notional,
                        trades, open_ts, close_ts)
SELECT s.symbol::text, s.minute, CASE o.provenance WHEN 'repair' THEN 'repair.AM' ELSE '' END, o.provenance NOT IN ('live', 'partial'), false,
       coalesce(o.revision, 0), o.open::float8, o.high::float8, o.low::float8, o.close::float8,
       round(o.volume::numeric * 1000000)::float8, coalesce(o.vwap, o.close::float8) * o.volume::float8,
       coalesce(o.trade_count, 0),
       s.minute * 60000000000, s.minute * 60000000000
  FROM stage_bar s
  CROSS JOIN LATERAL (SELECT * FROM ohlcv_1min x
                       WHERE x.symbol = s.symbol::text AND x."timestamp" = to_timestamp(s.minute * 60.0)
                         AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0) OFFSET 0) AS o
 WHERE s.minute < (SELECT before FROM forgotten_bar WHERE timeframe = 1) AND o.provenance IN ('live', 'partial', 'replay', 'repair')
ON CONFLICT DO NOTHING;

-- put_back_staged_with_detail --
INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro, notional,
                        trades, open_ts, close_ts)
SELECT s.symbol::text, s.minute, CASE d.provenance WHEN 'repair' THEN 'repair.AM' ELSE '' END, d.provenance NOT IN ('live', 'partial'), false,
       coalesce(d.revision, 0), o.open::float8, o.high::float8, o.low::float8, o.close::float8,
       round(o.volume::numeric * 1000000)::float8, coalesce(d.vwap, o.close::float8) * o.volume::float8,
       coalesce(d.trade_count, 0),
       s.minute * 60000000000, s.minute * 60000000000
  FROM stage_bar s
  CROSS JOIN LATERAL (SELECT * FROM ohlcv_1min x
                       WHERE x.symbol = s.symbol::text AND x."timestamp" = to_timestamp(s.minute * 60.0)
                         AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0) OFFSET 0) AS o
  CROSS JOIN LATERAL (SELECT * FROM bar_detail x
                       WHERE x.symbol = s.symbol::text AND x."timestamp" = to_timestamp(s.minute * 60.0)
                         AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0) OFFSET 0) AS d
 WHERE s.minute < (SELECT before FROM forgotten_bar WHERE timeframe = 1) AND d.provenance IN ('live', 'partial', 'replay', 'repair')
ON CONFLICT DO NOTHING;

-- put_back_around --
-- Between two minutes; returns the symbols with fewer bars than wanted, which are searched farther away. behind: as
-- slack, or 0 if bars after the later minute were never deleted.
WITH o AS MATERIALIZED (
    SELECT o.*
      FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
     CROSS JOIN LATERAL (
           (SELECT * FROM ohlcv_1min x WHERE x.symbol = w.symbol AND x."timestamp" <= to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 1, %(half_days)s::date[]))
             ORDER BY x."timestamp" DESC LIMIT %(window)s)
           UNION ALL
           (SELECT * FROM ohlcv_1min x WHERE x.symbol = w.symbol AND x."timestamp" > to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 1, %(half_days)s::date[]))
             ORDER BY x."timestamp" LIMIT %(slack)s)) AS o),
put_back AS (
    INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro, notional,
                            trades, open_ts, close_ts)
    SELECT o.symbol, (extract(epoch FROM o."timestamp") / 60)::integer, CASE o.provenance WHEN 'repair' THEN 'repair.AM' ELSE '' END, o.provenance NOT IN ('live', 'partial'), false,
           coalesce(o.revision, 0), o.open::float8, o.high::float8, o.low::float8, o.close::float8,
           round(o.volume::numeric * 1000000)::float8, coalesce(o.vwap, o.close::float8) * o.volume::float8,
           coalesce(o.trade_count, 0),
           extract(epoch FROM o."timestamp")::bigint * 1000000000, extract(epoch FROM o."timestamp")::bigint * 1000000000
      FROM o
     WHERE o."timestamp" < to_timestamp((SELECT before FROM forgotten_bar WHERE timeframe = 1) * 60.0)
       AND o.provenance IN ('live', 'partial', 'replay', 'repair')
    ON CONFLICT DO NOTHING)
SELECT w.symbol, w.minute, w.is_whole
  FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
  LEFT JOIN o USING (symbol)
 GROUP BY 1, 2, 3
HAVING count(*) FILTER (WHERE o."timestamp" <= to_timestamp(w.minute * 60.0)) < %(window)s
    OR count(*) FILTER (WHERE o."timestamp" > to_timestamp(w.minute * 60.0)) < %(behind)s;

-- put_back_around_with_detail --
WITH o AS MATERIALIZED (
    SELECT o.*
      FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
     CROSS JOIN LATERAL (
           (SELECT * FROM ohlcv_1min x WHERE x.symbol = w.symbol AND x."timestamp" <= to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 1, %(half_days)s::date[]))
             ORDER BY x."timestamp" DESC LIMIT %(window)s)
           UNION ALL
           (SELECT * FROM ohlcv_1min x WHERE x.symbol = w.symbol AND x."timestamp" > to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 1, %(half_days)s::date[]))
             ORDER BY x."timestamp" LIMIT %(slack)s)) AS o),
put_back AS (
    INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro, notional,
                            trades, open_ts, close_ts)
    SELECT o.symbol, (extract(epoch FROM o."timestamp") / 60)::integer, CASE d.provenance WHEN 'repair' THEN 'repair.AM' ELSE '' END, d.provenance NOT IN ('live', 'partial'), false,
           coalesce(d.revision, 0), o.open::float8, o.high::float8, o.low::float8, o.close::float8,
           round(o.volume::numeric * 1000000)::float8, coalesce(d.vwap, o.close::float8) * o.volume::float8,
           coalesce(d.trade_count, 0),
           extract(epoch FROM o."timestamp")::bigint * 1000000000, extract(epoch FROM o."timestamp")::bigint * 1000000000
      FROM o
      JOIN bar_detail d ON d.symbol = o.symbol AND d."timestamp" = o."timestamp"
                       AND d."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
     WHERE o."timestamp" < to_timestamp((SELECT before FROM forgotten_bar WHERE timeframe = 1) * 60.0)
       AND d.provenance IN ('live', 'partial', 'replay', 'repair')
    ON CONFLICT DO NOTHING)
SELECT w.symbol, w.minute, w.is_whole
  FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
  LEFT JOIN o USING (symbol)
 GROUP BY 1, 2, 3
HAVING count(*) FILTER (WHERE o."timestamp" <= to_timestamp(w.minute * 60.0)) < %(window)s
    OR count(*) FILTER (WHERE o."timestamp" > to_timestamp(w.minute * 60.0)) < %(behind)s;

-- put_back_5min_bars --
-- The notional is approximately that of the 1-minute bars.
WITH o AS MATERIALIZED (
    SELECT o.*
      FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
     CROSS JOIN LATERAL (
           (SELECT * FROM ohlcv_5min x WHERE x.symbol = w.symbol AND x."timestamp" <= to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 5, %(half_days)s::date[]))
             ORDER BY x."timestamp" DESC LIMIT %(window)s)
           UNION ALL
           (SELECT * FROM ohlcv_5min x WHERE x.symbol = w.symbol AND x."timestamp" > to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 5, %(half_days)s::date[]))
             ORDER BY x."timestamp" LIMIT %(slack)s)) AS o),
put_back AS (
    INSERT INTO recent_higher_bar (symbol, timeframe, minute, open, high, low, close, volume_micro, notional)
    SELECT o.symbol, 5, (extract(epoch FROM o."timestamp") / 60)::integer, o.open::float8, o.high::float8, o.low::float8,
           o.close::float8, round(o.volume::numeric * 1000000)::float8, m.notional
      FROM o
     CROSS JOIN LATERAL (SELECT sum(x.close::float8 * x.volume::float8) AS notional FROM ohlcv_1min x
                          WHERE x.symbol = o.symbol AND x."timestamp" >= o."timestamp"
                            AND x."timestamp" < o."timestamp" + interval '5 minutes'
                            AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0)
                                                  AND to_timestamp((%(last_minute)s + 5) * 60.0)) AS m
     WHERE o."timestamp" < to_timestamp((SELECT before FROM forgotten_bar WHERE timeframe = 5) * 60.0)
       AND m.notional IS NOT NULL
    ON CONFLICT DO NOTHING)
SELECT w.symbol, w.minute, w.is_whole
  FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
  LEFT JOIN o USING (symbol)
 GROUP BY 1, 2, 3
HAVING count(*) FILTER (WHERE o."timestamp" <= to_timestamp(w.minute * 60.0)) < %(window)s
    OR count(*) FILTER (WHERE o."timestamp" > to_timestamp(w.minute * 60.0)) < %(behind)s;

-- put_back_15min_bars --
WITH o AS MATERIALIZED (
    SELECT o.*
      FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
     CROSS JOIN LATERAL (
           (SELECT * FROM ohlcv_15min x WHERE x.symbol = w.symbol AND x."timestamp" <= to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 15, %(half_days)s::date[]))
             ORDER BY x."timestamp" DESC LIMIT %(window)s)
           UNION ALL
           (SELECT * FROM ohlcv_15min x WHERE x.symbol = w.symbol AND x."timestamp" > to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 15, %(half_days)s::date[]))
             ORDER BY x."timestamp" LIMIT %(slack)s)) AS o),
put_back AS (
    INSERT INTO recent_higher_bar (symbol, timeframe, minute, open, high, low, close, volume_micro, notional)
    SELECT o.symbol, 15, (extract(epoch FROM o."timestamp") / 60)::integer, o.open::float8, o.high::float8, o.low::float8,
           o.close::float8, round(o.volume::numeric * 1000000)::float8, m.notional
      FROM o
     CROSS JOIN LATERAL (SELECT sum(x.close::float8 * x.volume::float8) AS notional FROM ohlcv_1min x
                          WHERE x.symbol = o.symbol AND x."timestamp" >= o."timestamp"
                            AND x."timestamp" < o."timestamp" + interval '15 minutes'
                            AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0)
                                                  AND to_timestamp((%(last_minute)s + 15) * 60.0)) AS m
     WHERE o."timestamp" < to_timestamp((SELECT before FROM forgotten_bar WHERE timeframe = 15) * 60.0)
       AND m.notional IS NOT NULL
    ON CONFLICT DO NOTHING)
SELECT w.symbol, w.minute, w.is_whole
  FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
  LEFT JOIN o USING (symbol)
 GROUP BY 1, 2, 3
HAVING count(*) FILTER (WHERE o."timestamp" <= to_timestamp(w.minute * 60.0)) < %(window)s
    OR count(*) FILTER (WHERE o."timestamp" > to_timestamp(w.minute * 60.0)) < %(behind)s;

-- put_back_30min_bars --
WITH o AS MATERIALIZED (
    SELECT o.*
      FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
     CROSS JOIN LATERAL (
           (SELECT * FROM ohlcv_30min x WHERE x.symbol = w.symbol AND x."timestamp" <= to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 30, %(half_days)s::date[]))
             ORDER BY x."timestamp" DESC LIMIT %(window)s)
           UNION ALL
           (SELECT * FROM ohlcv_30min x WHERE x.symbol = w.symbol AND x."timestamp" > to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 30, %(half_days)s::date[]))
             ORDER BY x."timestamp" LIMIT %(slack)s)) AS o),
put_back AS (
    INSERT INTO recent_higher_bar (symbol, timeframe, minute, open, high, low, close, volume_micro, notional)
    SELECT o.symbol, 30, (extract(epoch FROM o."timestamp") / 60)::integer, o.open::float8, o.high::float8, o.low::float8,
           o.close::float8, round(o.volume::numeric * 1000000)::float8, m.notional
      FROM o
     CROSS JOIN LATERAL (SELECT sum(x.close::float8 * x.volume::float8) AS notional FROM ohlcv_1min x
                          WHERE x.symbol = o.symbol AND x."timestamp" >= o."timestamp"
                            AND x."timestamp" < o."timestamp" + interval '30 minutes'
                            AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0)
                                                  AND to_timestamp((%(last_minute)s + 30) * 60.0)) AS m
     WHERE o."timestamp" < to_timestamp((SELECT before FROM forgotten_bar WHERE timeframe = 30) * 60.0)
       AND m.notional IS NOT NULL
    ON CONFLICT DO NOTHING)
SELECT w.symbol, w.minute, w.is_whole
  FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
  LEFT JOIN o USING (symbol)
 GROUP BY 1, 2, 3
HAVING count(*) FILTER (WHERE o."timestamp" <= to_timestamp(w.minute * 60.0)) < %(window)s
    OR count(*) FILTER (WHERE o."timestamp" > to_timestamp(w.minute * 60.0)) < %(behind)s;

-- put_back_hourly_bars --
WITH o AS MATERIALIZED (
    SELECT o.*
      FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
     CROSS JOIN LATERAL (
           (SELECT * FROM ohlcv_hourly x WHERE x.symbol = w.symbol AND x."timestamp" <= to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 60, %(half_days)s::date[]))
             ORDER BY x."timestamp" DESC LIMIT %(window)s)
           UNION ALL
           (SELECT * FROM ohlcv_hourly x WHERE x.symbol = w.symbol AND x."timestamp" > to_timestamp(w.minute * 60.0)
               AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
               AND (w.is_whole OR is_regular_bar((extract(epoch FROM x."timestamp") / 60)::integer, 60, %(half_days)s::date[]))
             ORDER BY x."timestamp" LIMIT %(slack)s)) AS o),
put_back AS (
    INSERT INTO recent_higher_bar (symbol, timeframe, minute, open, high, low, close, volume_micro, notional)
    SELECT o.symbol, 60, (extract(epoch FROM o."timestamp") / 60)::integer, o.open::float8, o.high::float8, o.low::float8,
           o.close::float8, round(o.volume::numeric * 1000000)::float8, m.notional
      FROM o
     CROSS JOIN LATERAL (SELECT sum(x.close::float8 * x.volume::float8) AS notional FROM ohlcv_1min x
                          WHERE x.symbol = o.symbol AND x."timestamp" >= o."timestamp"
                            AND x."timestamp" < o."timestamp" + interval '60 minutes'
                            AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0)
                                                  AND to_timestamp((%(last_minute)s + 60) * 60.0)) AS m
     WHERE o."timestamp" < to_timestamp((SELECT before FROM forgotten_bar WHERE timeframe = 60) * 60.0)
       AND m.notional IS NOT NULL
    ON CONFLICT DO NOTHING)
SELECT w.symbol, w.minute, w.is_whole
  FROM unnest(%(symbols)s::text[], %(minutes)s::bigint[], %(is_whole)s::bool[]) AS w (symbol, minute, is_whole)
  LEFT JOIN o USING (symbol)
 GROUP BY 1, 2, 3
HAVING count(*) FILTER (WHERE o."timestamp" <= to_timestamp(w.minute * 60.0)) < %(window)s
    OR count(*) FILTER (WHERE o."timestamp" > to_timestamp(w.minute * 60.0)) < %(behind)s;
