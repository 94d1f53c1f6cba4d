-- Splits. Prices are stored as they were traded; no window of a detector reaches over an ex-date.
CREATE TABLE corporate_action (
    symbol    text COLLATE "C" NOT NULL,
    ex_date   date NOT NULL,             -- the first day that trades the new shares
    ratio     numeric NOT NULL CHECK (ratio > 0 AND ratio <> 1),  -- new shares for an old one: 10 is 10 for 1, 0.125 is 1 for 8
    noted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, ex_date)
);
