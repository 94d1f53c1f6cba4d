-- Another number of partitions for a stream that has one.

-- former_partitions: the change from so many is begun, and Redis is not cleared yet: nobody may start.
ALTER TABLE stream
    ADD COLUMN former_partitions  integer,
    ADD COLUMN repartitioned_at   timestamptz;

-- What must not begin again with a partition that was there before: whoever reads its results remembers a number.
CREATE TABLE former_partition (
    partition      integer PRIMARY KEY,
    epoch          bigint NOT NULL,
    outbox_number  bigint NOT NULL
);

-- In how many partitions a replay has ended that a former stream carried; NULL: in as many as the stream has.
ALTER TABLE replay ADD COLUMN partitions integer;
