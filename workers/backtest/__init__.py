"""Backtests: the trades that the published patterns would have made, and what they would have earned."""
