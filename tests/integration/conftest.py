"""Fixtures of several files here."""

from .one_stream import stream, work  # noqa: F401
