"""Writes bars for a program with a loop of its own."""
