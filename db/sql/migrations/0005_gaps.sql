-- What a live feed missed: minutes in which it may have lost ticks, to be fetched again from the vendor.

CREATE TABLE gap (
    id                bigserial PRIMARY KEY,
    feed              text NOT NULL,
    symbols           text[],   -- NULL: every symbol
    partition         integer,  -- only the symbols of this one; NULL: of all
    first_minute      integer NOT NULL,  -- minutes since 1970, both included
    last_minute       integer NOT NULL CHECK (last_minute >= first_minute),
    why               text NOT NULL,
    lost_ticks        bigint,   -- NULL: nobody knows
    found_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    state             text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'repaired', 'missing')),
    tried             integer NOT NULL DEFAULT 0,
    not_before        timestamptz NOT NULL DEFAULT '-infinity',  -- 'infinity': not again by itself
    error             text,     -- of the last try
    minutes_repaired  bigint NOT NULL DEFAULT 0,  -- counted for each symbol
    minutes_missing   bigint NOT NULL DEFAULT 0
);
CREATE INDEX gap_feed ON gap (feed, not_before) WHERE not_before < 'infinity';

-- What the vendor did not have of a gap.
CREATE TABLE gap_missing (
    gap_id        bigint NOT NULL REFERENCES gap (id) ON DELETE CASCADE,
    symbol        text COLLATE "C" NOT NULL,
    first_minute  integer NOT NULL,
    last_minute   integer NOT NULL,
    PRIMARY KEY (gap_id, symbol, first_minute)
);
