"""TickStockPL: market ticks to exact 1-minute bars, by a Redis Streams worker fleet."""

from tickstockpl.version import __version__  # absolute: a test runner may load this file under the clone's name

__all__ = ["__version__"]
