"""The results as they are published: one reader per process, and the clients that receive them."""
