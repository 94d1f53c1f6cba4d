-- Symbols and bars: often the application's own tables, there before us and owned by another role.

CREATE TABLE IF NOT EXISTS symbols (
    symbol  varchar(20) PRIMARY KEY,
    name    text,
    type    text,
    active  boolean DEFAULT true
);

DO $$
DECLARE
    existing oid := to_regclass('ohlcv_1min');
BEGIN
    IF existing IS NULL THEN
        CREATE TABLE ohlcv_1min (
            symbol       varchar(20) NOT NULL,
            "timestamp"  timestamptz NOT NULL,
            open         numeric(18,6) NOT NULL,
            high         numeric(18,6) NOT NULL,
            low          numeric(18,6) NOT NULL,
            close        numeric(18,6) NOT NULL,
            volume       numeric(20,6) NOT NULL,
            vwap         double precision,
            trade_count  integer,
            revision     smallint NOT NULL DEFAULT 0,
            provenance   text,
            PRIMARY KEY (symbol, "timestamp")
        );
        BEGIN
            ALTER TABLE ohlcv_1min ADD CONSTRAINT ohlcv_1min_symbol_fkey FOREIGN KEY (symbol) REFERENCES symbols (symbol);
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;  -- the application's symbols, of which this role was not granted REFERENCES
        END;
        -- Where its library is not preloaded, to create the extension ends the session (FATAL), which nothing catches;
        -- its loader's own setting tells any role that it is.
        IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
           AND current_setting('timescaledb.disable_load', true) IS NOT NULL THEN
            BEGIN
                CREATE EXTENSION IF NOT EXISTS timescaledb;
                PERFORM create_hypertable('ohlcv_1min', 'timestamp', chunk_time_interval => interval '1 day');
            EXCEPTION WHEN OTHERS THEN
                RAISE NOTICE 'ohlcv_1min stays a plain table: %', SQLERRM;
            END;
        END IF;
        RETURN;
    END IF;
    BEGIN
        ALTER TABLE ohlcv_1min
            ADD COLUMN IF NOT EXISTS vwap double precision,
            ADD COLUMN IF NOT EXISTS trade_count integer,
            ADD COLUMN IF NOT EXISTS revision smallint DEFAULT 0,
            ADD COLUMN IF NOT EXISTS provenance text;
    EXCEPTION WHEN insufficient_privilege OR feature_not_supported THEN
        -- The application's table stays as it is; what it has no column for stands beside it.
        CREATE TABLE bar_detail (
            symbol       varchar(20) NOT NULL,
            "timestamp"  timestamptz NOT NULL,
            vwap         double precision,
            trade_count  integer,
            revision     smallint NOT NULL DEFAULT 0,
            provenance   text,
            PRIMARY KEY (symbol, "timestamp")
        );
    END;
END $$;

-- Our own bars, unrounded: merging a late trade, detectors and restores read only these, because the
-- application's table may round. `minute` counts minutes since 1970, `open_ts` and `close_ts` Unix ns.
CREATE TABLE recent_bar (
    symbol        varchar(20) COLLATE "C" NOT NULL,
    minute        integer NOT NULL,
    feed          text NOT NULL,
    replay        boolean NOT NULL,  -- true: no live write touches this bar any more
    whole         boolean NOT NULL,  -- true: made by whole-minute aggregates, each of which replaces the one before
    revision      smallint NOT NULL,
    open          double precision NOT NULL,
    high          double precision NOT NULL,
    low           double precision NOT NULL,
    close         double precision NOT NULL,
    volume_micro  double precision NOT NULL,  -- millionths of a share: whole numbers, so that sums are exact
    notional      double precision NOT NULL,  -- sum of price x size
    trades        bigint NOT NULL,
    open_ts       bigint NOT NULL,
    close_ts      bigint NOT NULL,
    PRIMARY KEY (symbol, minute)
);
