"""Common parts of each process: stop, log, metrics, progress."""
