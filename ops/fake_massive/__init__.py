"""A fake Massive server: the real WebSocket protocol and the REST calls that we use, for tests and demos."""

from .server import FakeMassive

__all__ = ["FakeMassive"]
