"""Price levels for Support_Test and Resistance_Break: swing points of earlier bars, and their tolerance.

A swing high is a high above those of the `SWING` bars before it and not below those of the `SWING` bars after it (Bill
Williams's fractal with three bars to a side), so it is known only `SWING` bars later. A swing low is its mirror.
"""

import numpy as np
from numpy.typing import NDArray

from ...windows import Windows

DEPTH = 60  # bars in which a level is searched
SWING = 3  # bars to each side of a swing point
ATR_BARS = 14  # Wilder (1978), New Concepts in Technical Trading Systems

Matrix = NDArray[np.float64]


def last_bars(windows: Windows, rows: NDArray[np.intp], depth: int) -> Windows:
    """Return the last `depth` bars of some rows, contiguous, so that sums round alike for any number of rows."""
    opened, high, low, close, volume = (np.ascontiguousarray(column[rows, -depth:]) for column in windows[:5])
    return Windows(opened, high, low, close, volume, np.minimum(windows.length[rows], depth))


def mean_true_range(bars: Windows, count: int) -> NDArray[np.float64]:
    """Return each row's mean true range of the `count` bars before the last; these and one more must exist.

    True range (Wilder): the largest of high - low, |high - close before| and |low - close before|.
    """
    before = slice(-count - 2, -2)
    high, low = bars.high[:, -count - 1 : -1], bars.low[:, -count - 1 : -1]
    close = bars.close[:, before]
    return np.asarray((np.maximum(high, close) - np.minimum(low, close)).mean(axis=1))


def swing_highs(high: Matrix) -> NDArray[np.bool_]:
    """Return a mask of the swing highs, (m, depth); pass negated lows for swing lows.

    The last bar confirms none: the level that it breaks or tests must exist without it.
    """
    depth = high.shape[1]
    middle = high[:, SWING : depth - 1 - SWING]
    swing = np.ones(middle.shape, dtype=bool)
    for shift in range(1, SWING + 1):
        swing &= middle > high[:, SWING - shift : depth - 1 - SWING - shift]
        swing &= middle >= high[:, SWING + shift : depth - 1 - SWING + shift]
    out = np.zeros(high.shape, dtype=bool)
    out[:, SWING : depth - 1 - SWING] = swing
    return out


def since_first(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return, for each row, a mask of the columns after its first mark; empty without a mark."""
    seen = np.logical_or.accumulate(marked, axis=1)
    out = np.zeros_like(seen)
    out[:, 1:] = seen[:, :-1]
    return out
