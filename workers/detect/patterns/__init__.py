"""Closed bars to patterns: one file per pattern of ours, and one for TA-Lib's candlesticks. Pure."""
