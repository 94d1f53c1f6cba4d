-- partition_status --
-- An owner whose lease has ended does not count.
SELECT c.partition, CASE WHEN l.expires_at >= clock_timestamp() THEN l.owner END, coalesce(l.epoch, 0), c.position,
       c.committed_at, l.pause_s
  FROM checkpoint c LEFT JOIN lease l ON l.unit = 'partition:' || c.partition
 ORDER BY c.partition;

-- latest_replay --
SELECT name FROM replay ORDER BY started_at DESC LIMIT 1;

-- committed_numbers --
-- finished: a replay that ended here: nothing more is expected from it.
SELECT partition, producer, max(last_number), bool_or(finished)
  FROM (SELECT partition, producer, last_number, false AS finished FROM ledger
        UNION ALL
        SELECT partition, replay, last_number, true FROM finished_replay) AS known
 GROUP BY partition, producer;

-- worker_status --
-- Running workers first, then those that ended last. A new worker may have no row yet. silent: its lease expired; a
-- worker that ends releases it.
SELECT coalesce(w.consumer, l.consumer), l.consumer IS NOT NULL AS running,
       EXISTS (SELECT FROM lease s WHERE s.unit = 'consumer:' || w.consumer AND s.owner IS NOT NULL
                  AND s.expires_at < clock_timestamp()) AS silent,
       w.host, w.pid,
       CASE WHEN isfinite(w.started_at) THEN w.started_at END, CASE WHEN isfinite(w.updated_at) THEN w.updated_at END,
       coalesce(w.ticks, 0), coalesce(w.bars, 0), coalesce(w.revisions, 0), coalesce(w.commits, 0),
       coalesce(w.fenced, 0), coalesce(w.restores, 0)
  FROM worker w
  FULL JOIN (SELECT owner AS consumer FROM lease
              WHERE starts_with(unit, 'consumer:') AND owner IS NOT NULL AND expires_at >= clock_timestamp()) AS l
       ON l.consumer = w.consumer
 ORDER BY running DESC, CASE WHEN l.consumer IS NULL THEN w.updated_at END DESC, 1;

-- replay_status --
-- sending: its producer holds the lease. ended: number of partitions in which it ended or was abandoned.
SELECT r.name, r.source, r.started_at, f.ended_at, coalesce(f.ended, 0), coalesce(f.abandoned, false),
       EXISTS (SELECT FROM lease WHERE unit = 'replay' AND owner = r.name AND expires_at >= clock_timestamp()) AS sending,
       coalesce(l.ticks, 0), coalesce(r.partitions, (SELECT count(*) FROM checkpoint))
  FROM replay r
  LEFT JOIN (SELECT replay, count(*) AS ended, bool_or(abandoned) AS abandoned, max(ended_at) AS ended_at
               FROM finished_replay GROUP BY replay) AS f ON f.replay = r.name
  LEFT JOIN (SELECT producer, least(sum(ticks_in), 9223372036854775807)::bigint AS ticks FROM ledger GROUP BY producer) AS l ON l.producer = r.name
 ORDER BY r.started_at;

-- replay_end --
-- The number of partitions in which a replay has ended, whether it was abandoned in one, and whether it has ended in
-- all.
SELECT count(f.partition), coalesce(bool_or(f.abandoned), false),
       count(f.partition) = coalesce(r.partitions, (SELECT count(*) FROM checkpoint))
  FROM replay r LEFT JOIN finished_replay f ON f.replay = r.name
 WHERE r.name = %(name)s GROUP BY r.name;
