"""What the application accepts, and whether a message is such. Pure."""
