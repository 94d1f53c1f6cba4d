-- append_outbox --
INSERT INTO outbox (partition, number, kind, body)
SELECT * FROM unnest(%(partition)s::int[], %(number)s::bigint[], %(kind)s::text[], %(body)b::bytea[]);

-- untold_outbox --
SELECT number, kind, body FROM outbox
 WHERE partition = %(partition)s AND number > %(told)s ORDER BY number LIMIT 1000;

-- set_outbox_number --
UPDATE checkpoint SET outbox_number = %(number)s, token = %(new_token)s
 WHERE partition = %(partition)s AND token = %(token)s RETURNING partition;

-- prune_outbox --
-- `told` is the last id of the partition's results stream: rows after it are kept, however old. Rows that a bridge has
-- not published yet are kept for a day; without a bridge nobody needs them. Returns how many unpublished rows were
-- deleted.
WITH pruned AS (
    DELETE FROM outbox o WHERE o.partition = %(partition)s AND o.number <= %(told)s
       AND o.created_at < clock_timestamp() - make_interval(secs => %(retention_s)s)
       AND (o.created_at < clock_timestamp() - interval '24 hours'
            OR NOT EXISTS (SELECT FROM bridge_position b WHERE b.partition = o.partition AND b.number < o.number))
    RETURNING o.number)
SELECT count(*) FROM pruned JOIN bridge_position b ON b.partition = %(partition)s AND b.number < pruned.number;

-- append_dead_letters --
INSERT INTO dead_letter (partition, producer, reason, detail, original, entry)
SELECT * FROM unnest(%(partition)s::int[], %(producer)s::text[], %(reason)s::text[], %(detail)s::text[],
                     %(original)s::bytea[], %(entry)s::text[])
ON CONFLICT (partition, entry) DO NOTHING;

-- untold_dead_letters --
SELECT id, producer, reason, detail, original FROM dead_letter
 WHERE partition = %(partition)s AND NOT told ORDER BY id LIMIT 200;

-- note_dead_letters_told --
UPDATE dead_letter SET told = true WHERE id = ANY (%(ids)s);

-- result_exists --
SELECT 1 FROM outbox WHERE partition = %(partition)s AND number = %(number)s;

-- results_after --
SELECT o.partition, o.number, o.kind, o.body
  FROM outbox o
  JOIN (SELECT created_at FROM outbox WHERE partition = %(partition)s AND number = %(number)s) AS seen
    ON o.created_at >= seen.created_at - make_interval(secs => %(slack_s)s)
 WHERE (o.partition <> %(partition)s OR o.number > %(number)s) AND o.kind <> 'void'
 ORDER BY o.partition, o.number LIMIT %(limit)s;
