"""Closed bars to patterns: one file for each pattern of ours, and one for TA-Lib's candlesticks. Pure."""
