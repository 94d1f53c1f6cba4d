"""Daily runs: the coordinator that deals their steps, and the workers that do them."""
