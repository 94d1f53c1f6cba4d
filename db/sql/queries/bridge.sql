-- raise_bridge_epoch --
-- Above every epoch that was ever used: after a restore of an older database, Redis may know newer ones.
UPDATE lease SET epoch = greatest(epoch, %(above)s, (SELECT max(epoch) FROM bridge_position)) + 1
 WHERE unit = 'bridge' AND owner = %(owner)s AND epoch = %(epoch)s
RETURNING epoch;

-- newest_bridge_position_epoch --
SELECT coalesce(max(epoch), 0) FROM bridge_position;

-- claim_bridge_positions --
-- After this, a stalled bridge cannot move these rows. A partition that is not returned belongs to a newer bridge.
INSERT INTO bridge_position AS p (partition, number, epoch)
SELECT n, 0, %(epoch)s FROM generate_series(-1, %(partitions)s - 1) AS n ORDER BY n  -- -1: the runs
    ON CONFLICT (partition) DO UPDATE SET epoch = excluded.epoch WHERE p.epoch <= excluded.epoch
RETURNING p.partition, p.number;

-- move_bridge_positions --
UPDATE bridge_position p SET number = moved.number, moved_at = clock_timestamp()
  FROM unnest(%(partitions)s::int[], %(numbers)s::bigint[]) AS moved (partition, number)
 WHERE p.partition = moved.partition AND p.epoch = %(epoch)s
RETURNING p.partition;

-- last_outbox_numbers --
-- From the checkpoint as well: rows that were published long ago are deleted.
SELECT c.partition, greatest(c.outbox_number, coalesce((SELECT max(o.number) FROM outbox o
                                                         WHERE o.partition = c.partition), 0))
  FROM checkpoint c
UNION ALL
SELECT -1, greatest(number, coalesce((SELECT max(o.number) FROM outbox o WHERE o.partition = -1), 0)) FROM run_result;

-- outbox_between --
SELECT number, kind, body FROM outbox
 WHERE partition = %(partition)s AND number BETWEEN %(first)s AND %(last)s ORDER BY number LIMIT %(limit)s;

-- partitions_with_unread_outbox --
-- Rows that are not in the stream: their worker died before it copied them, or Redis had no room.
SELECT at.partition
  FROM unnest(%(partitions)s::int[], %(numbers)s::bigint[]) AS at (partition, number)
 WHERE EXISTS (SELECT FROM outbox o WHERE o.partition = at.partition AND o.number > at.number);

-- other_bridges --
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND starts_with(application_name, 'tickstock-bridge ')
   AND pid <> pg_backend_pid();

-- withdraw_bridge --
-- A bridge that ends is not counted as another bridge, even if its connection stays open.
SELECT set_config('application_name', 'tickstock-bridge-leaving', false);

-- bridge_numbers --
-- The number of the last result of each partition that the bridge has published.
SELECT partition, number FROM bridge_position WHERE number > 0;
