"""Audit: whether the ledger balances, and whether bars agree with it."""
