"""What patterns are worth, measured on files: how often each is found, what followed, and what chance alone does."""
