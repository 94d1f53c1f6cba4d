"""⑧ One commit: its plan, what is found on its bars, its transaction, and the copy of its results to Redis."""
