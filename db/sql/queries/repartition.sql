-- lock_repartition --
-- Held until this connection ends: only one at a time.
SELECT pg_advisory_lock(hashtext('tickstockpl.repartition'));

-- lock_stream --
-- Excludes `hold_stream`, and comes before the leases: processes that open the stream lock in this order.
SELECT pg_advisory_xact_lock(hashtext('tickstockpl.stream'));

-- lock_fleet --
-- Processes that take a lease wait for this transaction, and then find that the stream has changed. The checkpoints
-- wait for a commit of a worker whose leases have ended.
LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE;

-- lock_all_checkpoints --
SELECT partition, state FROM checkpoint ORDER BY partition FOR UPDATE;

-- running_owners --
-- Every owner of a lease, and one of its units.
SELECT owner, min(unit COLLATE "C") FROM lease
 WHERE owner IS NOT NULL AND expires_at >= clock_timestamp() GROUP BY owner ORDER BY owner;

-- connected_processes --
-- A stopped or hanging process has lost its leases, but still has its connection: 'worker NAME', 'bridge NAME',
-- 'jobs NAME', 'producer'. A process of jobs has three connections, of which any may be closed at the moment.
SELECT DISTINCT regexp_replace(substr(application_name, 11), '^jobs-(coordinator|listener) ', 'jobs ') FROM pg_stat_activity
 WHERE datname = current_database()
   AND application_name ~ '^tickstock-(worker .*|bridge .*|jobs(-coordinator|-listener)? .*|producer|repair)$' ORDER BY 1;

-- unfinished_producers --
-- Live producers of the last day without a clean end: a killed one may have left a spool.
SELECT producer FROM ledger
 WHERE NOT ended AND producer NOT IN (feed, 'front-door') AND NOT starts_with(producer, 'repair-')
   AND updated_at > clock_timestamp() - interval '24 hours'
 UNION
SELECT substr(unit, 10) FROM lease l
 WHERE starts_with(unit, 'producer:') AND NOT starts_with(unit, 'producer:repair-') AND owner IS NOT NULL
   AND expires_at < clock_timestamp() AND renewed_at > clock_timestamp() - interval '24 hours'
   AND NOT EXISTS (SELECT FROM ledger WHERE producer = substr(l.unit, 10) AND ended)
 ORDER BY 1;

-- results_to_tell --
-- By partition: the highest number given, the highest in the outbox, the bridge's (NULL: never a bridge), and whether
-- the outbox has messages for the bridge: not bars, and not results that it dropped.
SELECT c.partition, c.outbox_number, coalesce((SELECT max(o.number) FROM outbox o WHERE o.partition = c.partition), 0),
       b.number,
       EXISTS (SELECT FROM outbox o WHERE o.partition = c.partition AND o.kind NOT IN ('bars', 'void'))
  FROM checkpoint c LEFT JOIN bridge_position b USING (partition) ORDER BY c.partition;

-- count_untold_dead_letters --
SELECT count(*) FROM dead_letter WHERE NOT told;

-- recent_producers --
-- Producers that may still send frames, by feed. Workers also forget them after a day.
SELECT producer, max(feed) FROM ledger
 WHERE producer NOT IN (feed, 'front-door') AND updated_at > clock_timestamp() - interval '24 hours' GROUP BY producer
 UNION
SELECT substr(unit, 10), 'live' FROM lease l
 WHERE starts_with(unit, 'producer:') AND renewed_at > clock_timestamp() - interval '24 hours'
   AND NOT EXISTS (SELECT FROM ledger WHERE producer = substr(l.unit, 10));

-- end_producers --
-- As if the end frame had been applied, which takes one number: later frames are dropped.
UPDATE ledger SET last_number = last_number + 1, ended = true
 WHERE NOT ended AND producer = ANY (%(producers)s::text[]);

-- end_producers_everywhere --
-- Also in partitions that received nothing from them.
INSERT INTO ledger (partition, producer, feed, last_number, ended)
SELECT p, producer, feed, 1, true
  FROM generate_series(0, %(partitions)s - 1) AS p,
       unnest(%(producers)s::text[], %(feeds)s::text[]) AS ended (producer, feed)
    ON CONFLICT (partition, producer) DO NOTHING;

-- place_front_door --
-- Everything was applied everywhere: all partitions get the position of the most advanced one.
INSERT INTO ledger AS l (partition, producer, feed, last_number)
SELECT p, 'front-door', 'live', number
  FROM generate_series(0, %(partitions)s - 1) AS p,
       (SELECT max(last_number) FROM ledger WHERE producer = 'front-door') AS foremost (number)
 WHERE number IS NOT NULL
    ON CONFLICT (partition, producer) DO UPDATE SET last_number = excluded.last_number;

-- gather_front_door --
-- The counts of removed partitions; the door's position is the lowest number in all its rows.
WITH gone AS (
    DELETE FROM ledger WHERE producer = 'front-door' AND partition >= %(partitions)s RETURNING *),
sums AS (
    SELECT coalesce(sum(ticks_in), 0) AS ticks_in, coalesce(sum(applied), 0) AS applied,
           coalesce(sum(quote_or_zero), 0) AS quote_or_zero, coalesce(sum(refused), 0) AS refused,
           coalesce(sum(future), 0) AS future, coalesce(sum(too_late), 0) AS too_late,
           coalesce(sum(superseded), 0) AS superseded, coalesce(sum(lost), 0) AS lost,
           coalesce(sum(repeated), 0) AS repeated FROM gone)
UPDATE ledger l
   SET ticks_in = l.ticks_in + sums.ticks_in, applied = l.applied + sums.applied,
       quote_or_zero = l.quote_or_zero + sums.quote_or_zero, refused = l.refused + sums.refused,
       future = l.future + sums.future, too_late = l.too_late + sums.too_late,
       superseded = l.superseded + sums.superseded, lost = l.lost + sums.lost,
       repeated = l.repeated + sums.repeated
  FROM sums WHERE l.partition = 0 AND l.producer = 'front-door';

-- ended_flows --
-- What each new partition must know of these producers and of the front door.
SELECT partition, producer, feed, last_number, ended FROM ledger
 WHERE partition < %(partitions)s AND (producer = 'front-door' OR producer = ANY (%(producers)s::text[]));

-- keep_former_partitions --
INSERT INTO former_partition (partition, epoch, outbox_number)
SELECT c.partition, greatest(c.epoch, l.epoch), c.outbox_number
  FROM checkpoint c LEFT JOIN lease l ON l.unit = 'partition:' || c.partition
 WHERE c.partition >= %(partitions)s
    ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch, outbox_number = excluded.outbox_number;

-- drop_former_checkpoints --
DELETE FROM checkpoint WHERE partition >= %(partitions)s;

-- drop_former_leases --
DELETE FROM lease WHERE starts_with(unit, 'partition:') AND substr(unit, 11)::int >= %(partitions)s;

-- drop_former_outbox --
DELETE FROM outbox WHERE partition >= %(partitions)s;

-- drop_former_bridge_positions --
DELETE FROM bridge_position WHERE partition >= %(partitions)s;

-- add_checkpoints --
-- A partition that existed before continues its numbers.
INSERT INTO checkpoint (partition, epoch, outbox_number)
SELECT n, coalesce(f.epoch, 0), coalesce(f.outbox_number, 0)
  FROM generate_series(0, %(partitions)s - 1) AS n LEFT JOIN former_partition f ON f.partition = n
    ON CONFLICT DO NOTHING;

-- add_leases --
INSERT INTO lease (unit, epoch)
SELECT 'partition:' || n, coalesce(f.epoch, 0)
  FROM generate_series(0, %(partitions)s - 1) AS n LEFT JOIN former_partition f ON f.partition = n
    ON CONFLICT DO NOTHING;

-- add_bridge_positions --
-- If a bridge has published all results of a former partition; for a new one it creates the row itself.
INSERT INTO bridge_position (partition, number, epoch)
SELECT f.partition, f.outbox_number, newest.epoch
  FROM former_partition f, (SELECT max(epoch) FROM bridge_position) AS newest (epoch)
 WHERE f.partition < %(partitions)s AND newest.epoch IS NOT NULL
    ON CONFLICT DO NOTHING;

-- forget_former_partitions --
DELETE FROM former_partition WHERE partition < %(partitions)s;

-- end_every_lease --
-- A process that wakes up later finds its epoch changed. Recorded `sent` numbers are committed, and belong to the
-- former partitions.
UPDATE lease SET epoch = epoch + 1, owner = NULL, expires_at = '-infinity', sent = NULL;

-- replace_checkpoints --
-- The streams start again, and so do the positions.
UPDATE checkpoint c
   SET epoch = c.epoch + 1, token = new.token, position = '0-0', state = new.state, undetected = new.undetected
  FROM unnest(%(partitions)s::int[], %(tokens)s::bigint[], %(states)b::bytea[], %(undetected)s::int[])
       AS new (partition, token, state, undetected)
 WHERE c.partition = new.partition;

-- widen_gaps --
-- Open gaps of one partition: their symbols cannot be known any more, so all are fetched.
UPDATE gap SET partition = NULL WHERE partition IS NOT NULL AND state <> 'repaired';

-- note_former_replays --
UPDATE replay SET partitions = %(former)s WHERE partitions IS NULL;

-- begin_repartition --
UPDATE stream SET former_partitions = partitions, partitions = %(partitions)s, repartitioned_at = clock_timestamp()
 WHERE name = %(name)s;

-- end_repartition --
UPDATE stream SET former_partitions = NULL WHERE name = %(name)s;
