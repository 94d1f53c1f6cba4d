"""Frames on disk while Redis is away, and the frames that a dead producer left on disk."""
