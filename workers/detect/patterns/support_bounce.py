"""Support_Test: the bar comes down to a level that two or more earlier swing lows made, and closes above it.

Source: the textbook rule (Edwards and Magee, Technical Analysis of Stock Trends, chapter 13; Murphy, Technical
Analysis of the Financial Markets, chapter 4), in numbers of ours. Of the last 60 bars:

- `touches` or more swing lows (levels.py) lie within `tolerance` x ATR of the last bar's low; the level is their mean;
- no bar since the first of them closed more than `tolerance` x ATR below the level;
- the 3 bars before the last stayed off it: their lows are more than `tolerance` x ATR above the level;
- the last bar closes `rejection` x ATR or more above the level, and `min_ticks` ticks or more, and in the upper half of
  its own range.

ATR is the mean true range of the 14 bars before the last. Direction: bullish, always: the level held. levels: the
level. Confidence: 1 - 0.4 / (1 + s), s = (close - level) / ATR - rejection + (number of touches - `touches`) / 2:
0.6 at the rule's edge, towards 1 the stronger the rejection and the more often the level held. Needs 60 bars.
"""

import numpy as np
from numpy.typing import NDArray

from ...windows import Windows
from .kind import BULLISH, Found, Parameters, PatternKind, nothing_found, number
from .levels import ATR_BARS, DEPTH, SWING, last_bars, mean_true_range, since_first, swing_highs
from .stand_out import are_ticks, least_ticks


def find_support_test(windows: Windows, parameters: Parameters) -> Found:
    """Find the tests of support on the last bars."""
    tolerance = number(parameters, "tolerance", 0.0, 5.0)
    touches = number(parameters, "touches", 2, 10)
    rejection, ticks = number(parameters, "rejection", 0.0, 5.0), least_ticks(parameters)
    found = nothing_found(len(windows.close))
    rows = _worth_a_look(windows)
    bars = last_bars(windows, rows, DEPTH)
    low, close = bars.low[:, -1:], bars.close[:, -1:]
    atr = mean_true_range(bars, ATR_BARS)[:, None]
    near = tolerance * atr
    touch = swing_highs(-bars.low) & (np.abs(bars.low - low) <= near)
    held = touch.sum(axis=1, keepdims=True)
    level = np.where(touch, bars.low, 0.0).sum(axis=1, keepdims=True) / np.maximum(held, 1)
    broken = (since_first(touch) & (bars.close < level - near)).any(axis=1, keepdims=True)
    off = bars.low[:, -1 - SWING : -1].min(axis=1, keepdims=True) > level + near
    good = (held >= touches) & ~broken & off & (atr > 0) & (close - level >= rejection * atr)
    good &= are_ticks(close - level, close, ticks)
    rows, level, atr, held, close = rows[good[:, 0]], level[good], atr[good], held[good], close[good]
    strength = (close - level) / atr - rejection + (held - touches) / 2
    found.confidence[rows] = 1 - 0.4 / (1 + np.maximum(strength, 0))  # rounding may leave less than 0
    found.direction[rows] = BULLISH
    found.levels[rows, 0] = level
    return found


def _worth_a_look(windows: Windows) -> NDArray[np.intp]:
    """Return the rows whose last low is below the lows of the bars before, and whose close is in the upper half."""
    high, low, close = windows.high[:, -1], windows.low[:, -1], windows.close[:, -1]
    there = (windows.length >= DEPTH) & (close - low >= high - close)
    for bar in range(2, 2 + SWING):
        there &= low < windows.low[:, -bar]
    maybe: NDArray[np.intp] = np.flatnonzero(there)
    return maybe


KIND = PatternKind(
    name="Support_Test",
    description="A bar comes down to a level that earlier swing lows made, and closes above it",
    depth=DEPTH,
    least_bars=DEPTH,
    threshold=0.6,
    enabled=True,
    parameters={"tolerance": 0.75, "touches": 2.0, "rejection": 0.5, "min_ticks": 3.0},
    find=find_support_test,
)
