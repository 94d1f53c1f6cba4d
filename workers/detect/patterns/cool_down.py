"""Whether a detection is a new event, or the repeat of one on an earlier bar of the same window.

It depends only on the bars, not on published messages: a live worker, a restored one, a replay and a backtest agree.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...windows import Windows
from .kind import Found, Parameters, PatternKind, number
from .levels import ATR_BARS, last_bars
from .stand_out import usual_range

COOL_DOWN = 10.0  # bars, by default; 0: no cool-down
_LONGEST = 100.0  # bars: so a pattern and its cool-down fit into a window

Bars = NDArray[np.int64]
Mask = NDArray[np.bool_]


def cool_down_of(parameters: Parameters) -> int:
    """Return the parameter `cool_down`, in bars. Raises ValueError if it is not a whole number within its bounds."""
    bars = number(parameters, "cool_down", 0.0, _LONGEST)
    if not bars.is_integer():
        raise ValueError(f"cool_down: {bars:g} is not a whole number of bars")
    return int(bars)


def columns_for(kind: PatternKind, parameters: Parameters) -> int:
    """Return how many columns of a window a pattern and its cool-down need."""
    return kind.decisive + cool_down_of(parameters)


def found_before(
    windows: Windows, rows: NDArray[np.intp], kind: PatternKind, parameters: Parameters, least: float, there: Found
) -> Mask:
    """Return, per row with a detection, a mask of the cool-down's bars with the same detection: (n, bars).

    The same: equal direction, a confidence of `least` or more, and a level within the kind's distance. there: the
    detections on the last bars. The last column is the bar before.
    """
    cool_down = cool_down_of(parameters)
    if not cool_down or not len(rows):
        return np.zeros((len(rows), cool_down), bool)
    before = kind.find(_earlier(windows, rows, kind.decisive, cool_down), parameters)
    shape = (len(rows), cool_down)
    same = ((before.confidence > 0) & (before.confidence >= least)).reshape(shape)
    same &= before.direction.reshape(shape) == there.direction[rows, None]
    if np.isfinite(kind.same_level):
        near = kind.same_level * usual_range(last_bars(windows, rows, ATR_BARS + 2))
        levels, level = before.levels[:, 0].reshape(shape), there.levels[rows, 0][:, None]
        same &= (np.abs(levels - level) <= near[:, None]) | np.isnan(level)
    return same


def bars_since(same: Mask) -> Bars:
    """Return how many bars ago the same detection was last found, 0 if new; same: from found_before.

    A repeat of a repeat is also a repeat: the one before is within its cool-down.
    """
    since = np.zeros(len(same), np.int64)
    found = same.any(axis=1)
    if found.any():
        since[found] = same[found, ::-1].argmax(axis=1) + 1
    return since


def _earlier(windows: Windows, rows: NDArray[np.intp], depth: int, bars: int) -> Windows:
    """Return the windows that end on each of the `bars` bars before the last one, oldest first, row by row."""
    columns = (
        sliding_window_view(column[rows, -depth - bars : -1], depth, axis=1).reshape(-1, depth)
        for column in windows[:5]
    )
    length = windows.length[rows, None] - np.arange(bars, 0, -1)
    opened, high, low, close, volume = columns
    return Windows(opened, high, low, close, volume, np.clip(length, 0, depth).reshape(-1))
