"""Frames on disk while Redis is away, and what a dead producer left."""
