-- supersede_replaced_ticks --
-- Before the upsert: stored bars of another feed that staged bars replace. Minute aggregates (.AM) belong to the
-- producers of their feed, and count as one tick each. If several producers share a feed, ticks are taken from the
-- latest contributor first. Returns the number of superseded ticks by partition. LATERAL with OFFSET: look-ups by key,
-- whatever the statistics of the temporary table are.
WITH thrown AS (
    SELECT s.partition, s.feed::text AS by_feed,
           CASE WHEN b.feed LIKE '%%.AM' THEN left(b.feed, -3) ELSE b.feed END AS feed, count(*) AS bars,
           count(*) FILTER (WHERE s.trades = 0 AND s.open = 'NaN') AS taken_away,
           count(*) FILTER (WHERE b.replay AND b.feed <> '' AND b.feed NOT LIKE '%%.AM' AND s.trades > 0
                              AND b.open <> 'NaN' AND s.open <> 'NaN'  -- else the times of its trades are unknown
                              AND (b.close_ts < s.open_ts OR b.open_ts > s.close_ts)) AS cut,
           sum(CASE WHEN b.feed LIKE '%%.AM' THEN 1 ELSE b.trades END)::bigint AS ticks
      FROM stage_bar s
     CROSS JOIN LATERAL (SELECT r.feed, r.replay, r.trades, r.open, r.open_ts, r.close_ts FROM recent_bar r
                          WHERE r.symbol = s.symbol::text COLLATE "C" AND r.minute = s.minute OFFSET 0) AS b
     WHERE s.partition = ANY (%(partitions)s) AND b.feed <> s.feed::text
     GROUP BY 1, 2, 3
), answers AS (
    SELECT l.partition, l.producer, l.applied, t.ticks,
           coalesce(sum(l.applied) OVER (PARTITION BY l.partition, l.feed ORDER BY l.updated_at DESC, l.producer
                                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
      FROM (SELECT partition, feed, sum(ticks)::bigint AS ticks FROM thrown GROUP BY 1, 2) AS t
      JOIN ledger l USING (partition, feed)
), moved AS (
    UPDATE ledger l SET applied = l.applied - a.share, superseded = l.superseded + a.share
      FROM (SELECT partition, producer, greatest(0, least(applied, ticks - before))::bigint AS share FROM answers) AS a
     WHERE l.partition = a.partition AND l.producer = a.producer AND a.share > 0
    RETURNING a.partition, a.share
), noted AS (
INSERT INTO replaced AS r (partition, by_feed, feed, bars, taken_away, cut, ticks)
SELECT partition, by_feed, feed, bars, taken_away, cut, ticks FROM thrown
ON CONFLICT (partition, by_feed, feed) DO UPDATE
   SET bars = r.bars + excluded.bars, taken_away = r.taken_away + excluded.taken_away, cut = r.cut + excluded.cut,
       ticks = r.ticks + excluded.ticks
)
SELECT partition, sum(share)::bigint FROM moved GROUP BY 1;

-- note_cover --
-- Not if the replay has ended already: an attempt that died between two partitions.
INSERT INTO replay_cover (replay, partition, symbol, first_ns, last_ns)
SELECT %(replay)s, c.* FROM unnest(%(partitions)s::int[], %(symbols)s::text[], %(first_ns)s::bigint[], %(last_ns)s::bigint[])
    AS c (partition, symbol, first_ns, last_ns)
 WHERE NOT EXISTS (SELECT FROM finished_replay f WHERE f.replay = %(replay)s AND f.partition = c.partition);

-- forget_cover --
DELETE FROM replay_cover WHERE replay = %(replay)s;

-- forget_covers --
DELETE FROM replay_cover c USING unnest(%(replay)s::text[], %(partition)s::int[]) AS ended (replay, partition)
 WHERE c.replay = ended.replay AND c.partition = ended.partition;

-- cover_bounds --
SELECT (min(first_ns) / 60000000000)::bigint, (max(last_ns) / 60000000000)::bigint FROM replay_cover
 WHERE replay = %(replay)s AND partition = %(partition)s;

-- minutes_not_held --
-- Minutes of other feeds within the ranges of a replay's files, without a trade in them. A minute at the edge is kept
-- if all of its trades are outside.
SELECT DISTINCT c.symbol, b.minute
  FROM replay_cover c
 CROSS JOIN LATERAL (
       SELECT r.minute FROM recent_bar r
        WHERE r.symbol = c.symbol AND r.feed <> c.replay AND (r.open <> 'NaN' OR r.trades > 0)
          AND r.minute BETWEEN (c.first_ns / 60000000000)::int AND (c.last_ns / 60000000000)::int
          AND (r.open = 'NaN' OR (r.close_ts >= c.first_ns AND r.open_ts <= c.last_ns)) OFFSET 0) AS b
 WHERE c.replay = %(replay)s AND c.partition = %(partition)s
 ORDER BY 1, 2;

-- forgotten_minutes_not_held --
-- The same for bars deleted from our own copy, which the application's table still has.
SELECT c.symbol, o.minute
  FROM replay_cover c
 CROSS JOIN LATERAL (
       SELECT (extract(epoch FROM x."timestamp") / 60)::integer AS minute FROM ohlcv_1min x
        WHERE x.symbol = c.symbol COLLATE "default" AND x.provenance IN ('live', 'partial', 'replay', 'repair')
          AND x."timestamp" >= to_timestamp(c.first_ns / 1e9) AND x."timestamp" <= to_timestamp(c.last_ns / 1e9)
          AND x."timestamp" < to_timestamp((SELECT before FROM forgotten_bar WHERE timeframe = 1) * 60.0)
          AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp((%(last_minute)s + 1) * 60.0)
       OFFSET 0) AS o
 WHERE c.replay = %(replay)s AND c.partition = %(partition)s
   AND NOT EXISTS (SELECT FROM recent_bar r WHERE r.symbol = c.symbol AND r.minute = o.minute)
 ORDER BY 1, 2;

-- forgotten_minutes_not_held_with_detail --
SELECT c.symbol, o.minute
  FROM replay_cover c
 CROSS JOIN LATERAL (
       SELECT (extract(epoch FROM x."timestamp") / 60)::integer AS minute FROM bar_detail x
        WHERE x.symbol = c.symbol COLLATE "default" AND x.provenance IN ('live', 'partial', 'replay', 'repair')
          AND x."timestamp" >= to_timestamp(c.first_ns / 1e9) AND x."timestamp" <= to_timestamp(c.last_ns / 1e9)
          AND x."timestamp" < to_timestamp((SELECT before FROM forgotten_bar WHERE timeframe = 1) * 60.0)
          AND x."timestamp" BETWEEN to_timestamp(%(first_minute)s * 60.0) AND to_timestamp((%(last_minute)s + 1) * 60.0)
       OFFSET 0) AS o
 WHERE c.replay = %(replay)s AND c.partition = %(partition)s
   AND NOT EXISTS (SELECT FROM recent_bar r WHERE r.symbol = c.symbol AND r.minute = o.minute)
 ORDER BY 1, 2;

-- replaced_by --
-- The bars that a replay replaced; source: the files of an earlier replay.
SELECT d.feed, p.source, sum(d.bars)::bigint, sum(d.taken_away)::bigint, sum(d.cut)::bigint,
       sum(d.ticks)::bigint
  FROM replaced d LEFT JOIN replay p ON p.name = d.feed
 WHERE d.by_feed = %(replay)s GROUP BY 1, 2 ORDER BY 1;

-- ticks_by_feed --
-- For each replay with a score: applied ticks in the ledger, and ticks in its bars. Not if rows of the ledger were
-- deleted already, which happens by partition.
SELECT l.feed, l.applied, coalesce(b.ticks, 0) + coalesce(p.ticks, 0)
  FROM (SELECT feed, sum(applied)::bigint AS applied FROM ledger WHERE feed = producer
         GROUP BY feed HAVING bool_and(is_exact)
            AND NOT EXISTS (SELECT FROM finished_replay f WHERE f.replay = feed AND NOT f.abandoned
                               AND NOT EXISTS (SELECT FROM ledger o
                                                WHERE o.partition = f.partition AND o.producer = f.replay))) AS l
  LEFT JOIN (SELECT feed, sum(trades)::bigint AS ticks FROM recent_bar GROUP BY feed) AS b USING (feed)
  LEFT JOIN (SELECT feed, sum(ticks)::bigint AS ticks FROM replaced WHERE by_feed = 'pruned' GROUP BY feed) AS p
      USING (feed)
 ORDER BY l.feed;
