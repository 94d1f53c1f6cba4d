"""Going back to what is committed: of one partition, and of all when a server was away."""
