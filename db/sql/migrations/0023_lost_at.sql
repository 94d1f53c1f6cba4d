-- When a producer's ticks were given up last: the count beside it is of its whole life.
ALTER TABLE ledger ADD COLUMN lost_at timestamptz;
