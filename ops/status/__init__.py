"""What the fleet looks like now, and what that means."""
