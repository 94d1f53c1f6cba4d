-- How many bytes wait in a live producer's spool, as it last recorded; NULL: it has none.
ALTER TABLE lease ADD COLUMN spool_bytes bigint;
