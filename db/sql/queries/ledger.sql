-- ledger_by_producer --
-- uncounted: for producers that number ticks (front-door numbers are entry ids), numbers applied less ticks counted;
-- the end frame of a replay or a live producer takes one number in each partition.
SELECT l.producer, sum(ticks_in)::bigint, sum(applied)::bigint, sum(quote_or_zero)::bigint, sum(refused)::bigint,
       sum(future)::bigint, sum(too_late)::bigint, sum(superseded)::bigint, sum(lost)::bigint,
       CASE WHEN l.producer = 'front-door' THEN 0
            ELSE sum(l.last_number - ticks_in - ended::int)::bigint END
  FROM ledger l
 WHERE %(producer)s::text IS NULL OR l.producer = %(producer)s
 GROUP BY l.producer ORDER BY l.producer;

-- bars --
SELECT b.symbol, b."timestamp", trim_scale(b.open), trim_scale(b.high), trim_scale(b.low), trim_scale(b.close),
       trim_scale(b.volume::numeric), b.trade_count, b.vwap
  FROM ohlcv_1min b
 WHERE (%(symbol)s::text IS NULL OR b.symbol = %(symbol)s)
   AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s) AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
 ORDER BY b.symbol COLLATE "C", b."timestamp";

-- bars_with_detail --
SELECT b.symbol, b."timestamp", trim_scale(b.open), trim_scale(b.high), trim_scale(b.low), trim_scale(b.close),
       trim_scale(b.volume::numeric), d.trade_count, d.vwap
  FROM ohlcv_1min b LEFT JOIN bar_detail d USING (symbol, "timestamp")
 WHERE (%(symbol)s::text IS NULL OR b.symbol = %(symbol)s)
   AND (%(from)s::timestamptz IS NULL OR b."timestamp" >= %(from)s) AND (%(to)s::timestamptz IS NULL OR b."timestamp" < %(to)s)
 ORDER BY b.symbol COLLATE "C", b."timestamp";

-- latest_bars --
SELECT symbol, "timestamp", open, high, low, close, volume FROM ohlcv_1min
 ORDER BY "timestamp" DESC, symbol LIMIT %(count)s;
