-- dead_letter_reasons --
SELECT reason, count(*) FROM dead_letter GROUP BY reason ORDER BY count(*) DESC, reason;

-- list_dead_letters --
-- Latest first.
SELECT id, created_at, partition, producer, reason, detail, original FROM dead_letter
 WHERE (%(reason)s::text IS NULL OR reason = %(reason)s)
 ORDER BY id DESC LIMIT %(limit)s;

-- dead_letter --
SELECT id, created_at, partition, producer, reason, detail, original FROM dead_letter WHERE id = %(id)s;

-- known_dead_letters --
SELECT id FROM dead_letter WHERE id = ANY (%(ids)s);

-- count_dead_letters --
SELECT count(*) FROM dead_letter
 WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s)) AND (%(reason)s::text IS NULL OR reason = %(reason)s);

-- lock_dead_letters --
-- Rows that another command sends or deletes now are left to it.
SELECT id, original, detail FROM dead_letter
 WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s)) AND (%(reason)s::text IS NULL OR reason = %(reason)s)
   AND id > %(above)s AND id <= %(last)s
 ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED;

-- last_dead_letter --
-- Letters that arrive while --all runs are left out: some may be those that were sent again.
SELECT coalesce(max(id), 0) FROM dead_letter;

-- drop_dead_letters --
DELETE FROM dead_letter WHERE id = ANY (%(ids)s);

-- drop_chosen_dead_letters --
DELETE FROM dead_letter
 WHERE (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s)) AND (%(reason)s::text IS NULL OR reason = %(reason)s)
   AND id <= %(last)s;

-- dead_letter_entries --
-- Stream entries that were not frames: the latest of a partition.
SELECT entry FROM dead_letter WHERE partition = %(partition)s AND entry IS NOT NULL ORDER BY id DESC LIMIT 10000;
