"""Reads of both servers that change nothing: how far the fleet is, and what is wrong."""
