-- append_outbox --
INSERT INTO outbox (partition, number, kind, body)
SELECT * FROM unnest(%(partition)s::int[], %(number)s::bigint[], %(kind)s::text[], %(body)s::bytea[]);

-- untold_outbox --
SELECT number, kind, body FROM outbox
 WHERE partition = %(partition)s AND number > %(told)s ORDER BY number LIMIT 1000;

-- set_outbox_number --
UPDATE checkpoint SET outbox_number = %(number)s, token = %(new_token)s
 WHERE partition = %(partition)s AND token = %(token)s RETURNING partition;

-- prune_outbox --
-- `told` is the last id of the partition's results stream: an untold row stays, however old.
DELETE FROM outbox WHERE partition = %(partition)s AND number <= %(told)s
   AND created_at < clock_timestamp() - make_interval(secs => %(retention_s)s);

-- append_dead_letters --
INSERT INTO dead_letter (partition, producer, reason, detail, original, entry)
SELECT * FROM unnest(%(partition)s::int[], %(producer)s::text[], %(reason)s::text[], %(detail)s::text[],
                     %(original)s::bytea[], %(entry)s::text[])
ON CONFLICT (partition, entry) DO NOTHING;

-- untold_dead_letters --
SELECT id, producer, reason, detail, original FROM dead_letter
 WHERE partition = %(partition)s AND NOT told ORDER BY id LIMIT 1000;

-- note_dead_letters_told --
UPDATE dead_letter SET told = true WHERE id = ANY (%(ids)s);
