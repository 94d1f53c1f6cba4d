"""Daily runs: the coordinator deals their steps, and workers do them."""
