"""TickStockPL: market ticks to exact 1-minute bars, by a Redis Streams worker fleet."""

from .version import __version__

__all__ = ["__version__"]
