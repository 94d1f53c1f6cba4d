"""The Redis streams: what is added, read, acknowledged and trimmed."""
