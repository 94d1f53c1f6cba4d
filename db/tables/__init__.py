"""Statements on our tables, one file for each kind of row."""
