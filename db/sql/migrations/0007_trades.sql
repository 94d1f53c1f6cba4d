-- A minute whose trades set no price (odd lots only) is no bar. Its volume stands in recent_bar, with NaN for open and
-- close, so that a late trade that does set a price makes a bar of it with all its volume.
CREATE VIEW volume_only_minute AS
SELECT symbol, to_timestamp(minute * 60.0) AS "timestamp", volume_micro / 1e6 AS volume, trades AS trade_count, feed
  FROM recent_bar WHERE open = 'NaN' AND volume_micro > 0;
