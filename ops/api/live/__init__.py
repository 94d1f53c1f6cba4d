"""The results as they come: one reader a process, and the clients that hear them."""
