-- import_own_days --
-- Daily bars from our own minutes. A vendor's bar is kept: it covers the whole market, ours only the ticks we received.
INSERT INTO ohlcv_daily AS t (symbol, date, open, high, low, close, volume, provenance, is_final)
SELECT w.symbol, w.day, b.open, b.high, b.low, b.close, b.volume, 'own', w.closes < clock_timestamp()
  FROM unnest(%(symbols)s::text[], %(days)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[])
       AS w (symbol, day, opens, closes)
  CROSS JOIN LATERAL (
       SELECT (array_agg(o.open ORDER BY o."timestamp"))[1] AS open, max(o.high) AS high, min(o.low) AS low,
              (array_agg(o.close ORDER BY o."timestamp" DESC))[1] AS close, sum(o.volume) AS volume
         FROM ohlcv_1min o WHERE o.symbol = w.symbol AND o."timestamp" >= w.opens AND o."timestamp" < w.closes
          AND o."timestamp" BETWEEN %(first)s AND %(last)s) AS b
 WHERE b.open IS NOT NULL
ON CONFLICT (symbol, date) DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
       provenance = excluded.provenance, is_final = excluded.is_final
 WHERE coalesce(t.provenance, '') = 'own'
   AND (t.open, t.high, t.low, t.close, t.volume, t.is_final)
       IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.is_final);

-- register_symbols --
-- In name order, so that two never wait for each other in a circle.
INSERT INTO symbols (symbol)
SELECT DISTINCT symbol FROM unnest(%(symbols)s::text[]) AS w (symbol) ORDER BY 1 ON CONFLICT DO NOTHING;

-- import_vendor_days --
-- A vendor's daily bars. They replace ours; a final bar is replaced only by a final bar. Returns how many rows changed,
-- and how many of them had other values of a vendor before.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(%(symbols)s::text[], %(days)s::date[], %(opens)s::float8[], %(highs)s::float8[],
                         %(lows)s::float8[], %(closes)s::float8[], %(volumes)s::float8[], %(are_final)s::boolean[])
                  AS g (symbol, date, open, high, low, close, volume, is_final)
), before AS MATERIALIZED (
    SELECT t.* FROM given g JOIN ohlcv_daily t ON t.symbol = g.symbol AND t.date = g.date
                                   AND t.date BETWEEN %(first)s AND %(last)s
), written AS (
    INSERT INTO ohlcv_daily AS t (symbol, date, open, high, low, close, volume, provenance, is_final)
    SELECT symbol, date, open, high, low, close, volume, %(source)s, is_final FROM given
    ON CONFLICT (symbol, date) DO UPDATE
       SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
           volume = excluded.volume, provenance = excluded.provenance, is_final = excluded.is_final
     WHERE coalesce(t.provenance, 'own') = 'own'
        OR ((t.open, t.high, t.low, t.close, t.volume, t.is_final) IS DISTINCT FROM
            (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.is_final)
            AND (excluded.is_final OR t.is_final IS NOT TRUE))
    RETURNING t.*
)
SELECT count(*)::int, (count(*) FILTER (WHERE b.provenance <> 'own' AND (b.open, b.high, b.low, b.close, b.volume)
                       IS DISTINCT FROM (w.open, w.high, w.low, w.close, w.volume)))::int
  FROM written w LEFT JOIN before b ON b.symbol = w.symbol AND b.date = w.date;

-- vendor_days --
-- For each day with bars: how many of the symbols have a vendor's bar, and how many of these bars are final.
SELECT t.date, (count(*) FILTER (WHERE t.provenance <> 'own'))::int,
       (count(*) FILTER (WHERE t.provenance <> 'own' AND t.is_final))::int FROM ohlcv_daily t
 WHERE t.symbol = ANY (%(symbols)s) AND t.date BETWEEN %(first)s AND %(last)s GROUP BY t.date ORDER BY t.date;

-- days_without_vendor --
-- The symbols and days without a final bar of a vendor.
SELECT w.symbol, d.day FROM unnest(%(symbols)s::text[]) AS w (symbol) CROSS JOIN unnest(%(days)s::date[]) AS d (day)
 WHERE NOT EXISTS (SELECT FROM ohlcv_daily t WHERE t.symbol = w.symbol AND t.date = d.day AND t.provenance <> 'own'
                      AND t.date BETWEEN %(first)s AND %(last)s AND t.is_final)
 ORDER BY 1, 2;

-- days_by_source --
SELECT coalesce(t.provenance, 'own'), count(*)::int FROM ohlcv_daily t
 WHERE t.symbol = ANY (%(symbols)s) AND t.date = ANY (%(days)s) AND t.date BETWEEN %(first)s AND %(last)s GROUP BY 1;

-- symbols_with_days --
SELECT t.symbol, count(*) FROM ohlcv_daily t
 WHERE t.symbol = ANY (%(symbols)s) AND t.date = ANY (%(days)s) AND t.date BETWEEN %(first)s AND %(last)s GROUP BY t.symbol;

-- make_weeks --
-- From daily bars. Each is in the unit of its last day: volume before a split in it is counted in new shares.
INSERT INTO ohlcv_weekly AS t (symbol, week_start, open, high, low, close, volume, provenance, is_final)
WITH days AS MATERIALIZED (
    SELECT d.*, date_trunc('week', d.date::timestamp)::date AS start,
           max(d.date) OVER (PARTITION BY d.symbol, date_trunc('week', d.date::timestamp)) AS last_day
      FROM ohlcv_daily d WHERE d.symbol = ANY (%(symbols)s) AND d.date BETWEEN %(first)s AND %(last)s
)
SELECT symbol, start, (array_agg(open / factor ORDER BY date))[1], max(high / factor), min(low / factor),
       (array_agg(close / factor ORDER BY date DESC))[1], sum(volume * factor),
       CASE WHEN count(DISTINCT provenance) = 1 THEN min(provenance) ELSE 'mixed' END,
       bool_and(is_final) AND start = ANY (%(ended)s::date[])
  FROM (SELECT d.*, (SELECT split_factor(c.ratio) FROM corporate_action c
                      WHERE c.symbol = d.symbol AND c.ex_date > d.date AND c.ex_date <= d.last_day) AS factor
          FROM days d WHERE d.start = ANY (%(starts)s::date[])) AS d
 GROUP BY symbol, start
ON CONFLICT (symbol, week_start) DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
       provenance = excluded.provenance, is_final = excluded.is_final
 WHERE (t.open, t.high, t.low, t.close, t.volume, t.provenance, t.is_final) IS DISTINCT FROM
       (excluded.open::numeric(18,6), excluded.high::numeric(18,6), excluded.low::numeric(18,6),
        excluded.close::numeric(18,6), excluded.volume::numeric(20,6), excluded.provenance, excluded.is_final);

-- make_months --
INSERT INTO ohlcv_monthly AS t (symbol, month_start, open, high, low, close, volume, provenance, is_final)
WITH days AS MATERIALIZED (
    SELECT d.*, date_trunc('month', d.date::timestamp)::date AS start,
           max(d.date) OVER (PARTITION BY d.symbol, date_trunc('month', d.date::timestamp)) AS last_day
      FROM ohlcv_daily d WHERE d.symbol = ANY (%(symbols)s) AND d.date BETWEEN %(first)s AND %(last)s
)
SELECT symbol, start, (array_agg(open / factor ORDER BY date))[1], max(high / factor), min(low / factor),
       (array_agg(close / factor ORDER BY date DESC))[1], sum(volume * factor),
       CASE WHEN count(DISTINCT provenance) = 1 THEN min(provenance) ELSE 'mixed' END,
       bool_and(is_final) AND start = ANY (%(ended)s::date[])
  FROM (SELECT d.*, (SELECT split_factor(c.ratio) FROM corporate_action c
                      WHERE c.symbol = d.symbol AND c.ex_date > d.date AND c.ex_date <= d.last_day) AS factor
          FROM days d WHERE d.start = ANY (%(starts)s::date[])) AS d
 GROUP BY symbol, start
ON CONFLICT (symbol, month_start) DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
       provenance = excluded.provenance, is_final = excluded.is_final
 WHERE (t.open, t.high, t.low, t.close, t.volume, t.provenance, t.is_final) IS DISTINCT FROM
       (excluded.open::numeric(18,6), excluded.high::numeric(18,6), excluded.low::numeric(18,6),
        excluded.close::numeric(18,6), excluded.volume::numeric(20,6), excluded.provenance, excluded.is_final);

-- load_days --
-- The last bars of each symbol up to a day, oldest first; days since 1970.
COPY (SELECT w.number::int, b.day, b.open, b.high, b.low, b.close, b.volume
        FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS w (symbol, number)
       CROSS JOIN LATERAL (SELECT o.date - date '1970-01-01' AS day, o.open::float8, o.high::float8, o.low::float8,
                                  o.close::float8, o.volume::float8 FROM ohlcv_daily o
                            WHERE o.symbol = w.symbol AND o.date <= %(last)s ORDER BY o.date DESC LIMIT %(bars)s) AS b
       ORDER BY 1, 2) TO STDOUT (FORMAT binary);

-- load_weeks --
COPY (SELECT w.number::int, b.day, b.open, b.high, b.low, b.close, b.volume
        FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS w (symbol, number)
       CROSS JOIN LATERAL (SELECT o.week_start - date '1970-01-01' AS day, o.open::float8, o.high::float8, o.low::float8,
                                  o.close::float8, o.volume::float8 FROM ohlcv_weekly o
                            WHERE o.symbol = w.symbol AND o.week_start <= %(last)s ORDER BY o.week_start DESC LIMIT %(bars)s) AS b
       ORDER BY 1, 2) TO STDOUT (FORMAT binary);

-- load_months --
COPY (SELECT w.number::int, b.day, b.open, b.high, b.low, b.close, b.volume
        FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS w (symbol, number)
       CROSS JOIN LATERAL (SELECT o.month_start - date '1970-01-01' AS day, o.open::float8, o.high::float8, o.low::float8,
                                  o.close::float8, o.volume::float8 FROM ohlcv_monthly o
                            WHERE o.symbol = w.symbol AND o.month_start <= %(last)s ORDER BY o.month_start DESC LIMIT %(bars)s) AS b
       ORDER BY 1, 2) TO STDOUT (FORMAT binary);

-- splits_of --
SELECT symbol, ex_date - date '1970-01-01', ratio::float8 FROM corporate_action
 WHERE symbol = ANY (%(symbols)s) AND ex_date <= %(last)s ORDER BY symbol, ex_date;

-- replace_found --
SELECT new, deleted FROM replace_found(%(table)s::regclass, %(kind)s, %(stamp)s, %(result)s, %(symbols)s, %(timeframe)s,
                                       %(stamps)s, %(rows)s::jsonb);

-- intraday_signals --
-- The published pattern with the highest confidence, for each symbol, session and direction; of equal ones the later.
SELECT DISTINCT ON (p.symbol, w.closes, direction)
       p.symbol, w.closes, (p.pattern_data ->> 'direction')::int AS direction, p.pattern_type, p.timeframe,
       p.confidence::float8, p.detection_timestamp
  FROM unnest(%(opens)s::timestamptz[], %(closes)s::timestamptz[]) AS w (opens, closes)
  JOIN intraday_patterns p ON p.symbol = ANY (%(symbols)s) AND p.detection_timestamp > w.opens
                          AND p.detection_timestamp <= w.closes
  LEFT JOIN detection_flow f ON f.pattern_id = p.id
 WHERE f.superseded_at IS NULL AND p.pattern_data ->> 'event' = 'first' AND p.pattern_data ->> 'direction' IN ('1', '-1')
 ORDER BY p.symbol, w.closes, direction, p.confidence DESC, p.detection_timestamp DESC;

-- daily_pattern_ids --
SELECT symbol, pattern_type, detection_timestamp, id FROM daily_patterns
 WHERE symbol = ANY (%(symbols)s) AND detection_timestamp = ANY (%(stamps)s);

-- lacks_of_daily_tables --
-- Missing columns of tables that may be the application's, which the daily run must write.
SELECT format('ALTER TABLE %%I ADD COLUMN %%I %%s', w.name, w.lacks, w.type)
  FROM (VALUES ('ohlcv_daily', 'provenance', 'text'), ('ohlcv_weekly', 'provenance', 'text'),
               ('ohlcv_monthly', 'provenance', 'text'), ('ohlcv_daily', 'is_final', 'boolean'),
               ('ohlcv_weekly', 'is_final', 'boolean'), ('ohlcv_monthly', 'is_final', 'boolean')) AS w (name, lacks, type)
 WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(w.name) AND attname = w.lacks AND NOT attisdropped);
