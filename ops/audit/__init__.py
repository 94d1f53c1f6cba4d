"""Whether the ledger adds up, and whether the bars are right."""
