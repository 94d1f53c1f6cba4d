"""Windows: the bars up to one bar, as the detectors read them. Pure."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..contracts.ticks import Column

WINDOW = 250  # bars: Wilder's RSI over this number differs from that over all history by less than 1e-6


class Windows(NamedTuple):
    """n windows, each the last `depth` bars up to one bar, oldest first: the last column is that bar.

    open, high, low, close, volume: (n, depth) float64, volume in shares; missing bars, on the left, are NaN.
    length: (n,) int64, the number of bars. wider: returns some of the windows with WINDOW columns; None if there are no
    earlier bars.
    """

    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column
    length: Column
    wider: "Callable[[Column], Windows] | None" = None

    def last(self, depth: int) -> "Windows":
        """Return the last `depth` columns."""
        opened, high, low, close, volume = (column[:, -depth:] for column in self[:5])
        return Windows(opened, high, low, close, volume, np.minimum(self.length, depth), self.wider)

    def before(self) -> "Windows":
        """Return the windows without their last bar."""
        opened, high, low, close, volume = (column[:, :-1] for column in self[:5])
        return Windows(opened, high, low, close, volume, np.maximum(self.length - 1, 0))

    def of_rows(self, rows: Column) -> "Windows":
        """Return some of the windows."""
        opened, high, low, close, volume, length = (column[rows] for column in self[:6])
        return Windows(opened, high, low, close, volume, length)

    def whole(self, rows: Column) -> "Windows":
        """Return some of the windows with all their columns, up to WINDOW."""
        return self.wider(rows) if self.wider else self.of_rows(rows)


class SessionSums(NamedTuple):
    """Sums of price x size (dollars) and of shares from the market's opening up to n bars: (n,) each.

    NaN for a bar outside the regular hours, and if a sum is too large.
    """

    notional: Column
    volume: Column


def no_session_sums(bars: int) -> SessionSums:
    """Return the sums of bars that belong to no session."""
    return SessionSums(np.full(bars, np.nan), np.full(bars, np.nan))
