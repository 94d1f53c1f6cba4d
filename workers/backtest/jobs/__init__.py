"""Backtests as jobs: messages or calls start them, `tickstock-jobs` runs them, rows and messages have the results."""
