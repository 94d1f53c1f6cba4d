"""Measure patterns on files: how often each is found, how the price moved afterwards, and what chance alone gives."""
