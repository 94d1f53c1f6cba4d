-- producer_last_heard --
-- Seconds since a live producer renewed its lease last. No row: it was never a producer of this database.
SELECT extract(epoch FROM clock_timestamp() - renewed_at)::float8 FROM lease
 WHERE unit = %(unit)s AND renewed_at IS NOT NULL;
