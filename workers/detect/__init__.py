"""⑥ ⑦ Indicators and patterns over the last bars of each symbol."""
