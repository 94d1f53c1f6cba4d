"""⑤ What a worker holds of one partition between two commits."""
