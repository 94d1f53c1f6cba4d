"""Servers, producers, workers and bridges put together from their options."""
