-- table_pages --
-- The length of a table in pages, and whether it has parts (partitioned, a hypertable): then whole parts are dropped.
SELECT pg_relation_size(oid) / current_setting('block_size')::bigint,
       EXISTS (SELECT FROM pg_inherits WHERE inhparent = oid)
  FROM pg_class
 WHERE oid = to_regclass(%(table)s);

-- prune_patterns --
-- By pages: each part of the table is read once, whatever its indexes, and rows are locked only briefly.
DELETE FROM intraday_patterns
 WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid AND detection_timestamp < %(before)s;

-- prune_indicators --
DELETE FROM intraday_indicators
 WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid AND calculation_timestamp < %(before)s;

-- prune_events --
DELETE FROM integration_events
 WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid AND "timestamp" < %(before)s;

-- prune_daily_indicators --
DELETE FROM daily_indicators WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid AND calculation_timestamp < %(before)s;

-- prune_daily_patterns --
DELETE FROM daily_patterns WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid AND detection_timestamp < %(before)s;

-- prune_weekly_patterns --
DELETE FROM weekly_patterns WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid AND detection_timestamp < %(before)s;

-- prune_monthly_patterns --
DELETE FROM monthly_patterns WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid AND detection_timestamp < %(before)s;

-- prune_daily_intraday_patterns --
DELETE FROM daily_intraday_patterns WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid AND detection_timestamp < %(before)s;

-- old_patterns --
SELECT count(*) FROM intraday_patterns WHERE detection_timestamp < %(before)s;

-- old_indicators --
SELECT count(*) FROM intraday_indicators WHERE calculation_timestamp < %(before)s;

-- old_events --
SELECT count(*) FROM integration_events WHERE "timestamp" < %(before)s;

-- old_daily_indicators --
SELECT count(*) FROM daily_indicators WHERE calculation_timestamp < %(before)s;

-- old_daily_patterns --
SELECT count(*) FROM daily_patterns WHERE detection_timestamp < %(before)s;

-- old_weekly_patterns --
SELECT count(*) FROM weekly_patterns WHERE detection_timestamp < %(before)s;

-- old_monthly_patterns --
SELECT count(*) FROM monthly_patterns WHERE detection_timestamp < %(before)s;

-- old_daily_intraday_patterns --
SELECT count(*) FROM daily_intraday_patterns WHERE detection_timestamp < %(before)s;
