"""Backtests as jobs: asked for by messages or calls, done as runs are, told on two channels, kept as rows."""
