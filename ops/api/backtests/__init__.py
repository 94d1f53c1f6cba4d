"""The calls of /api/backtests: backtests that run as jobs."""
