"""Checks a setup before it hurts."""
