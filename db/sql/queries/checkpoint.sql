-- lock_checkpoint_for_take --
SELECT token FROM checkpoint WHERE partition = %(partition)s FOR UPDATE;

-- refence_checkpoint --
-- A new epoch and a new token: later commits of the former owner are refused.
UPDATE checkpoint SET epoch = %(epoch)s, token = %(token)s WHERE partition = %(partition)s;

-- load_checkpoint --
-- FOR UPDATE waits for our own commit whose answer was lost.
SELECT epoch, token, position, outbox_number, state FROM checkpoint WHERE partition = %(partition)s FOR UPDATE;

-- lock_checkpoints --
SELECT lock_checkpoints(%(partitions)s::int[], %(tokens)s::bigint[]);

-- advance_checkpoints --
UPDATE checkpoint c
   SET token = new.token, position = new.position, outbox_number = new.outbox_number, state = new.state,
       undetected = new.undetected, committed_at = clock_timestamp()
  FROM unnest(%(partitions)s::int[], %(tokens)s::bigint[], %(positions)s::text[], %(outbox_numbers)s::bigint[],
              %(states)b::bytea[], %(undetected)s::int[])
       AS new (partition, token, position, outbox_number, state, undetected)
 WHERE c.partition = new.partition;

-- undetected_bars --
SELECT sum(undetected) FROM checkpoint;

-- add_to_ledger --
INSERT INTO ledger AS l (partition, producer, feed, last_number, ticks_in, applied, quote_or_zero, refused, future,
                         too_late, superseded, lost, repeated, ended, lost_at)
SELECT new.*, CASE WHEN new.lost > 0 THEN clock_timestamp() END
  FROM unnest(%(partition)s::int[], %(producer)s::text[], %(feed)s::text[], %(last_number)s::bigint[],
                     %(ticks_in)s::bigint[], %(applied)s::bigint[], %(quote_or_zero)s::bigint[], %(refused)s::bigint[],
                     %(future)s::bigint[], %(too_late)s::bigint[], %(superseded)s::bigint[], %(lost)s::bigint[],
                     %(repeated)s::bigint[], %(ended)s::bool[])
    AS new (partition, producer, feed, last_number, ticks_in, applied, quote_or_zero, refused, future, too_late, superseded,
            lost, repeated, ended)
ON CONFLICT (partition, producer) DO UPDATE
   SET last_number = greatest(l.last_number, excluded.last_number), ticks_in = l.ticks_in + excluded.ticks_in,
       applied = l.applied + excluded.applied, quote_or_zero = l.quote_or_zero + excluded.quote_or_zero,
       refused = l.refused + excluded.refused, future = l.future + excluded.future,
       too_late = l.too_late + excluded.too_late, superseded = l.superseded + excluded.superseded,
       lost = l.lost + excluded.lost, repeated = l.repeated + excluded.repeated, ended = l.ended OR excluded.ended,
       updated_at = clock_timestamp(), lost_at = coalesce(excluded.lost_at, l.lost_at);

-- finish_replays --
INSERT INTO finished_replay (replay, partition, last_number, abandoned)
SELECT * FROM unnest(%(replay)s::text[], %(partition)s::int[], %(last_number)s::bigint[], %(abandoned)s::bool[])
ON CONFLICT DO NOTHING;

-- finished_number --
SELECT last_number FROM finished_replay WHERE replay = %(replay)s AND partition = %(partition)s;

-- producer_numbers --
-- The committed number of a replay in each partition, and whether it has ended there.
SELECT partition, max(last_number), bool_or(finished)
  FROM (SELECT partition, last_number, false AS finished FROM ledger WHERE producer = %(producer)s
        UNION ALL
        SELECT partition, last_number, true FROM finished_replay WHERE replay = %(producer)s) AS known
 GROUP BY partition;

-- note_replay --
INSERT INTO replay (name, source) VALUES (%(name)s, %(source)s) ON CONFLICT DO NOTHING;

-- replay_attempts --
-- Names of all attempts at one content: HASH, HASH-2, ...
SELECT name FROM replay WHERE name = %(name)s OR starts_with(name, %(name)s || '-');

-- update_worker --
INSERT INTO worker AS w (consumer, host, pid, ticks, repeats, bars, revisions, commits, fenced, restores, patterns,
                         indicators, alerts, cpu_s, memory_mb, lag_ms, undetected)
VALUES (%(consumer)s, %(host)s, %(pid)s, %(ticks)s, %(repeats)s, %(bars)s, %(revisions)s, %(commits)s, %(fenced)s,
        %(restores)s, %(patterns)s, %(indicators)s, %(alerts)s, %(cpu_s)s, %(memory_mb)s, %(lag_ms)s, %(undetected)s)
ON CONFLICT (consumer) DO UPDATE
   SET host = excluded.host, pid = excluded.pid, ticks = excluded.ticks, repeats = excluded.repeats,
       bars = excluded.bars, revisions = excluded.revisions, commits = excluded.commits, fenced = excluded.fenced,
       restores = excluded.restores, patterns = excluded.patterns, indicators = excluded.indicators,
       alerts = excluded.alerts, cpu_s = excluded.cpu_s, memory_mb = excluded.memory_mb, lag_ms = excluded.lag_ms,
       undetected = excluded.undetected, updated_at = clock_timestamp(),
       started_at = CASE WHEN w.pid = excluded.pid AND w.host = excluded.host THEN w.started_at ELSE clock_timestamp() END;

-- front_door_numbers --
SELECT partition, last_number FROM ledger WHERE producer = 'front-door';
