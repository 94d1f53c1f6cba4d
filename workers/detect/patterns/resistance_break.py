"""Resistance_Break: the first close above a level that two or more earlier swing highs made.

Source: the textbook rule (Edwards and Magee, Technical Analysis of Stock Trends, chapter 13; Murphy, Technical
Analysis of the Financial Markets, chapter 4), in numbers of ours. Of the last 60 bars:

- the level is the highest swing high (levels.py) from the close before up to the last close;
- `touches` or more swing highs, it among them, lie at most `tolerance` x ATR below it;
- no bar closed above it since the first of these;
- the last bar closes `margin` x ATR or more above it, and `min_ticks` ticks or more.

ATR is the mean true range of the 14 bars before the last. Direction: bullish, always. levels: the level.
Confidence: 1 - 0.4 / (1 + s), s = (close - level) / ATR - margin + (number of touches - `touches`) / 2: 0.6 at the
rule's edge, towards 1 the farther the close and the more often the level held. Needs 60 bars.
"""

import numpy as np
from numpy.typing import NDArray

from ...windows import Windows
from .kind import BULLISH, Found, Parameters, PatternKind, nothing_found, number
from .levels import ATR_BARS, DEPTH, SWING, last_bars, mean_true_range, since_first, swing_highs
from .stand_out import are_ticks, least_ticks


def find_resistance_break(windows: Windows, parameters: Parameters) -> Found:
    """Find the breaks of resistance on the last bars."""
    tolerance = number(parameters, "tolerance", 0.0, 5.0)
    touches = number(parameters, "touches", 2, 10)
    margin, ticks = number(parameters, "margin", 0.0, 5.0), least_ticks(parameters)
    found = nothing_found(len(windows.close))
    rows = _worth_a_look(windows, margin, ticks)
    bars = last_bars(windows, rows, DEPTH)
    close = bars.close[:, -1:]
    atr = mean_true_range(bars, ATR_BARS)[:, None]
    swing = swing_highs(bars.high)
    crossed = swing & (bars.high >= bars.close[:, -2:-1]) & (bars.high < close)
    level = np.where(crossed, bars.high, -np.inf).max(axis=1, keepdims=True)
    touch = swing & (bars.high <= level) & (bars.high >= level - tolerance * atr)
    broken = (since_first(touch) & (bars.close > level))[:, :-1].any(axis=1, keepdims=True)
    held = touch.sum(axis=1, keepdims=True)
    good = (held >= touches) & ~broken & (atr > 0) & (close - level >= margin * atr)
    good &= are_ticks(close - level, close, ticks)
    rows, level, atr, held, close = rows[good[:, 0]], level[good], atr[good], held[good], close[good]
    strength = (close - level) / atr - margin + (held - touches) / 2
    found.confidence[rows] = 1 - 0.4 / (1 + np.maximum(strength, 0))  # rounding may leave less than 0
    found.direction[rows] = BULLISH
    found.levels[rows, 0] = level
    return found


def _worth_a_look(windows: Windows, margin: float, ticks: float) -> NDArray[np.intp]:
    """Return the rows whose last close is above all closes since the newest possible swing high, and far enough.

    The level is not below the close of the bar before, so the last close is far enough above that close, too.
    """
    close, there = windows.close[:, -1], windows.length >= DEPTH
    for bar in range(2, 2 + SWING):
        there &= close > windows.close[:, -bar]
    rows = np.flatnonzero(there & are_ticks(close - windows.close[:, -2], close, ticks))
    atr = mean_true_range(last_bars(windows, rows, ATR_BARS + 2), ATR_BARS)
    maybe: NDArray[np.intp] = rows[close[rows] - windows.close[rows, -2] >= margin * atr]
    return maybe


KIND = PatternKind(
    name="Resistance_Break",
    description="The first close above a level that earlier swing highs made",
    depth=DEPTH,
    least_bars=DEPTH,
    threshold=0.6,
    enabled=True,
    parameters={"tolerance": 0.75, "touches": 2.0, "margin": 0.5, "min_ticks": 3.0},
    find=find_resistance_break,
)
