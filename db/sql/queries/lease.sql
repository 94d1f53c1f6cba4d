-- ensure_lease --
INSERT INTO lease (unit) VALUES (%(unit)s) ON CONFLICT DO NOTHING;

-- take_lease --
-- Free or expired. No row: another process holds it.
UPDATE lease
   SET epoch = epoch + 1, owner = %(owner)s, idle_since = renewed_at, renewed_at = clock_timestamp(),
       expires_at = clock_timestamp() + make_interval(secs => %(ttl_s)s),
       backend_pid = pg_backend_pid(),
       backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
 WHERE unit = %(unit)s AND (owner IS NULL OR expires_at < clock_timestamp())
RETURNING epoch;

-- raise_lease_epoch --
-- Of our own lease, above one that Redis knows: a database restored from an older copy counts from below it.
UPDATE lease SET epoch = %(known)s + 1
 WHERE unit = %(unit)s AND owner = %(owner)s AND epoch = %(epoch)s RETURNING epoch;

-- renew_leases --
-- Only with the epochs that the caller holds; a unit that is not returned was taken. ANY: by the key, one look-up each.
UPDATE lease l
   SET expires_at = clock_timestamp() + make_interval(secs => %(ttl_s)s), renewed_at = clock_timestamp(),
       backend_pid = pg_backend_pid(),
       backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
  FROM unnest(%(units)s::text[], %(epochs)s::bigint[]) AS held (unit, epoch)
 WHERE l.unit = ANY (%(units)s::text[]) AND l.unit = held.unit AND l.epoch = held.epoch AND l.owner = %(owner)s
RETURNING l.unit;

-- release_leases --
UPDATE lease l
   SET owner = NULL, expires_at = '-infinity', renewed_at = clock_timestamp()
  FROM unnest(%(units)s::text[], %(epochs)s::bigint[]) AS held (unit, epoch)
 WHERE l.unit = ANY (%(units)s::text[]) AND l.unit = held.unit AND l.epoch = held.epoch AND l.owner = %(owner)s;

-- tell_lease_moved --
NOTIFY tickstock_lease;

-- listen_leases --
LISTEN tickstock_lease;

-- tell_definitions_changed --
-- Workers read the definitions and always_open every minute; this makes them read at once.
NOTIFY tickstock_definitions;

-- listen_definitions --
LISTEN tickstock_definitions;

-- lease_holder --
SELECT owner
  FROM lease WHERE unit = %(unit)s AND owner IS NOT NULL AND expires_at >= clock_timestamp();

-- live_consumers --
SELECT substr(unit, 10) FROM lease
 WHERE unit LIKE 'consumer:%%' AND owner IS NOT NULL AND expires_at >= clock_timestamp()
 ORDER BY unit COLLATE "C";

-- free_partitions --
-- Longest without an owner first; only partitions of the current stream.
SELECT c.partition FROM checkpoint c JOIN lease l ON l.unit = 'partition:' || c.partition
 WHERE l.owner IS NULL OR l.expires_at < clock_timestamp()
 ORDER BY l.renewed_at NULLS FIRST, l.unit;

-- former_owner --
-- The backend of the last owner of this partition, if it still exists, and whether it waits for its client.
SELECT a.pid, a.wait_event_type = 'Client' OR a.state LIKE 'idle%%' AS waits_for_client
  FROM lease l JOIN pg_stat_activity a ON a.pid = l.backend_pid AND a.backend_start = l.backend_start
 WHERE l.unit = %(unit)s AND a.pid <> pg_backend_pid();

-- end_backend --
SELECT pg_terminate_backend(%(pid)s);

-- live_backend --
-- True while the backend of our lost connection still exists.
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %(pid)s AND backend_start = %(backend_start)s);

-- my_backend --
SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid();

-- note_pause --
-- From the former owner's last sign of life until the new owner has read to the stream's end. Unknown if a server was
-- away in between: PostgreSQL, if it restarted since, or one that has answered this worker only for served_s.
UPDATE lease
   SET pause_s = CASE WHEN idle_since > greatest(pg_postmaster_start_time(),
                                                 clock_timestamp() - make_interval(secs => %(served_s)s))
                      THEN extract(epoch FROM clock_timestamp() - idle_since) END
 WHERE unit = %(unit)s AND epoch = %(epoch)s RETURNING pause_s;

-- ended_producers --
-- Live producers whose lease ended a day ago: their numbers may be deleted from the checkpoints.
SELECT substr(unit, 10) FROM lease
 WHERE unit LIKE 'producer:%%' AND expires_at < clock_timestamp() - interval '24 hours'
   AND renewed_at < clock_timestamp() - interval '24 hours';

-- producers_that_are_over --
-- Those of some names from which no frame is expected any more in a partition: live ones whose lease ended a day ago or
-- is deleted, replays that ended here a day ago or are deleted.
SELECT p.name FROM unnest(%(names)s::text[]) AS p (name)
 WHERE NOT starts_with(p.name, 'front-door')
   AND NOT EXISTS (SELECT FROM lease l WHERE l.unit = 'producer:' || p.name
                      AND greatest(l.expires_at, l.renewed_at) > clock_timestamp() - interval '24 hours')
   AND (NOT EXISTS (SELECT FROM replay r WHERE r.name = p.name)
        OR EXISTS (SELECT FROM finished_replay f WHERE f.replay = p.name AND f.partition = %(partition)s
                      AND f.ended_at < clock_timestamp() - interval '24 hours'));

-- limit_lock_wait --
SELECT set_config('lock_timeout', %(wait)s, true);
