"""What became of ticks: the ledger, gaps, dead letters."""
