"""⑧ What one commit writes, how it is found, and how it is told."""
