-- timescaledb --
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb');

-- lift_decompression_limit --
-- For this session: a commit may change any number of rows of compressed chunks. No effect if the setting does not
-- exist.
SELECT set_config(name, '0', false) FROM pg_settings
 WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction';

-- has_hypertables --
SELECT to_regclass('timescaledb_information.chunks') IS NOT NULL;

-- chunks_of_bars --
-- The ranges of the chunks of each hypertable of bars, in minutes since 1970; one row without a range if it has no
-- chunk.
SELECT h.hypertable_name, floor(extract(epoch FROM c.range_start) / 60)::bigint,
       floor(extract(epoch FROM c.range_end) / 60)::bigint
  FROM timescaledb_information.hypertables h
  LEFT JOIN timescaledb_information.chunks c
       ON c.hypertable_schema = h.hypertable_schema AND c.hypertable_name = h.hypertable_name
      AND c.range_end > to_timestamp(%(first_minute)s * 60.0) AND c.range_start <= to_timestamp(%(last_minute)s * 60.0)
 WHERE to_regclass(format('%%I.%%I', h.hypertable_schema, h.hypertable_name))
       = ANY (ARRAY[to_regclass('ohlcv_1min'), to_regclass('ohlcv_5min'), to_regclass('ohlcv_15min'),
                    to_regclass('ohlcv_30min'), to_regclass('ohlcv_hourly')])
 ORDER BY 1, 2;

-- days_lack_chunks --
-- Whether a hypertable of daily, weekly or monthly bars has no chunk for the bar of one of these days.
SELECT EXISTS (
    SELECT FROM timescaledb_information.hypertables h
      JOIN (VALUES ('ohlcv_daily', 'day'), ('ohlcv_weekly', 'week'), ('ohlcv_monthly', 'month')) AS t (name, unit)
           ON to_regclass(format('%%I.%%I', h.hypertable_schema, h.hypertable_name)) = to_regclass(t.name)
     CROSS JOIN (SELECT DISTINCT unnest(%(days)s::date[])::timestamp AS day) AS d
     WHERE NOT EXISTS (
           SELECT FROM timescaledb_information.chunks c
            WHERE c.hypertable_schema = h.hypertable_schema AND c.hypertable_name = h.hypertable_name
              AND date_trunc(t.unit, d.day) AT TIME ZONE 'UTC' >= c.range_start
              AND date_trunc(t.unit, d.day) AT TIME ZONE 'UTC' < c.range_end));

-- lock_chunk_making --
-- Chunks are made by one process at a time, before it holds any lock that others wait for: making one locks symbols
-- (the chunk's foreign key), for which processes that have registered a symbol would wait in a circle.
SELECT pg_advisory_xact_lock(hashtext('tickstockpl.chunk'));

-- hypertable_of_bars --
-- Of ohlcv_1min: days per chunk, number of chunks, whether it can be compressed, days of both policies, and locks: how
-- many a statement on every chunk takes, and how many the server has room for.
SELECT extract(epoch FROM d.time_interval) / 86400, h.num_chunks, h.compression_enabled,
       (SELECT extract(epoch FROM (j.config ->> 'compress_after')::interval) / 86400 FROM timescaledb_information.jobs j
         WHERE j.proc_name = 'policy_compression' AND j.hypertable_schema = h.hypertable_schema
           AND j.hypertable_name = h.hypertable_name),
       (SELECT extract(epoch FROM (j.config ->> 'drop_after')::interval) / 86400 FROM timescaledb_information.jobs j
         WHERE j.proc_name = 'policy_retention' AND j.hypertable_schema = h.hypertable_schema
           AND j.hypertable_name = h.hypertable_name),
       h.num_chunks * (1 + (SELECT count(*) FROM pg_index i WHERE i.indrelid = 'ohlcv_1min'::regclass)),
       current_setting('max_locks_per_transaction')::bigint
       * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)
  FROM timescaledb_information.hypertables h
  JOIN timescaledb_information.dimensions d
       ON d.hypertable_schema = h.hypertable_schema AND d.hypertable_name = h.hypertable_name AND d.dimension_number = 1
 WHERE to_regclass(format('%%I.%%I', h.hypertable_schema, h.hypertable_name)) = to_regclass('ohlcv_1min');

-- hypertables_of_days --
-- Those of daily, weekly and monthly bars: the chunks of each, the locks of a statement on every chunk, and the server's room.
SELECT t.name, h.num_chunks, h.num_chunks * (1 + (SELECT count(*) FROM pg_index i WHERE i.indrelid = to_regclass(t.name))),
       current_setting('max_locks_per_transaction')::bigint
       * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)
  FROM timescaledb_information.hypertables h
  JOIN unnest(ARRAY['ohlcv_daily', 'ohlcv_weekly', 'ohlcv_monthly']) AS t (name)
       ON to_regclass(format('%%I.%%I', h.hypertable_schema, h.hypertable_name)) = to_regclass(t.name)
 ORDER BY t.name;

-- make_hypertable --
-- Existing bars move into chunks; nobody can read or write them meanwhile.
SELECT create_hypertable('ohlcv_1min', 'timestamp', chunk_time_interval => make_interval(days => %(days)s),
                         if_not_exists => true, migrate_data => true);

-- set_chunk_interval --
-- For chunks made from now on.
SELECT set_chunk_time_interval('ohlcv_1min', make_interval(days => %(days)s));

-- allow_compression --
ALTER TABLE ohlcv_1min SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol',
                            timescaledb.compress_orderby = '"timestamp"');

-- remove_compression_policy --
SELECT remove_compression_policy('ohlcv_1min', if_exists => true);

-- add_compression_policy --
SELECT add_compression_policy('ohlcv_1min', compress_after => make_interval(days => %(days)s));

-- remove_retention_policy --
SELECT remove_retention_policy('ohlcv_1min', if_exists => true);

-- add_retention_policy --
SELECT add_retention_policy('ohlcv_1min', drop_after => make_interval(days => %(days)s));
