-- What a replay puts in the place of what other feeds wrote: told by the command, held against the ledger by the audit.

-- ticks of `feed` that bars of `by_feed` threw out: the ledger counts them as superseded. by_feed 'pruned': of bars that
-- recent_bar has given up; they stay applied.
CREATE TABLE replaced (
    partition   integer NOT NULL,
    by_feed     text NOT NULL,
    feed        text NOT NULL,
    bars        bigint NOT NULL,
    taken_away  bigint NOT NULL,  -- of these bars: that the replay has no trade of, so that there is none any more
    cut         bigint NOT NULL,  -- of these bars: of another replay, whose trades all came before or after
    ticks       bigint NOT NULL,
    PRIMARY KEY (partition, by_feed, feed)
);

-- What the files of a replay speak of, from before its end frames to their commit. Unix ns, both ends included.
CREATE TABLE replay_cover (
    replay     text NOT NULL,
    partition  integer NOT NULL,
    symbol     varchar(20) COLLATE "C" NOT NULL,
    first_ns   bigint NOT NULL,
    last_ns    bigint NOT NULL
);
CREATE INDEX replay_cover_replay ON replay_cover (replay, partition);

-- false: from before what was replaced was counted, so that nothing can be held against the bars.
ALTER TABLE ledger ADD COLUMN is_exact boolean NOT NULL DEFAULT false;
ALTER TABLE ledger ALTER COLUMN is_exact SET DEFAULT true;
