-- What one commit moves together: the checkpoint, the outbox, the ledger, the dead letters.

CREATE TABLE checkpoint (
    partition      integer PRIMARY KEY,
    epoch          bigint NOT NULL DEFAULT 0,
    token          bigint NOT NULL DEFAULT 0,  -- random, new with every write: counters repeat after a fail-over
    position       text NOT NULL DEFAULT '0-0',
    outbox_number  bigint NOT NULL DEFAULT 0,
    state          bytea,  -- numbers, clocks and open bars (workers/partition_state.py)
    committed_at   timestamptz
);

CREATE TABLE ledger (
    partition      integer NOT NULL,
    producer       text NOT NULL,
    feed           text NOT NULL,
    last_number    bigint NOT NULL,
    ticks_in       bigint NOT NULL DEFAULT 0,
    applied        bigint NOT NULL DEFAULT 0,
    quote_or_zero  bigint NOT NULL DEFAULT 0,
    refused        bigint NOT NULL DEFAULT 0,
    future         bigint NOT NULL DEFAULT 0,
    too_late       bigint NOT NULL DEFAULT 0,
    superseded     bigint NOT NULL DEFAULT 0,
    lost           bigint NOT NULL DEFAULT 0,
    ended          boolean NOT NULL DEFAULT false,  -- the end frame was applied: it took one number
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (partition, producer)
);

CREATE TABLE replay (
    name        text PRIMARY KEY,
    source      text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A replay's numbers leave the checkpoint with its end frame and stay here: an unknown replay is looked up first.
CREATE TABLE finished_replay (
    replay       text NOT NULL,
    partition    integer NOT NULL,
    last_number  bigint NOT NULL,
    abandoned    boolean NOT NULL,
    ended_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (replay, partition)
);

CREATE TABLE outbox (
    partition   integer NOT NULL,
    number      bigint NOT NULL,  -- the id of the entry in tickstock-results:{pN}
    kind        text NOT NULL,    -- bars, void
    body        bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (partition, number)
);
CREATE INDEX outbox_created_at ON outbox (created_at);

CREATE TABLE dead_letter (
    id          bigserial PRIMARY KEY,
    partition   integer NOT NULL,
    producer    text NOT NULL,
    reason      text NOT NULL,
    detail      text NOT NULL,
    original    bytea NOT NULL,
    entry       text,  -- id of the stream entry, where that was no frame: read again, it is kept once
    told        boolean NOT NULL DEFAULT false,  -- in the Redis stream tickstock-dlq too
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX dead_letter_entry ON dead_letter (partition, entry);
CREATE INDEX dead_letter_untold ON dead_letter (partition, id) WHERE NOT told;

-- Lock the checkpoints of some partitions, in partition order, on the very tokens that the caller stands on.
-- Raises TS001 with the partitions that moved, so that no statement after it, COMMIT included, takes effect.
CREATE FUNCTION lock_checkpoints(partitions integer[], tokens bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    moved text;
BEGIN
    PERFORM 1 FROM checkpoint c WHERE c.partition = ANY (partitions) ORDER BY c.partition FOR UPDATE;
    SELECT string_agg(held.partition::text, ',') INTO moved
      FROM unnest(partitions, tokens) AS held (partition, token)
      LEFT JOIN checkpoint c ON c.partition = held.partition AND c.token = held.token
     WHERE c.partition IS NULL;
    IF moved IS NOT NULL THEN
        RAISE EXCEPTION 'checkpoint moved' USING ERRCODE = 'TS001', DETAIL = moved;
    END IF;
END $$;
