"""Whether what was found is an event of its own, or one that an earlier bar of the same window has shown already.

A function of the bars alone, never of what was told: so a live worker, a restored one, a replay and a backtest agree.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..windows import Windows
from .kind import Found, Parameters, PatternKind, number
from .levels import ATR_BARS, last_bars
from .stand_out import usual_range

COOL_DOWN = 10.0  # bars, by default; 0 is none
_LONGEST = 100.0  # bars: with what a pattern looks at they lie within a window

Bars = NDArray[np.int64]


def cool_down_of(parameters: Parameters) -> int:
    """Return the parameter `cool_down`, in bars. Raises ValueError where it is not a whole number within its bounds."""
    bars = number(parameters, "cool_down", 0.0, _LONGEST)
    if not bars.is_integer():
        raise ValueError(f"cool_down: {bars:g} is no whole number of bars")
    return int(bars)


def columns_for(kind: PatternKind, parameters: Parameters) -> int:
    """Return how many columns of a window a pattern and its cool-down look at."""
    return max(kind.depth, kind.decisive + cool_down_of(parameters))


def bars_since(
    windows: Windows, rows: NDArray[np.intp], kind: PatternKind, parameters: Parameters, least: float, there: Found
) -> Bars:
    """Return, for each row in which a pattern was found, how many bars ago the same was found last; 0 where it is new.

    The same: the same direction, a confidence of `least` or more, and a level as near as the kind says. A repeat of a
    repeat has the one before it within its cool-down, and is one, too. there: what was found on the last bars.
    """
    cool_down = cool_down_of(parameters)
    since = np.zeros(len(rows), np.int64)
    if not cool_down or not len(rows):
        return since
    before = kind.find(_earlier(windows, rows, kind.decisive, cool_down), parameters)
    shape = (len(rows), cool_down)
    same = (before.confidence >= least).reshape(shape)
    same &= before.direction.reshape(shape) == there.direction[rows, None]
    if np.isfinite(kind.same_level):
        near = kind.same_level * usual_range(last_bars(windows, rows, ATR_BARS + 2))
        levels, level = before.levels[:, 0].reshape(shape), there.levels[rows, 0][:, None]
        same &= (np.abs(levels - level) <= near[:, None]) | np.isnan(level)
    found = same.any(axis=1)
    since[found] = same[found, ::-1].argmax(axis=1) + 1  # the last column is the bar before
    return since


def _earlier(windows: Windows, rows: NDArray[np.intp], depth: int, bars: int) -> Windows:
    """Return the windows that end on each of so many bars before the last one, oldest first, row by row."""
    columns = (
        sliding_window_view(column[rows, -depth - bars : -1], depth, axis=1).reshape(-1, depth)
        for column in windows[:5]
    )
    length = windows.length[rows, None] - np.arange(bars, 0, -1)
    opened, high, low, close, volume = columns
    return Windows(opened, high, low, close, volume, np.clip(length, 0, depth).reshape(-1))
