-- create_stream --
-- The first process decides the partition count; every later one reads it.
INSERT INTO stream (name, partitions) VALUES (%(name)s, %(partitions)s) ON CONFLICT DO NOTHING;

-- hold_stream --
-- So that its partitions do not vanish while they are created. No row lock: that would need the right to change the
-- row.
SELECT pg_advisory_xact_lock_shared(hashtext('tickstockpl.stream'));

-- create_checkpoints --
INSERT INTO checkpoint (partition) SELECT generate_series(0, %(partitions)s - 1) ON CONFLICT DO NOTHING;

-- stream_partitions --
SELECT partitions FROM stream WHERE name = %(name)s;

-- stream_shape --
SELECT partitions, former_partitions FROM stream WHERE name = %(name)s;

-- create_partition_leases --
INSERT INTO lease (unit) SELECT 'partition:' || n FROM generate_series(0, %(partitions)s - 1) AS n ON CONFLICT DO NOTHING;

-- empty_tables --
-- For the demo, on servers of its own: all but what people set.
TRUNCATE symbols, ohlcv_1min, recent_bar, stream, lease, worker, checkpoint, ledger, replay, finished_replay, outbox,
         dead_letter, recent_higher_bar, ohlcv_5min, ohlcv_15min, ohlcv_30min, ohlcv_hourly, intraday_patterns,
         detection_flow, intraday_indicators, integration_events, bridge_position, streaming_session, gap,
         gap_missing, former_partition, front_door_loss, replaced, replay_cover, upkeep, id_mark, forgotten_bar,
         ohlcv_daily, ohlcv_weekly, ohlcv_monthly, daily_indicators, daily_patterns, weekly_patterns, monthly_patterns,
         hourly_patterns, daily_intraday_patterns, corporate_action, run, run_step, refused_job, backtest_part,
         backtest_result, backtest_trade, backtest_equity CASCADE;
UPDATE run_result SET number = 0;
