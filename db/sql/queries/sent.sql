-- note_sent --
-- Checked by the lease's epoch: a slow process cannot undo a later record.
UPDATE lease
   SET feed = %(feed)s, sent = %(sent)s::bigint[], sent_since = coalesce(sent_since, clock_timestamp()),
       sent_at = clock_timestamp()
 WHERE unit = %(unit)s AND epoch = %(epoch)s AND owner = %(owner)s;

-- note_spool --
UPDATE lease SET spool_bytes = %(bytes)s WHERE unit = %(unit)s AND epoch = %(epoch)s AND owner = %(owner)s;

-- sent_numbers --
-- The recorded `sent` numbers, and whether each producer can still send frames again.
SELECT place::int - 1, substr(unit, 10), number, owner IS NOT NULL AND expires_at >= clock_timestamp(), sent_since, sent_at
  FROM lease, unnest(sent) WITH ORDINALITY AS noted (number, place)
 WHERE starts_with(unit, 'producer:') AND number > 0;

-- vanished_sent --
-- Uncommitted numbers of producers whose lease ended some time ago: nobody sends them again. A killed producer may have
-- sent until its next renewal; one that released its lease recorded everything.
SELECT place::int - 1 AS partition, substr(l.unit, 10) AS producer, l.feed, number, coalesce(g.last_number, 0) AS committed,
       extract(epoch FROM l.sent_since)::float8 - %(renew_s)s AS since_s,
       extract(epoch FROM CASE WHEN l.owner IS NULL THEN l.sent_at
                               ELSE greatest(l.sent_at, l.renewed_at) + make_interval(secs => %(renew_s)s)
                          END)::float8 AS until_s,
       l.owner IS NOT NULL AS was_killed
  FROM lease l CROSS JOIN unnest(l.sent) WITH ORDINALITY AS noted (number, place)
  LEFT JOIN ledger g ON g.partition = place - 1 AND g.producer = substr(l.unit, 10)
 WHERE starts_with(l.unit, 'producer:') AND number > coalesce(g.last_number, 0)
   AND (l.owner IS NULL AND l.renewed_at < clock_timestamp() - make_interval(secs => %(wait_s)s)
        OR l.expires_at < clock_timestamp() - make_interval(secs => %(wait_s)s) AND l.owner IS NOT NULL)
 ORDER BY 1, 2;

-- forget_settled_sent --
-- Of ended producers whose numbers are all committed or counted as lost.
UPDATE lease l SET sent = NULL
 WHERE starts_with(unit, 'producer:') AND sent IS NOT NULL AND (owner IS NULL OR expires_at < clock_timestamp())
   AND NOT EXISTS (SELECT FROM unnest(l.sent) WITH ORDINALITY AS noted (number, place)
                     LEFT JOIN ledger g ON g.partition = place - 1 AND g.producer = substr(l.unit, 10)
                    WHERE number > coalesce(g.last_number, 0));
