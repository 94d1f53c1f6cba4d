"""Make servers' clients, producers, workers and bridges from their options."""
