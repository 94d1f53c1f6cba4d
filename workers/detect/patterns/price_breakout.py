"""Price_Breakout: a close beyond the range of the 20 bars before, on a wide bar with much volume.

Source: the channel rule (Donchian; its 20 bars as in Curtis Faith, The Original Turtle Trading Rules), confirmed by
volume (Edwards and Magee, Technical Analysis of Stock Trends) in numbers of ours. Of the last bar, against the 20 bars
before it:

- it closes above their highest high (bullish) or below their lowest low (bearish), by `margin` x their mean true range
  (ATR) or more, and by `min_ticks` ticks or more: on a grid of cents one cent is no break;
- its volume is `volume_ratio` x their mean volume or more, and as much against the mean of the same minute in the 7
  days before, where there are such bars; where there are none, a bar within the first 20 of its day, or its last, is no
  breakout;
- its true range is `range_ratio` x ATR or more.

levels: the high or low that was broken. Confidence: 1 - 0.4 / (1 + s), s = (distance of the close beyond the level) /
ATR - `margin` + (volume / the larger mean volume) / `volume_ratio` - 1: 0.6 at the rule's edge, towards 1 as the close
goes farther or the volume grows. Needs 22 bars: the first true range wants the close before.

One event within a cool-down whatever the levels: those of the second breakout lie at or beyond the first one's close,
because that bar is among its 20 bars. The event moves its own level.
"""

import math

import numpy as np

from ...windows import Windows
from .kind import Found, OtherDays, Parameters, PatternKind, no_other_days, nothing_found, number
from .levels import last_bars, mean_true_range
from .stand_out import are_ticks, least_ticks
from .usual_volume import usual_volume

BARS = 20


def find_price_breakout(windows: Windows, parameters: Parameters) -> Found:
    """Find the breakouts on the last bars, in both directions, with high volume compared with the bars before."""
    return confirm_price_breakout(windows, parameters, no_other_days(len(windows.close)))


def confirm_price_breakout(windows: Windows, parameters: Parameters, others: OtherDays) -> Found:
    """Find the breakouts on the last bars, in both directions, with high volume also compared with other days."""
    volume_ratio = number(parameters, "volume_ratio", 0.1, 100.0)
    range_ratio = number(parameters, "range_ratio", 0.0, 100.0)
    margin, ticks = number(parameters, "margin", 0.0, 5.0), least_ticks(parameters)
    found = nothing_found(len(windows.close))
    top, bottom, close = windows.high[:, -2].copy(), windows.low[:, -2].copy(), windows.close[:, -1]
    for bar in range(3, BARS + 2):  # column by column: most windows are excluded without a copy of their bars
        np.maximum(top, windows.high[:, -bar], out=top)
        np.minimum(bottom, windows.low[:, -bar], out=bottom)
    way = (close > top).astype(np.int8) - (close < bottom).astype(np.int8)
    rows = np.flatnonzero((way != 0) & (windows.length >= BARS + 2))
    way, level = way[rows], np.where(way > 0, top, bottom)[rows]
    bars = last_bars(windows, rows, BARS + 2)
    usual = usual_volume(others.of_rows(rows))
    atr, mean = mean_true_range(bars, BARS), np.maximum(bars.volume[:, 1:-1].mean(axis=1), usual.mean)
    close, before = bars.close[:, -1], bars.close[:, -2]
    span = np.maximum(bars.high[:, -1], before) - np.minimum(bars.low[:, -1], before)
    good = (atr > 0) & (mean > 0) & (span >= range_ratio * atr) & (bars.volume[:, -1] >= volume_ratio * mean)
    distance = np.abs(close - level)
    good &= usual.is_known & (distance >= margin * atr) & are_ticks(distance, close, ticks)
    rows = rows[good]
    strength = distance[good] / atr[good] - margin + bars.volume[good, -1] / mean[good] / volume_ratio - 1
    found.confidence[rows] = 1 - 0.4 / (1 + np.maximum(strength, 0))  # rounding may leave less than 0
    found.direction[rows] = way[good]
    found.levels[rows, 0] = level[good]
    return found


KIND = PatternKind(
    name="Price_Breakout",
    description="A close beyond the range of the 20 bars before, on a wide bar with much volume",
    depth=BARS + 2,
    least_bars=BARS + 2,
    threshold=0.6,
    enabled=True,
    parameters={"volume_ratio": 2.5, "range_ratio": 1.5, "margin": 0.25, "min_ticks": 3.0},
    find=find_price_breakout,
    confirm=confirm_price_breakout,
    same_level=math.inf,
)
