"""Closed bars to patterns: one file for each of our own patterns, and one for TA-Lib's candlesticks. Pure."""
