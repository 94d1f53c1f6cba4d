-- load_minutes --
-- The 1-minute bars of some symbols that begin in a span of time: a row for each symbol, and in it an array for each column, in
-- the binary format; minutes since 1970. In any order: PostgreSQL would sort a year of them in a file.
SELECT w.number::int, o.*
  FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS w (symbol, number)
 CROSS JOIN LATERAL (SELECT array_send(array_agg((date_part('epoch', b."timestamp") / 60)::int)),
                            array_send(array_agg(b.open::float8)), array_send(array_agg(b.high::float8)),
                            array_send(array_agg(b.low::float8)), array_send(array_agg(b.close::float8)),
                            array_send(array_agg(b.volume::float8))
                       FROM ohlcv_1min b
                      WHERE b.symbol = w.symbol AND b."timestamp" >= %(first)s AND b."timestamp" < %(end)s) AS o;

-- every_symbol --
SELECT symbol FROM symbols ORDER BY symbol COLLATE "C";

-- unknown_symbols --
-- Those of the given symbols that the table symbols does not have.
SELECT w.symbol FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS w (symbol, place)
 WHERE NOT EXISTS (SELECT FROM symbols s WHERE s.symbol = w.symbol) ORDER BY w.place;

-- add_backtest_part --
INSERT INTO backtest_part (run_id, batch, found) VALUES (%(run_id)s, %(batch)s, %(found)s);

-- next_backtest_part --
SELECT batch, found FROM backtest_part WHERE run_id = %(run_id)s AND batch > %(after)s ORDER BY batch LIMIT 1;

-- drop_backtest_parts --
DELETE FROM backtest_part WHERE run_id = %(run_id)s;

-- drop_backtest_result --
WITH trades AS (DELETE FROM backtest_trade WHERE run_id = %(run_id)s),
     equity AS (DELETE FROM backtest_equity WHERE run_id = %(run_id)s)
DELETE FROM backtest_result WHERE run_id = %(run_id)s;

-- add_backtest_result --
INSERT INTO backtest_result (run_id, figures) VALUES (%(run_id)s, %(figures)s::json);

-- add_backtest_trades --
COPY backtest_trade (run_id, number, symbol, pattern, direction, confidence, entry_time, exit_time, entry_price, exit_price,
                     shares, commission, profit, bars, reason) FROM STDIN;

-- add_backtest_equity --
COPY backtest_equity (run_id, time, equity, benchmark, exposure) FROM STDIN;

-- backtest_figures --
SELECT figures::text FROM backtest_result WHERE run_id = %(run_id)s;

-- backtest_trades --
SELECT symbol, pattern, direction, confidence, entry_time, exit_time, entry_price, exit_price, shares, commission, profit,
       bars, reason
  FROM backtest_trade WHERE run_id = %(run_id)s AND number > %(after)s ORDER BY number LIMIT %(limit)s;

-- backtest_equity --
SELECT time, equity, benchmark, exposure FROM backtest_equity WHERE run_id = %(run_id)s ORDER BY time;

-- backtests --
-- The newest first. done: the number of symbols whose signals are found; every: the number of all symbols.
SELECT r.run_id, r.job_id, r.status, r.phase, r.requested_by, r.request, r.error, r.notes, r.created_at, r.started_at,
       r.ended_at, s.done, s.every, b.figures::text
  FROM run r
  LEFT JOIN backtest_result b USING (run_id)
 CROSS JOIN LATERAL (SELECT coalesce(sum(cardinality(t.symbols)) FILTER (WHERE t.status = 'done'), 0)::int AS done,
                            coalesce(sum(cardinality(t.symbols)), 0)::int AS every
                       FROM run_step t WHERE t.run_id = r.run_id AND t.phase = 'signals') AS s
 WHERE r.kind = 'backtest' AND (%(job_id)s::text IS NULL OR r.job_id = %(job_id)s)
   AND (%(days)s::int IS NULL OR r.created_at > clock_timestamp() - make_interval(days => %(days)s))
 ORDER BY r.created_at DESC, r.job_id LIMIT %(limit)s;
