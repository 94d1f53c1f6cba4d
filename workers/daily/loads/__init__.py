"""Data loads: asked for by messages, done as runs are, and told under keys."""
