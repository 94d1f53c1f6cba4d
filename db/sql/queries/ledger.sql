-- ledger_by_producer --
-- uncounted: applied numbers minus counted ticks, for producers that number ticks (front-door numbers are entry ids).
-- The end frame of a replay or a live producer takes one number in each partition.
SELECT l.producer, sum(ticks_in)::bigint, sum(applied)::bigint, sum(quote_or_zero)::bigint, sum(refused)::bigint,
       sum(future)::bigint, sum(too_late)::bigint, sum(superseded)::bigint, sum(lost)::bigint,
       sum(repeated)::bigint,
       CASE WHEN l.producer = 'front-door' THEN 0
            ELSE sum(l.last_number - ticks_in - ended::int)::bigint END
  FROM ledger l
 WHERE %(producer)s::text IS NULL OR l.producer = %(producer)s
 GROUP BY l.producer ORDER BY l.producer;

-- fleet_totals --
-- Ticks committed, bars written, and current patterns, since the tables were made.
SELECT coalesce(sum(ticks_in), 0)::bigint, (SELECT count(*) FROM recent_bar WHERE open <> 'NaN'),
       (SELECT count(*) FROM detection_flow WHERE superseded_at IS NULL) FROM ledger;

-- note_front_door_loss --
-- Entries of the front door that were trimmed or deleted before they were read: counted since `base`, where the door's
-- owner started to count. A new count from there, after a crash, adds only the difference.
WITH held AS (
    SELECT 1 FROM lease WHERE unit = 'front-door' AND owner = %(owner)s AND epoch = %(epoch)s FOR SHARE),
news AS (
    SELECT %(entries)s::bigint - coalesce((SELECT entries FROM front_door_loss WHERE base = %(base)s), 0) AS entries
      FROM held),
noted AS (
    INSERT INTO front_door_loss AS l (base, entries, total, after, through)
    SELECT %(base)s, %(entries)s, entries, %(after)s, %(through)s FROM news WHERE entries > 0
    ON CONFLICT (one) DO UPDATE
       SET base = excluded.base, entries = excluded.entries, total = l.total + excluded.total,
           after = excluded.after, through = excluded.through, noted_at = clock_timestamp())
INSERT INTO ledger AS l (partition, producer, feed, last_number, ticks_in, lost, lost_at)
SELECT 0, %(producer)s, 'live', 0, entries, entries, clock_timestamp() FROM news WHERE entries > 0
ON CONFLICT (partition, producer) DO UPDATE
   SET ticks_in = l.ticks_in + excluded.ticks_in, lost = l.lost + excluded.lost, updated_at = clock_timestamp(),
       lost_at = excluded.lost_at
RETURNING (SELECT entries FROM news);

-- front_door_loss --
SELECT total, after, through FROM front_door_loss;

-- repeated_ticks --
-- Repeated trades (same ids), since the tables were made.
SELECT coalesce(sum(repeated), 0)::bigint FROM ledger;
