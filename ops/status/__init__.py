"""The current state of the fleet, and its assessment."""
