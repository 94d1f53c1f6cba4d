-- always_open_symbols --
SELECT symbol FROM always_open;

-- add_always_open --
INSERT INTO always_open (symbol) SELECT unnest(%(symbols)s::text[]) ON CONFLICT DO NOTHING;

-- remove_always_open --
DELETE FROM always_open WHERE symbol = ANY (%(symbols)s::text[]) OR '*' = ANY (%(symbols)s::text[]);
