"""Restore the committed state: of one partition, and of all after a server was away."""
