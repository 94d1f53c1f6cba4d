"""The messages that the application accepts, and the check of a message against them. Pure."""
