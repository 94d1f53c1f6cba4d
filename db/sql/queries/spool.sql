-- producer_last_heard --
-- Seconds since a live producer last renewed its lease. No row: it was never a producer of this database. Infinity: the
-- stream had other partitions then, and its numbers are deleted.
SELECT CASE WHEN renewed_at < (SELECT max(repartitioned_at) FROM stream) THEN 'infinity'
            ELSE extract(epoch FROM clock_timestamp() - renewed_at)::float8 END FROM lease
 WHERE unit = %(unit)s AND renewed_at IS NOT NULL;

-- ended_partitions --
-- The partitions in which a live producer's end is committed.
SELECT partition FROM ledger WHERE producer = %(producer)s AND ended;
