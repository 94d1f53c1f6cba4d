-- gaps_stand --
-- Until this transaction ends no other gap is recorded: each live bar in a gap is marked by the later of the two.
SELECT pg_advisory_xact_lock_shared(hashtext('tickstockpl.gap'));

-- lock_gaps --
SELECT pg_advisory_xact_lock(hashtext('tickstockpl.gap'));

-- mark_partial_bars --
-- Bars that a feed wrote in a gap before it was recorded. LATERAL and OFFSET: one index look-up per symbol.
UPDATE ohlcv_1min b SET provenance = 'partial'
  FROM symbols s
 CROSS JOIN LATERAL (SELECT r.minute FROM recent_bar r
                      WHERE r.symbol = s.symbol::text COLLATE "C" AND r.minute BETWEEN %(first)s AND %(last)s
                        AND r.feed = %(feed)s OFFSET 0) AS r
 WHERE (%(symbols)s::text[] IS NULL OR s.symbol::text = ANY (%(symbols)s)) AND b.symbol = s.symbol
   AND b."timestamp" = to_timestamp(r.minute * 60.0) AND b.provenance = 'live'
   AND b."timestamp" BETWEEN to_timestamp(%(first)s * 60.0) AND to_timestamp(%(last)s * 60.0);

-- mark_partial_details --
UPDATE bar_detail b SET provenance = 'partial'
  FROM symbols s
 CROSS JOIN LATERAL (SELECT r.minute FROM recent_bar r
                      WHERE r.symbol = s.symbol::text COLLATE "C" AND r.minute BETWEEN %(first)s AND %(last)s
                        AND r.feed = %(feed)s OFFSET 0) AS r
 WHERE (%(symbols)s::text[] IS NULL OR s.symbol::text = ANY (%(symbols)s)) AND b.symbol = s.symbol
   AND b."timestamp" = to_timestamp(r.minute * 60.0) AND b.provenance = 'live'
   AND b."timestamp" BETWEEN to_timestamp(%(first)s * 60.0) AND to_timestamp(%(last)s * 60.0);

-- gaps_between --
SELECT feed, symbols, partition, first_minute, last_minute FROM gap
 WHERE last_minute >= %(first)s AND first_minute <= %(last)s;

-- feeds_of_bars --
-- Which feed wrote a minute of a symbol, in our own copy.
SELECT w.symbol, w.minute, r.feed
  FROM unnest(%(symbols)s::text[], %(minutes)s::integer[]) AS w (symbol, minute)
 CROSS JOIN LATERAL (SELECT feed FROM recent_bar r
                      WHERE r.symbol = w.symbol COLLATE "C" AND r.minute = w.minute OFFSET 0) AS r;

-- note_gap --
-- A feed that disconnects every few seconds makes one growing gap, not many. A gap whose repair has begun does not
-- grow: `tried` is read again after the row's lock.
WITH grown AS (
    UPDATE gap g
       SET first_minute = least(g.first_minute, %(first)s), last_minute = greatest(g.last_minute, %(last)s),
           lost_ticks = g.lost_ticks + %(lost_ticks)s
     WHERE g.id = (SELECT id FROM gap
                    WHERE feed = %(feed)s AND why = %(why)s AND state = 'open' AND tried = 0
                      AND symbols IS NOT DISTINCT FROM %(symbols)s::text[]
                      AND partition IS NOT DISTINCT FROM %(partition)s::integer
                      AND first_minute <= %(last)s + 1 AND last_minute >= %(first)s - 1
                    ORDER BY id LIMIT 1)
       AND g.state = 'open' AND g.tried = 0
    RETURNING g.id)
INSERT INTO gap (feed, symbols, partition, first_minute, last_minute, why, lost_ticks)
SELECT %(feed)s, %(symbols)s::text[], %(partition)s::integer, %(first)s, %(last)s, %(why)s, %(lost_ticks)s::bigint
 WHERE NOT EXISTS (SELECT FROM grown);

-- due_gaps --
-- Whose last minute is old enough for the vendor to have its bars. Longest wait first.
SELECT id, feed, symbols, partition, first_minute, last_minute, why, tried
  FROM gap
 WHERE feed = %(feed)s AND not_before <= clock_timestamp()
   AND to_timestamp((last_minute + 1) * 60.0) + make_interval(secs => %(settle_s)s) <= clock_timestamp()
 ORDER BY not_before, id LIMIT %(count)s;

-- unrepaired_gaps --
-- For a user who requests it now: every past gap that is not fully repaired, however often it was tried.
SELECT id, feed, symbols, partition, first_minute, last_minute, why, tried
  FROM gap
 WHERE feed = %(feed)s AND state <> 'repaired'
   AND to_timestamp((last_minute + 1) * 60.0) + make_interval(secs => %(settle_s)s) <= clock_timestamp()
 ORDER BY id;

-- begin_gap --
-- No row: the gap grew since it was read, and is due again.
UPDATE gap SET tried = tried + 1
 WHERE id = %(id)s AND first_minute = %(first)s AND last_minute = %(last)s
RETURNING id;

-- finish_gap --
-- Try once more when the vendor has added late trades; a try after that is the last.
UPDATE gap
   SET state = CASE WHEN %(missing)s > 0 THEN 'missing' ELSE 'repaired' END, error = NULL,
       minutes_repaired = %(repaired)s, minutes_missing = %(missing)s,
       not_before = CASE WHEN to_timestamp((last_minute + 1) * 60.0) + make_interval(secs => %(final_s)s)
                              > clock_timestamp()
                         THEN to_timestamp((last_minute + 1) * 60.0) + make_interval(secs => %(final_s)s)
                         ELSE 'infinity' END
 WHERE id = %(id)s;

-- put_off_gap --
UPDATE gap SET error = %(error)s, not_before = clock_timestamp() + make_interval(secs => %(wait_s)s)
 WHERE id = %(id)s;

-- forget_missing --
DELETE FROM gap_missing WHERE gap_id = %(id)s;

-- note_missing --
INSERT INTO gap_missing (gap_id, symbol, first_minute, last_minute)
SELECT %(id)s, * FROM unnest(%(symbols)s::text[], %(first)s::integer[], %(last)s::integer[]);

-- symbols_with_bars --
-- One index look-up per known symbol: the bars of all days are far more.
SELECT s.symbol FROM symbols s
 WHERE EXISTS (SELECT FROM recent_bar b
                WHERE b.symbol = s.symbol::text COLLATE "C" AND b.minute BETWEEN %(first)s AND %(last)s)
 ORDER BY s.symbol::text COLLATE "C";

-- list_gaps --
SELECT id, feed, symbols, partition, first_minute, last_minute, why, lost_ticks, found_at, state, tried, error,
       minutes_repaired, minutes_missing
  FROM gap
 WHERE (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(symbol)s::text IS NULL OR (symbols IS NULL OR %(symbol)s = ANY (symbols))
        AND (partition IS NULL OR partition = %(partition)s::integer))
 ORDER BY id DESC LIMIT %(count)s;

-- list_missing --
SELECT gap_id, symbol, first_minute, last_minute FROM gap_missing
 WHERE gap_id = ANY (%(ids)s::bigint[]) ORDER BY gap_id, symbol, first_minute;
