-- unbalanced_ledger_rows --
-- By partition, because errors of two partitions could cancel out. gap: ticks without an outcome; uncounted: as in
-- ledger_by_producer.
SELECT partition, producer, gap, uncounted
  FROM (SELECT partition, producer,
               ticks_in - applied - quote_or_zero - refused - future - too_late - superseded - lost - repeated
                 AS gap,
               CASE WHEN producer = 'front-door' THEN 0 ELSE last_number - ticks_in - ended::int END AS uncounted
          FROM ledger) AS sums
 WHERE gap <> 0 OR uncounted <> 0
 ORDER BY producer, partition;

-- audit_states --
SELECT partition, state FROM checkpoint ORDER BY partition;

-- audit_numbers --
SELECT partition, producer, feed, last_number FROM ledger;

-- audit_abandoned --
SELECT replay, partition FROM finished_replay WHERE abandoned;

-- audit_unstorable --
-- Bars that the database refused: they are dead letters, not rows of the table.
SELECT original FROM dead_letter WHERE reason = 'unstorable';

-- audit_taken_away --
-- Minutes without a trade in a replay, where another feed had written a bar.
SELECT symbol, minute FROM recent_bar WHERE replay AND trades = 0 AND open = 'NaN';

-- audited_bars --
-- minute: since 1970. feed: the last writer of the bar; NULL if it was not one of ours.
SELECT b.symbol, (extract(epoch FROM b."timestamp") / 60)::int, b.open, b.high, b.low, b.close, b.volume, b.trade_count,
       b.vwap, r.feed, r.replay
  FROM ohlcv_1min b
  LEFT JOIN recent_bar r ON r.symbol = b.symbol COLLATE "C"
                        AND r.minute = (extract(epoch FROM b."timestamp") / 60)::int
 WHERE b.symbol = ANY (%(symbols)s)
   AND b."timestamp" BETWEEN to_timestamp(%(first)s * 60.0) AND to_timestamp(%(last)s * 60.0)
 ORDER BY b.symbol COLLATE "C", b."timestamp";

-- audited_bars_with_detail --
SELECT b.symbol, (extract(epoch FROM b."timestamp") / 60)::int, b.open, b.high, b.low, b.close, b.volume, d.trade_count,
       d.vwap, r.feed, r.replay
  FROM ohlcv_1min b
  LEFT JOIN bar_detail d ON d.symbol = b.symbol AND d."timestamp" = b."timestamp"
  LEFT JOIN recent_bar r ON r.symbol = b.symbol COLLATE "C"
                        AND r.minute = (extract(epoch FROM b."timestamp") / 60)::int
 WHERE b.symbol = ANY (%(symbols)s)
   AND b."timestamp" BETWEEN to_timestamp(%(first)s * 60.0) AND to_timestamp(%(last)s * 60.0)
 ORDER BY b.symbol COLLATE "C", b."timestamp";
