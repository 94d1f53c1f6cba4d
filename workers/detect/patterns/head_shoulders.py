"""Head and shoulders, and its inverse: five extrema of a smoothed series, and the close that breaks the neckline.

Source: Lo, Mamaysky and Wang (2000), Foundations of Technical Analysis, Journal of Finance 55, section II: closes are
smoothed by a Gaussian kernel. An extremum is where the smoothed slope changes its sign; it is moved to the highest
(lowest) close within one bar. E1..E5 are five consecutive extrema; E1 is a maximum, E3 > E1, E3 > E5, E1 and
E5 within a tolerance of their average, E2 and E4 within a tolerance of theirs. The inverse is the mirror image.

Our additions, because the paper uses daily bars of whole years, and we any bar as it closes:

- The tolerance is not 1.5 %, which fits daily bars only, but `tolerance` x the mean absolute change from close to close
  in the window; this mean counts as at least 0.005 % and at most 3 % of the price.
- Confirmed: the last bar is the first since E4 that closes beyond the neckline, the line through E2 and E4. It also
  closes beyond the closes of the 4 bars before it.
- Something to turn (Bulkowski, Encyclopedia of Chart Patterns: a trend leads up to it): before E1 a bar of the window
  closed below the neckline's height.
- Proportions (Bulkowski: shoulders alike in price and distance, the head beyond both): the head is the (first) extreme
  close of the window, and its high (low) within one bar is beyond those of the shoulders; its distance from the
  neckline is `height` mean changes or more; each shoulder reaches 25 % to 80 % of the head's height; the longer of the
  two distances from the head to a shoulder is at most twice the shorter one; and the break follows E5 within as many
  bars as E5 follows E3.

Later bars do not change a formation, and it is found only once. The kernel around E1..E4 uses only bars of the window
before the last one, so that later bars give the same extrema. The neckline through E2 and E4 is broken for the first
time only once. Five extrema that end later have another head.

Confidence: 1 - 0.5 x the mean of four departures from the ideal, each from 0 to 1: |E1 - E5| and |E2 - E4|, as shares
of what the tolerance allows; (longer / shorter distance to the head) - 1; and 2 - (head's height / required height),
not below 0. levels: the neckline on the last bar, and the head. Needs 60 bars.

How the numbers were chosen: with random walks and generated formations, whose seeds neither the tests nor the published
rates use. Tried were bandwidth 1.5 to 2.5, tolerance 1 to 2 and height 2.5 to 4.5. Among the values that find 94 % of
the formations (legs of 5 to 9 bars, noise of 6 % of the head's height), the widest kernel and the smaller tolerance
were chosen: 0.6 detections in 1,000 bars of the walks. The height is the one with which half of these reach the
threshold.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...windows import Windows
from .kind import BEARISH, BULLISH, Found, Parameters, PatternKind, nothing_found, number

DEPTH = 60  # bars: the formation takes 20 to 50 of them
LEAST_CHANGE, MOST_CHANGE = 0.00005, 0.03  # of the price: bounds of the mean change, the unit of all distances
SHOULDER_LOW, SHOULDER_HIGH = 0.25, 0.80  # of the head's height
DISTANCE_RATIO = 2.0
NEAR = 1  # bars from a smoothed extremum to its close, as in the paper
WEIGHT = 0.5  # of the departures in the confidence
QUIET_BARS = 4  # the break is beyond the closes of these; this alone excludes three of four windows

Matrix = NDArray[np.float64]
Rows = NDArray[np.intp]


class Shape(NamedTuple):
    """Five extrema in each of m windows of closes. at: (m, 5) columns; price: (m, 5); head up for both kinds."""

    at: Rows
    price: Matrix
    neckline: Matrix  # (m, depth), the line through E2 and E4 at every bar


def find_head_shoulders(windows: Windows, parameters: Parameters, *, direction: int) -> Found:
    """Find the formations completed by the last bar of each window; levels: the neckline on that bar, and the head.

    direction: BEARISH for head and shoulders, BULLISH for the inverse.
    """
    bandwidth = number(parameters, "bandwidth", 1.0, 4.0)
    tolerance = number(parameters, "tolerance", 0.1, 10.0)
    height = number(parameters, "height", 0.1, 50.0)
    found = nothing_found(len(windows.close), 2)
    rows = _worth_a_look(windows, direction, reach_of(bandwidth))
    close = np.ascontiguousarray(windows.close[rows, -DEPTH:]) * -float(direction)  # the head up
    rows, close, shape = five_extrema(rows, close, bandwidth)
    departure = _departures(close, shape, tolerance, height)
    is_one = np.all((departure >= 0) & (departure <= 1), axis=1) & _confirmed(close, shape) & _turns(close, shape)
    good = np.flatnonzero(is_one)
    tip = windows.high if direction == BEARISH else -windows.low
    good = good[_stands_out(tip[rows[good], -DEPTH:], shape.at[good])]
    rows = rows[good]
    found.confidence[rows] = 1 - WEIGHT * (departure[good].sum(axis=1) / 4)
    found.direction[rows] = direction
    found.levels[rows, 0] = shape.neckline[good, -1] * -direction
    found.levels[rows, 1] = shape.price[good, 2] * -direction
    return found


def reach_of(bandwidth: float) -> int:
    """Return the bars to each side that the kernel covers: where its weight is at least 2 % of the middle's."""
    return math.ceil(2.8 * bandwidth)


def _worth_a_look(windows: Windows, direction: int, reach: int) -> Rows:
    """Return the rows that may have a formation, by cheap tests that exclude most windows."""
    last = windows.close[:, -1]
    there = (windows.length >= DEPTH) & (last > 0)
    for bar in range(2, 2 + QUIET_BARS):
        there &= (last < windows.close[:, -bar]) if direction == BEARISH else (last > windows.close[:, -bar])
    rows = np.flatnonzero(there)
    close = windows.close[rows, -DEPTH:]
    head = (close.argmax if direction == BEARISH else close.argmin)(axis=1)
    maybe: Rows = rows[(head >= reach + 3 - NEAR) & (head <= DEPTH - 3 - reach + NEAR)]
    return maybe


def five_extrema(rows: Rows, close: Matrix, bandwidth: float) -> tuple[Rows, Matrix, Shape]:
    """Return the rows whose smoothed closes end in five extrema, max first and last, with the closes and the shape."""
    reach = reach_of(bandwidth)
    rising = np.diff(_smoothed(close, bandwidth), axis=1) > 1e-9 * np.abs(close[:, 1:])  # no noise in flat parts
    turns = rising[:, reach:-1] != rising[:, reach + 1 :]  # before `reach` the kernel is cut off at the window's left
    column = np.arange(reach + 1, DEPTH - 1)
    last = np.sort(np.where(turns, column, 0), axis=1)[:, -5:]
    keep = (last[:, 0] > 0) & ~rising[:, -1] & (last[:, 3] <= DEPTH - 2 - reach) & (last[:, 4] < DEPTH - NEAR)
    rows, close, last = rows[keep], close[keep], last[keep]
    at = np.empty_like(last)
    for k in range(5):
        near = last[:, k, None] + np.arange(-NEAR, NEAR + 1)
        price = np.take_along_axis(close, near, axis=1)
        best = price.argmax(axis=1) if k % 2 == 0 else price.argmin(axis=1)
        at[:, k] = near[:, 0] + best
    price = np.take_along_axis(close, at, axis=1)
    slope = (price[:, 3] - price[:, 1]) / np.maximum(at[:, 3] - at[:, 1], 1)
    neckline = price[:, 1, None] + slope[:, None] * (np.arange(DEPTH) - at[:, 1, None])
    return rows, close, Shape(at, price, neckline)


def _smoothed(close: Matrix, bandwidth: float) -> Matrix:
    """Return the kernel regression of each row; near the ends only the part inside the window is weighted.

    Summed tap by tap, not as a matrix product, whose rounding would depend on the number of rows.
    """
    total = np.zeros_like(close)
    weight = np.zeros(DEPTH)
    reach = reach_of(bandwidth)
    for shift in range(-reach, reach + 1):
        tap = math.exp(-0.5 * (shift / bandwidth) ** 2)
        to = slice(max(0, -shift), DEPTH - max(0, shift))
        of = slice(max(0, shift), DEPTH - max(0, -shift))
        total[:, to] += tap * close[:, of]
        weight[to] += tap
    return total / weight


def _departures(close: Matrix, shape: Shape, tolerance: float, height: float) -> Matrix:
    """Return each shape's four departures from the ideal, (m, 4): up to 1 is allowed, 2 excludes the shape."""
    change = np.abs(np.diff(close, axis=1)).mean(axis=1)
    price = np.abs(close[:, -1])
    change = np.clip(change, LEAST_CHANGE * price, MOST_CHANGE * price)
    e1, e2, e3, e4, e5 = shape.price.T
    at1, _, at3, _, at5 = shape.at.T
    over = np.take_along_axis(close - shape.neckline, shape.at, axis=1)
    left, right = at3 - at1, at5 - at3
    longer = np.maximum(left, right) / np.maximum(np.minimum(left, right), 1)
    short = 2 - over[:, 2] / (height * change)
    proper = (e3 > e1) & (e3 > e5) & (over[:, 2] > 0) & (DEPTH - 1 - at5 <= right) & (at3 == close.argmax(axis=1))
    for shoulder in (over[:, 0], over[:, 4]):
        proper &= (shoulder >= SHOULDER_LOW * over[:, 2]) & (shoulder <= SHOULDER_HIGH * over[:, 2])
    out = np.stack(
        [
            np.abs(e1 - e5) / (2 * tolerance * change),
            np.abs(e2 - e4) / (2 * tolerance * change),
            (longer - 1) / (DISTANCE_RATIO - 1),
            np.maximum(short, 0),
        ],
        axis=1,
    )
    out[~proper] = 2
    return out


def _confirmed(close: Matrix, shape: Shape) -> NDArray[np.bool_]:
    """Return whether the last close is the first below the neckline since E4."""
    below = close < shape.neckline
    since = np.arange(DEPTH) > shape.at[:, 3, None]
    return np.asarray(below[:, -1] & ~np.any((below & since)[:, :-1], axis=1))


def _turns(close: Matrix, shape: Shape) -> NDArray[np.bool_]:
    """Return whether the price crossed the neckline's height before the left shoulder: there is a trend to turn."""
    before = np.arange(DEPTH) < shape.at[:, 0, None]
    return np.asarray(np.any((close < shape.neckline) & before, axis=1))


def _stands_out(tip: Matrix, at: Rows) -> NDArray[np.bool_]:
    """Return whether the head's high, not only its close, is above those of both shoulders; tip: highs, head up."""
    near = at[:, ::2, None] + np.arange(-NEAR, NEAR + 1)
    left, head, right = np.take_along_axis(tip[:, None, :], near, axis=2).max(axis=2).T
    return np.asarray((head > left) & (head > right))


def _kind(name: str, description: str, direction: int) -> PatternKind:
    parameters = {"bandwidth": 1.75, "tolerance": 1.5, "height": 4.0}
    find = partial(find_head_shoulders, direction=direction)
    return PatternKind(name, description, DEPTH, DEPTH, 0.8, True, parameters, find)


KINDS = [
    _kind("HeadShoulders", "Three peaks, the middle one highest, confirmed by a close below the neckline", BEARISH),
    _kind(
        "InverseHeadShoulders",
        "Three troughs, the middle one lowest, confirmed by a close above the neckline",
        BULLISH,
    ),
]
