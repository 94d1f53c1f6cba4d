-- load_minutes --
-- The 1-minute bars of some symbols that begin in a range of time, by symbol and time; minutes since 1970.
COPY (SELECT w.number::int, (extract(epoch FROM o."timestamp") / 60)::int, o.open::float8, o.high::float8, o.low::float8,
             o.close::float8, o.volume::float8
        FROM unnest(%(symbols)s::text[]) WITH ORDINALITY AS w (symbol, number)
        JOIN ohlcv_1min o ON o.symbol = w.symbol AND o."timestamp" >= %(first)s AND o."timestamp" < %(end)s
       ORDER BY w.number, o."timestamp") TO STDOUT (FORMAT binary);

