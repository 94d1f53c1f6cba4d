"""⑤ The state of one partition between two commits."""
