"""Backtests as jobs: messages or calls start them, `tickstock-jobs` runs them, rows and two channels have the results."""
