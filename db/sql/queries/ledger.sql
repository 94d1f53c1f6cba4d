-- ledger_by_producer --
-- uncounted: for producers that number ticks (front-door numbers are entry ids), numbers applied less ticks counted;
-- the end frame of a replay or a live producer takes one number in each partition.
SELECT l.producer, sum(ticks_in)::bigint, sum(applied)::bigint, sum(quote_or_zero)::bigint, sum(refused)::bigint,
       sum(future)::bigint, sum(too_late)::bigint, sum(superseded)::bigint, sum(lost)::bigint,
       sum(repeated)::bigint,
       CASE WHEN l.producer = 'front-door' THEN 0
            ELSE sum(l.last_number - ticks_in - ended::int)::bigint END
  FROM ledger l
 WHERE %(producer)s::text IS NULL OR l.producer = %(producer)s
 GROUP BY l.producer ORDER BY l.producer;

-- fleet_totals --
-- Ticks committed, and bars written, since the tables were made.
SELECT coalesce(sum(ticks_in), 0)::bigint, (SELECT count(*) FROM recent_bar WHERE open <> 'NaN') FROM ledger;

-- repeated_ticks --
-- Trades that came again under the same name, since the tables were made.
SELECT coalesce(sum(repeated), 0)::bigint FROM ledger;
