-- timescaledb --
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb');

-- lift_decompression_limit --
-- Of this session: a commit changes as many rows of compressed chunks as late trades ask for. Nothing happens where the
-- setting does not exist.
SELECT set_config(name, '0', false) FROM pg_settings
 WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction';

-- has_hypertables --
SELECT to_regclass('timescaledb_information.chunks') IS NOT NULL;

-- chunks_of_bars --
-- What the chunks of each hypertable of bars cover, as minutes since 1970; one row without a chunk where it has none.
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

-- lock_chunk_making --
-- Whoever makes a chunk goes first, one at a time, before it holds anything that another waits for: it takes a lock on
-- symbols (the chunk's foreign key) that those who have registered a symbol would wait for in a circle.
SELECT pg_advisory_xact_lock(hashtext('tickstockpl.chunk'));
