-- update_symbols --
SELECT update_symbols(%(rows)s::jsonb);

-- mark_delisted --
-- Delisted symbols are never deleted: their bars and detections stay.
UPDATE symbols SET active = false WHERE symbol = ANY (%(symbols)s) AND active IS DISTINCT FROM false;

-- members_of_market --
-- By columns that the application's table may not have.
SELECT symbol, to_jsonb(s) ->> 'type', (to_jsonb(s) ->> 'market_cap')::float8 FROM symbols s
 WHERE active IS NOT FALSE ORDER BY symbol COLLATE "C";

-- symbols_to_value --
-- First those that were never asked for, then those that were asked for longest ago.
SELECT symbol FROM symbols s
 WHERE symbol = ANY (%(symbols)s) AND active IS NOT FALSE AND coalesce(to_jsonb(s) ->> 'type', 'CS') IN ('CS', 'ADRC')
 ORDER BY to_jsonb(s) ->> 'last_updated_utc' NULLS FIRST, to_jsonb(s) ->> 'market_cap' IS NOT NULL, symbol
 LIMIT %(limit)s;

-- add_closures --
INSERT INTO market_closure AS t (day, closes_at, reason)
SELECT * FROM unnest(%(days)s::date[], %(closes)s::time[], %(reasons)s::text[])
ON CONFLICT (day) DO UPDATE SET closes_at = excluded.closes_at, reason = excluded.reason
 WHERE (t.closes_at, t.reason) IS DISTINCT FROM (excluded.closes_at, excluded.reason);
