"""Commands that run, set up and check the fleet."""
