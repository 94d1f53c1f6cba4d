-- lock_library_writer --
-- Two programs that embed us merge into the same bars: one after the other, until each has committed.
SELECT pg_advisory_xact_lock(hashtext('tickstockpl.ohlcv_writer'));

-- transaction_id --
SELECT pg_current_xact_id()::text;

-- transaction_status --
-- Whether a COMMIT that was not answered took place. NULL: so long ago that the server forgot.
SELECT pg_xact_status(%(transaction_id)s::text::xid8);
