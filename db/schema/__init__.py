"""Which tables there are, ours and the application's, and how they come to be."""
