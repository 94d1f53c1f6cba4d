"""Data loads: a message asks for one, the steps are those of a run, and Redis keys show its state."""
