"""What a shape needs to be published: a range, in ticks and compared with the bars before, and a move.

With prices in cents, every fourth bar of a quiet stock opens and closes at one price: a shape of two ticks means
nothing.
"""

import numpy as np
from numpy.typing import NDArray

from ...windows import Windows
from .kind import Parameters, number
from .levels import ATR_BARS, last_bars

MOVE_BARS = 10  # before the bar; TA-Lib also measures candles over 10 bars
FALL, EITHER, RISE = -1, 0, 1

_TICK, _TICK_BELOW_1_DOLLAR = 0.01, 0.0001  # dollars: Regulation NMS, rule 612 (17 CFR 242.612)
_ROUNDING = 0.001  # ticks: differences of binary floats are slightly more or less than whole ticks
_MOST_TICKS, _MOST_ATR = 10_000.0, 100.0

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def are_ticks(distance: Floats, price: Floats, least: float) -> Mask:
    """Return a mask of the distances, in dollars, of at least `least` ticks at these prices."""
    tick = np.where(price >= 1.0, _TICK, _TICK_BELOW_1_DOLLAR)
    return np.asarray(distance >= (least - _ROUNDING) * tick)


def least_ticks(parameters: Parameters) -> float:
    """Return the parameter `min_ticks`. Raises ValueError if out of bounds."""
    return number(parameters, "min_ticks", 0.0, _MOST_TICKS)


def usual_range(bars: Windows) -> Floats:
    """Return each row's mean true range of up to 14 bars before the last, 0 if there are none.

    The first bar of a history has no close before: its true range is high - low.
    """
    total, count = np.zeros(len(bars.close)), np.zeros(len(bars.close))
    for column in range(-1 - ATR_BARS, -1):  # one by one: a sum's rounding must not depend on other rows
        high, low, before = bars.high[:, column], bars.low[:, column], bars.close[:, column - 1]
        true_range = np.fmax(high, before) - np.fmin(low, before)
        there = ~np.isnan(high)
        total += np.where(there, true_range, 0.0)
        count += there
    return np.asarray(total / np.maximum(count, 1.0))


def stand_out(windows: Windows, here: Mask, parameters: Parameters, way: int | None = None) -> Mask:
    """Return a mask of the found shapes with the range of `min_ticks` and `min_atr`, and with the move before them.

    way: direction of the move (FALL, RISE or EITHER) of `min_move`; None if the shape needs none. Raises ValueError for
    a parameter out of bounds.
    """
    ticks, least = least_ticks(parameters), number(parameters, "min_atr", 0.0, _MOST_ATR)
    moved = 0.0 if way is None else number(parameters, "min_move", 0.0, _MOST_ATR)
    rows = np.flatnonzero(here)
    out = np.zeros(len(here), dtype=bool)
    if not len(rows):
        return out
    bars = last_bars(windows, rows, ATR_BARS + 2)
    span, usual = bars.high[:, -1] - bars.low[:, -1], usual_range(bars)
    good = are_ticks(span, bars.close[:, -1], ticks) & (span >= least * usual)
    if way is not None and moved > 0:
        good &= _ends_a_move(bars, moved * usual, way)
    out[rows] = good
    return out


def _ends_a_move(bars: Windows, least: Floats, way: int) -> Mask:
    """Return a mask of the last bars that are the lowest (highest) of a fall (rise) of at least `least` dollars."""
    before = slice(-1 - MOVE_BARS, -1)
    change = bars.close[:, -2] - bars.close[:, -1 - MOVE_BARS]
    fell = (bars.low[:, -1] <= bars.low[:, before].min(axis=1)) & (-change >= least)
    rose = (bars.high[:, -1] >= bars.high[:, before].max(axis=1)) & (change >= least)
    if way == EITHER:
        return np.asarray(fell | rose)
    return np.asarray(fell if way == FALL else rose)
