-- list_splits --
SELECT symbol, ex_date, ratio FROM corporate_action
 WHERE %(symbol)s::text IS NULL OR symbol = %(symbol)s ORDER BY symbol, ex_date;

-- split_minutes --
-- The minute since 1970 in which each ex-date begins in New York.
SELECT symbol, array_agg((extract(epoch FROM ex_date::timestamp AT TIME ZONE 'America/New_York') / 60)::bigint ORDER BY ex_date)
  FROM corporate_action GROUP BY symbol;

-- add_splits --
INSERT INTO corporate_action (symbol, ex_date, ratio)
SELECT * FROM unnest(%(symbols)s::text[], %(ex_dates)s::date[], %(ratios)s::numeric[]) ON CONFLICT DO NOTHING;

-- contradicted_splits --
SELECT given.symbol, given.ex_date, given.ratio, stands.ratio
  FROM unnest(%(symbols)s::text[], %(ex_dates)s::date[], %(ratios)s::numeric[]) AS given (symbol, ex_date, ratio)
  JOIN corporate_action stands USING (symbol, ex_date)
 WHERE stands.ratio <> given.ratio ORDER BY 1, 2;
