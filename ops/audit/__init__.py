"""The audit: does the ledger balance, and are the bars right?"""
