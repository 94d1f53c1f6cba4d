"""A pretend Massive server: the real WebSocket protocol and the REST calls we use, for tests and demos."""

from .server import FakeMassive

__all__ = ["FakeMassive"]
