-- Bars of the regular hours, which detectors look at unless their definition says otherwise.

-- Symbols whose market never closes: each of their bars is a regular one. The producer that brings them keeps the rows;
-- '*' is every symbol.
CREATE TABLE always_open (
    symbol    text COLLATE "C" PRIMARY KEY,
    noted_at  timestamptz NOT NULL DEFAULT now()
);

-- Whether a bar of so many minutes overlaps the regular hours of New York, as workers/sessions.py tells it. minute: its
-- start since 1970. half_days: the days that close at 13:00, of contracts/market_hours.py. A market that is closed on a day
-- has no bars then, but for one that is made up.
CREATE FUNCTION is_regular_bar(minute integer, timeframe integer, half_days date[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE AS $$
    SELECT minute % 1440 BETWEEN 750 AND 1260
       AND (to_timestamp(minute * 60.0) AT TIME ZONE 'America/New_York')::time
           BETWEEN time '09:31' - make_interval(mins => timeframe)
               AND CASE WHEN (to_timestamp(minute * 60.0) AT TIME ZONE 'America/New_York')::date = ANY (half_days)
                        THEN time '12:59' ELSE time '15:59' END
$$;
