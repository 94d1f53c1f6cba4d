-- last_clean_stop --
-- When the last producer of a live feed ended, Unix seconds: it had all ticks until then. No row if it was killed.
SELECT extract(epoch FROM renewed_at)::float8
  FROM (SELECT owner, renewed_at FROM lease WHERE starts_with(unit, 'producer:') AND feed = %(feed)s
         ORDER BY renewed_at DESC LIMIT 1) AS last
 WHERE owner IS NULL;

-- last_live_minute --
-- The last minute that a live feed wrote, from trades or minute aggregates; replays do not count.
SELECT max(minute) FROM recent_bar
 WHERE NOT replay AND feed IN (%(feed)s::text, %(feed)s::text || '.AM')
   AND minute BETWEEN extract(epoch FROM clock_timestamp()) / 60 - %(look_back)s
                  AND extract(epoch FROM clock_timestamp()) / 60;
