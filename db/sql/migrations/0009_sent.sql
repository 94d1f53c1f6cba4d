-- How far a live producer has sent, beside its lease: what Redis forgets of that can be counted.

-- sent: the highest number that Redis took, by partition from 0 on; NULL: nothing, or all of it is settled.
-- sent_since, sent_at: when that was noted first and last.
ALTER TABLE lease
    ADD COLUMN feed        text,
    ADD COLUMN sent        bigint[],
    ADD COLUMN sent_since  timestamptz,
    ADD COLUMN sent_at     timestamptz;
