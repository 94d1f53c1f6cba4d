"""The tables, ours and the application's, and how they are created."""
