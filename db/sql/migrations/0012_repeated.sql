-- Trades that came again under the same name (symbol, exchange, trade id, reporting facility): counted once.
ALTER TABLE ledger ADD COLUMN repeated bigint NOT NULL DEFAULT 0;
