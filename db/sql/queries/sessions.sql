-- market_closures --
-- Days and times that Python can read: dates may be infinite in PostgreSQL, and 24:00 is a time there.
SELECT day, CASE WHEN closes_at > '23:59' THEN '23:59' ELSE closes_at END FROM market_closure
 WHERE day BETWEEN '1990-01-01' AND '2100-12-31';

-- always_open_symbols --
SELECT symbol FROM always_open;

-- add_always_open --
INSERT INTO always_open (symbol) SELECT unnest(%(symbols)s::text[]) ON CONFLICT DO NOTHING;

-- remove_always_open --
DELETE FROM always_open WHERE symbol = ANY (%(symbols)s::text[]) OR '*' = ANY (%(symbols)s::text[]);
