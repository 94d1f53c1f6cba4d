-- create_stage --
-- Of this connection: COPY fills it outside the transaction, where it holds no lock that others wait for. stands: the
-- bars' table already has this row with the same values. partial: a live bar whose feed did not receive the whole
-- minute.
CREATE TEMPORARY TABLE IF NOT EXISTS stage_bar (
    row_number integer, partition integer, symbol bpchar, minute integer, feed bpchar, replay boolean, whole boolean,
    revision smallint, open float8, high float8, low float8, close float8, volume_micro float8, notional float8,
    trades bigint, open_ts bigint, close_ts bigint, fresh boolean, stands boolean NOT NULL DEFAULT false,
    partial boolean NOT NULL DEFAULT false);

-- empty_stage --
TRUNCATE stage_bar;

-- copy_stage --
COPY stage_bar (row_number, partition, symbol, minute, feed, replay, whole, revision, open, high, low, close,
                volume_micro, notional, trades, open_ts, close_ts, fresh) FROM STDIN (FORMAT binary);

-- staged_over_existing --
-- Stored bars with the keys of staged bars. feed is compared in the worker. LATERAL and OFFSET 0: one index look-up per
-- bar, whatever the statistics are; otherwise a young table would be read whole.
SELECT s.row_number, b.feed, b.replay, b.whole, b.revision, b.open, b.high, b.low, b.close, b.volume_micro, b.notional,
       b.trades, b.open_ts, b.close_ts
  FROM stage_bar s
 CROSS JOIN LATERAL (SELECT * FROM recent_bar r
                      WHERE r.symbol = s.symbol::text COLLATE "C" AND r.minute = s.minute OFFSET 0) AS b;

-- insert_symbols --
-- In order of names, so that two workers never wait for each other in a circle.
INSERT INTO symbols (symbol)
SELECT DISTINCT symbol::text FROM stage_bar
 WHERE partition = ANY (%(partitions)s) AND row_number BETWEEN %(first)s AND %(last)s
 ORDER BY 1 ON CONFLICT DO NOTHING;

-- look_for_each --
-- Off: join rows as sets, until the end of the transaction or until it is on again. In a compressed chunk each look-up
-- decompresses a block of rows.
SELECT set_config('enable_nestloop', %(on)s, true);

-- mark_standing --
-- Even ON CONFLICT without a change locks the row, and TimescaleDB decompresses it for that.
WITH standing AS MATERIALIZED (
    SELECT b.symbol::text AS symbol, b."timestamp", b.open, b.high, b.low, b.close, b.volume, b.trade_count, b.revision,
           b.provenance
      FROM ohlcv_1min b
     WHERE b.symbol = ANY (%(symbols)s::text[])
       AND b."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0))
UPDATE stage_bar s SET stands = true
  FROM standing b
 WHERE s.partition = ANY (%(partitions)s) AND b.symbol = s.symbol::text AND b."timestamp" = to_timestamp(s.minute * 60.0)
   AND s.open <> 'NaN'
   AND (b.open, b.high, b.low, b.close, b.volume, b.trade_count, b.revision, b.provenance)
       IS NOT DISTINCT FROM (
           round(s.open::text::numeric, %(price_decimals)s), round(s.high::text::numeric, %(price_decimals)s),
           round(s.low::text::numeric, %(price_decimals)s), round(s.close::text::numeric, %(price_decimals)s),
           round((s.volume_micro / 1e6)::text::numeric, %(volume_decimals)s), nullif(s.trades, 0), s.revision,
           CASE WHEN s.feed = 'repair.AM' THEN 'repair' WHEN s.replay THEN 'replay'
                WHEN s.partial THEN 'partial' ELSE 'live' END);

-- mark_foreign_standing --
WITH standing AS MATERIALIZED (
    SELECT b.symbol::text AS symbol, b."timestamp", b.open, b.high, b.low, b.close, b.volume, d.trade_count, d.revision,
           d.provenance
      FROM ohlcv_1min b
      JOIN bar_detail d ON d.symbol = b.symbol AND d."timestamp" = b."timestamp"
     WHERE b.symbol = ANY (%(symbols)s::text[])
       AND b."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
       AND d."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0))
UPDATE stage_bar s SET stands = true
  FROM standing b
 WHERE s.partition = ANY (%(partitions)s) AND b.symbol = s.symbol::text AND b."timestamp" = to_timestamp(s.minute * 60.0)
   AND s.open <> 'NaN'
   AND (b.open, b.high, b.low, b.close, b.volume, b.trade_count, b.revision, b.provenance)
       IS NOT DISTINCT FROM (
           round(s.open::text::numeric, %(price_decimals)s), round(s.high::text::numeric, %(price_decimals)s),
           round(s.low::text::numeric, %(price_decimals)s), round(s.close::text::numeric, %(price_decimals)s),
           round((s.volume_micro / 1e6)::text::numeric, %(volume_decimals)s), nullif(s.trades, 0), s.revision,
           CASE WHEN s.feed = 'repair.AM' THEN 'repair' WHEN s.replay THEN 'replay'
                WHEN s.partial THEN 'partial' ELSE 'live' END);

-- mark_partial_staged --
-- Before they are written, after the lock `gaps_stand`: live bars of minutes in a gap. Minute aggregates (.AM) have
-- another feed: each holds its whole minute.
UPDATE stage_bar s SET partial = true
  FROM gap g
 WHERE s.partition = ANY (%(partitions)s) AND NOT s.replay AND g.feed = s.feed::text
   AND g.last_minute >= %(first_minute)s AND g.first_minute <= %(last_minute)s
   AND s.minute BETWEEN g.first_minute AND g.last_minute
   AND (g.symbols IS NULL OR s.symbol::text = ANY (g.symbols)) AND (g.partition IS NULL OR g.partition = s.partition);

-- upsert_ohlcv_1min --
-- Absolute values; an unchanged row is not touched.
INSERT INTO ohlcv_1min AS t (symbol, "timestamp", open, high, low, close, volume, vwap, trade_count, revision, provenance)
SELECT symbol::text, to_timestamp(minute * 60.0), open::text::numeric, high::text::numeric, low::text::numeric,
       close::text::numeric, (volume_micro / 1e6)::text::numeric, coalesce(notional / nullif(volume_micro / 1e6, 0), close),
       nullif(trades, 0), revision,
       CASE WHEN feed = 'repair.AM' THEN 'repair' WHEN replay THEN 'replay' WHEN partial THEN 'partial' ELSE 'live' END
  FROM stage_bar
 WHERE partition = ANY (%(partitions)s) AND row_number BETWEEN %(first)s AND %(last)s AND open <> 'NaN' AND NOT stands
ON CONFLICT (symbol, "timestamp") DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
       vwap = excluded.vwap, trade_count = excluded.trade_count, revision = excluded.revision,
       provenance = excluded.provenance
 WHERE (t.open, t.high, t.low, t.close, t.volume, t.trade_count, t.revision, t.provenance)
       IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume,
                         excluded.trade_count, excluded.revision, excluded.provenance);

-- upsert_foreign_ohlcv_1min --
-- The application's table, to which we may not add columns: prices and volume only.
INSERT INTO ohlcv_1min AS t (symbol, "timestamp", open, high, low, close, volume)
SELECT symbol::text, to_timestamp(minute * 60.0), open::text::numeric, high::text::numeric, low::text::numeric,
       close::text::numeric, (volume_micro / 1e6)::text::numeric
  FROM stage_bar
 WHERE partition = ANY (%(partitions)s) AND row_number BETWEEN %(first)s AND %(last)s AND open <> 'NaN' AND NOT stands
ON CONFLICT (symbol, "timestamp") DO UPDATE
   SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume
 WHERE (t.open, t.high, t.low, t.close, t.volume)
       IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume);

-- upsert_bar_detail --
INSERT INTO bar_detail AS t (symbol, "timestamp", vwap, trade_count, revision, provenance)
SELECT symbol::text, to_timestamp(minute * 60.0), coalesce(notional / nullif(volume_micro / 1e6, 0), close),
       nullif(trades, 0), revision,
       CASE WHEN feed = 'repair.AM' THEN 'repair' WHEN replay THEN 'replay' WHEN partial THEN 'partial' ELSE 'live' END
  FROM stage_bar
 WHERE partition = ANY (%(partitions)s) AND row_number BETWEEN %(first)s AND %(last)s AND open <> 'NaN' AND NOT stands
ON CONFLICT (symbol, "timestamp") DO UPDATE
   SET vwap = excluded.vwap, trade_count = excluded.trade_count, revision = excluded.revision,
       provenance = excluded.provenance
 WHERE (t.trade_count, t.revision, t.provenance)
       IS DISTINCT FROM (excluded.trade_count, excluded.revision, excluded.provenance);

-- unpriced_bars_stand --
-- Asked before the DELETE, which locks every chunk of a hypertable and its indexes, whatever its bounds.
SELECT EXISTS (
    SELECT FROM stage_bar s JOIN ohlcv_1min b ON b.symbol = s.symbol::text AND b."timestamp" = to_timestamp(s.minute * 60.0)
     WHERE s.partition = ANY (%(partitions)s) AND s.open = 'NaN'
       AND b."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0));

-- delete_unpriced_bars --
-- Bars whose trades were all cancelled, or are not in a newer file: without a trade there is no bar.
DELETE FROM ohlcv_1min b USING stage_bar s
 WHERE s.partition = ANY (%(partitions)s) AND s.open = 'NaN'
   AND b.symbol = s.symbol::text AND b."timestamp" = to_timestamp(s.minute * 60.0)
   AND b."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0);

-- delete_unpriced_bar_details --
DELETE FROM bar_detail b USING stage_bar s
 WHERE s.partition = ANY (%(partitions)s) AND s.open = 'NaN'
   AND b.symbol = s.symbol::text AND b."timestamp" = to_timestamp(s.minute * 60.0)
   AND b."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp(%(last_minute)s * 60.0);

-- delete_indicators_of_gone_bars --
DELETE FROM intraday_indicators i USING stage_bar s
 WHERE s.partition = ANY (%(partitions)s) AND s.open = 'NaN' AND s.revision > 0 AND i.symbol = s.symbol::text
   AND i.timeframe = '1min' AND i.calculation_timestamp = to_timestamp((s.minute + 1) * 60.0);

-- delete_emptied_higher_bars --
-- After the upsert: bars of higher timeframes without any 1-minute bar left, and the indicators computed on them.
WITH emptied AS (
    SELECT DISTINCT s.symbol::text AS symbol, t.name, t.minutes, s.minute / t.minutes * t.minutes AS minute,
           to_timestamp(s.minute / t.minutes * t.minutes * 60.0) AS at
      FROM stage_bar s
     CROSS JOIN (VALUES ('5min', 5), ('15min', 15), ('30min', 30), ('hourly', 60)) AS t (name, minutes)
     WHERE s.partition = ANY (%(partitions)s) AND s.open = 'NaN' AND s.revision > 0
       AND NOT EXISTS (SELECT FROM recent_bar r
                        WHERE r.symbol = s.symbol::text COLLATE "C" AND r.open <> 'NaN'
                          AND r.minute BETWEEN s.minute / t.minutes * t.minutes
                                           AND s.minute / t.minutes * t.minutes + t.minutes - 1)
), recent AS (
    DELETE FROM recent_higher_bar h USING emptied e
     WHERE h.symbol = e.symbol COLLATE "C" AND h.timeframe = e.minutes AND h.minute = e.minute
), of_5min AS (
    DELETE FROM ohlcv_5min b USING emptied e
     WHERE e.minutes = 5 AND b.symbol = e.symbol AND b."timestamp" = e.at
       AND b."timestamp" BETWEEN to_timestamp((%(first_minute)s - 5) * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
), of_15min AS (
    DELETE FROM ohlcv_15min b USING emptied e
     WHERE e.minutes = 15 AND b.symbol = e.symbol AND b."timestamp" = e.at
       AND b."timestamp" BETWEEN to_timestamp((%(first_minute)s - 15) * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
), of_30min AS (
    DELETE FROM ohlcv_30min b USING emptied e
     WHERE e.minutes = 30 AND b.symbol = e.symbol AND b."timestamp" = e.at
       AND b."timestamp" BETWEEN to_timestamp((%(first_minute)s - 30) * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
), of_hour AS (
    DELETE FROM ohlcv_hourly b USING emptied e
     WHERE e.minutes = 60 AND b.symbol = e.symbol AND b."timestamp" = e.at
       AND b."timestamp" BETWEEN to_timestamp((%(first_minute)s - 60) * 60.0) AND to_timestamp(%(last_minute)s * 60.0)
)
DELETE FROM intraday_indicators i USING emptied e
 WHERE i.symbol = e.symbol AND i.timeframe = e.name
   AND i.calculation_timestamp = e.at + make_interval(mins => e.minutes);

-- insert_fresh_recent_bar --
-- Bars that were not compared with stored ones. Without ON CONFLICT: where somebody else wrote one, nothing is committed.
INSERT INTO recent_bar (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro, notional,
                        trades, open_ts, close_ts)
SELECT symbol::text, minute, feed::text, replay, whole, revision, open, high, low, close, volume_micro, notional,
       trades, open_ts, close_ts
  FROM stage_bar WHERE partition = ANY (%(partitions)s) AND fresh;

-- fresh_partitions_stored --
-- Whose fresh bars are stored after all.
SELECT DISTINCT s.partition
  FROM stage_bar s
 CROSS JOIN LATERAL (SELECT FROM recent_bar r
                      WHERE r.symbol = s.symbol::text COLLATE "C" AND r.minute = s.minute OFFSET 0) AS b
 WHERE s.fresh AND s.partition = ANY (%(partitions)s);

-- upsert_recent_bar --
INSERT INTO recent_bar AS t (symbol, minute, feed, replay, whole, revision, open, high, low, close, volume_micro,
                             notional, trades, open_ts, close_ts)
SELECT symbol::text, minute, feed::text, replay, whole, revision, open, high, low, close, volume_micro, notional,
       trades, open_ts, close_ts
  FROM stage_bar
 WHERE partition = ANY (%(partitions)s) AND row_number BETWEEN %(first)s AND %(last)s AND (NOT fresh OR %(fresh_too)s)
ON CONFLICT (symbol, minute) DO UPDATE
   SET feed = excluded.feed, replay = excluded.replay, whole = excluded.whole, revision = excluded.revision,
       open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
       volume_micro = excluded.volume_micro, notional = excluded.notional, trades = excluded.trades,
       open_ts = excluded.open_ts, close_ts = excluded.close_ts, written_day = excluded.written_day;

-- has_bar_detail --
SELECT to_regclass('bar_detail') IS NOT NULL;

-- ohlcv_1min_columns --
-- Digits before and after the decimal point in the table's own columns.
SELECT a.attname, format_type(a.atttypid, a.atttypmod)
  FROM pg_attribute a WHERE a.attrelid = 'ohlcv_1min'::regclass AND a.attname IN ('open', 'volume');

-- bars --
SELECT b.symbol, b."timestamp", trim_scale(b.open), trim_scale(b.high), trim_scale(b.low), trim_scale(b.close),
       trim_scale(b.volume::numeric), b.trade_count, b.vwap, b.provenance
  FROM ohlcv_1min b
 WHERE (%(symbols)s::text[] IS NULL OR b.symbol = ANY (%(symbols)s))
   AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s) AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
 ORDER BY b.symbol COLLATE "C", b."timestamp";

-- bars_with_detail --
SELECT b.symbol, b."timestamp", trim_scale(b.open), trim_scale(b.high), trim_scale(b.low), trim_scale(b.close),
       trim_scale(b.volume::numeric), d.trade_count, d.vwap, d.provenance
  FROM ohlcv_1min b LEFT JOIN bar_detail d USING (symbol, "timestamp")
 WHERE (%(symbols)s::text[] IS NULL OR b.symbol = ANY (%(symbols)s))
   AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s) AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
 ORDER BY b.symbol COLLATE "C", b."timestamp";

-- higher_bars --
-- The planner drops all branches but one: their timeframes differ.
SELECT b.symbol, b."timestamp", trim_scale(b.open), trim_scale(b.high), trim_scale(b.low), trim_scale(b.close),
       trim_scale(b.volume::numeric)
  FROM (SELECT 5 AS timeframe, symbol, "timestamp", open, high, low, close, volume FROM ohlcv_5min
        UNION ALL SELECT 15, symbol, "timestamp", open, high, low, close, volume FROM ohlcv_15min
        UNION ALL SELECT 30, symbol, "timestamp", open, high, low, close, volume FROM ohlcv_30min
        UNION ALL SELECT 60, symbol, "timestamp", open, high, low, close, volume FROM ohlcv_hourly) AS b
 WHERE b.timeframe = %(timeframe)s
   AND (%(symbols)s::text[] IS NULL OR b.symbol = ANY (%(symbols)s))
   AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s) AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
 ORDER BY b.symbol COLLATE "C", b."timestamp";

-- latest_bars --
-- Of the last minutes, busiest first.
SELECT symbol, "timestamp", trim_scale(open), trim_scale(high), trim_scale(low), trim_scale(close),
       trim_scale(volume::numeric)
  FROM ohlcv_1min ORDER BY "timestamp" DESC, volume DESC, symbol LIMIT %(count)s;

-- bars_of_feed --
-- The minutes whose last writer is a feed, and the current patterns on them.
SELECT (SELECT count(*) FROM recent_bar WHERE feed = %(feed)s AND open <> 'NaN'),
       (SELECT count(*) FROM detection_flow d
         WHERE d.superseded_at IS NULL
           AND EXISTS (SELECT FROM recent_bar b WHERE b.symbol = d.symbol AND b.feed = %(feed)s
                          AND b.minute BETWEEN d.minute AND d.minute + d.timeframe - 1));
