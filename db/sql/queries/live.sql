-- last_live_minute --
-- The last minute that a live feed brought, of trades or of whole minutes; what replays wrote says nothing of it.
SELECT max(minute) FROM recent_bar
 WHERE NOT replay AND feed IN (%(feed)s::text, %(feed)s::text || '.AM')
   AND minute BETWEEN extract(epoch FROM clock_timestamp()) / 60 - %(look_back)s
                  AND extract(epoch FROM clock_timestamp()) / 60;
