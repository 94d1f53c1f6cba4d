-- Backtests as jobs: runs of the kind backtest. What each step finds waits here for the step that trades it.
CREATE TABLE backtest_part (
    run_id  uuid NOT NULL REFERENCES run (run_id) ON DELETE CASCADE,
    batch   integer NOT NULL,  -- of the step; symbols are in its order
    found   bytea NOT NULL,    -- bars and signals: workers/backtest/jobs/part.py
    PRIMARY KEY (run_id, batch)
);

-- What one found out. The figures are JSON as it was written: the same backtest has the same bytes.
CREATE TABLE backtest_result (
    run_id   uuid PRIMARY KEY REFERENCES run (run_id) ON DELETE CASCADE,
    figures  json NOT NULL
);

CREATE TABLE backtest_trade (
    run_id       uuid NOT NULL REFERENCES run (run_id) ON DELETE CASCADE,
    number       integer NOT NULL,   -- from 1, by entry
    symbol       text NOT NULL,
    pattern      text NOT NULL,
    direction    text NOT NULL,
    confidence   double precision NOT NULL,
    entry_time   timestamptz NOT NULL,
    exit_time    timestamptz NOT NULL,
    entry_price  double precision NOT NULL,
    exit_price   double precision NOT NULL,
    shares       bigint NOT NULL,
    commission   double precision NOT NULL,
    profit       double precision NOT NULL,
    bars         integer NOT NULL,
    reason       text NOT NULL,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE backtest_equity (
    run_id     uuid NOT NULL REFERENCES run (run_id) ON DELETE CASCADE,
    time       timestamptz NOT NULL,
    equity     double precision NOT NULL,
    benchmark  double precision NOT NULL,
    exposure   double precision NOT NULL,
    PRIMARY KEY (run_id, time)
);
CREATE INDEX run_backtests ON run (created_at) WHERE kind = 'backtest';
