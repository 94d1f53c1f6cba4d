-- lock_library_writer --
-- Two programs that embed us merge into the same bars: the second waits until the first has committed.
SELECT pg_advisory_xact_lock(hashtext('tickstockpl.ohlcv_writer'));

-- transaction_id --
SELECT pg_current_xact_id()::text;

-- transaction_status --
-- Whether a COMMIT without an answer succeeded. NULL: so long ago that the server does not know it any more.
SELECT pg_xact_status(%(transaction_id)s::text::xid8);
