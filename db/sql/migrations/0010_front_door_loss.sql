-- What nobody read of the front door: trimmed or deleted by others before a worker came. One row.
CREATE TABLE front_door_loss (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    base      text NOT NULL,    -- from where the door's owner counted
    entries   bigint NOT NULL,  -- that were lost since there
    total     bigint NOT NULL,  -- that were ever lost
    after     text NOT NULL,    -- entry ids: the last loss is between them
    through   text NOT NULL,
    noted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
