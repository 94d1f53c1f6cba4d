"""⑧ One commit: its plan, the detections on its bars, its transaction, and the copy of its results to Redis."""
