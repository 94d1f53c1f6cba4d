"""/api/backtests: backtests as jobs."""
