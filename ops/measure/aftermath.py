"""The price moves after each bar, in ATR, and the mean move after all bars at that time of day.

A move is the close some bars later minus the bar's own, as a multiple of the bar's ATR: the mean true range of the
14 bars up to it. A night is not a true range. On timeframes with more than 60 bars a day (1min, 5min) a move ends with
its day; on longer ones, and on daily bars, it continues over the night, but never over a split.
"""

from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column
from ...contracts.timeframe import INTRADAY
from .bar_files import day_of, openings_of
from .finding import DAILY, begin_runs

AFTER = (5, 20, 60)  # bars
HIT_AFTER = 20  # bars
HIT_ATR = 0.5  # a hit: the close is so much farther in the pattern's direction

_ATR_BARS = 14
_REGULAR_MINUTES = 390


class Aftermath(NamedTuple):
    """The moves after n bars of one timeframe, for each of AFTER.

    moves: (n, 3) in ATR, NaN if there is no such bar, or no ATR. of_all: (n, 3), the mean move of all bars at the same
    time of day. up, down: (n,) of those bars, the share after which a rise (up) or a fall (down) was a hit. Only bars
    with a move after HIT_AFTER bars count. clusters: (n, 3) bars with equal numbers may share the same move.
    """

    moves: Column
    of_all: Column
    up: Column
    down: Column
    clusters: Column


def aftermath(timeframe: str, bars: Column) -> Aftermath:
    """Compute the moves after each bar (CLOSED_DTYPE, by symbol, then minute)."""
    runs = begin_runs(bars)
    days = day_of(bars["minute"])
    day_begins = runs.copy()
    day_begins[1:] |= days[1:] != days[:-1]
    atr = mean_true_range(bars, runs, runs if timeframe == DAILY else day_begins)
    a_day = 1 if timeframe == DAILY else -(-_REGULAR_MINUTES // INTRADAY[timeframe])
    within_day = a_day > max(AFTER)
    stretch = np.cumsum(day_begins if within_day else runs)
    moves = np.stack([_moves(bars["close"], atr, stretch, after) for after in AFTER], axis=1)
    slot = np.zeros(len(bars), np.int64) if timeframe == DAILY else bars["minute"] - openings_of(days)
    hits = moves[:, AFTER.index(HIT_AFTER)]
    return Aftermath(
        moves,
        np.stack([_mean_by(slot, column) for column in moves.T], axis=1),
        _mean_by(slot, np.where(np.isnan(hits), np.nan, hits >= HIT_ATR)),
        _mean_by(slot, np.where(np.isnan(hits), np.nan, hits <= -HIT_ATR)),
        np.stack([_clusters(stretch if within_day else None, days, -(-after // a_day)) for after in AFTER], axis=1),
    )


def mean_true_range(bars: Column, runs: Column, no_close_before: Column) -> Column:
    """Return each bar's ATR: the mean true range of the 14 bars up to it; NaN before the 14th of a run, and for 0.

    no_close_before: bars whose true range is only their own range.
    """
    before = np.where(no_close_before, bars["open"], np.roll(bars["close"], 1))
    ranges = np.maximum(bars["high"], before) - np.minimum(bars["low"], before)
    atr = np.full(len(bars), np.nan)
    if len(bars) < _ATR_BARS:
        return atr
    last = np.arange(_ATR_BARS - 1, len(bars))
    run = np.cumsum(runs)
    whole = run[last] == run[last - _ATR_BARS + 1]
    means = np.lib.stride_tricks.sliding_window_view(ranges, _ATR_BARS).mean(axis=1)
    atr[last] = np.where(whole & (means > 0), means, np.nan)
    return atr


def _moves(close: Column, atr: Column, stretch: Column, after: int) -> Column:
    moves = np.full(len(close), np.nan)
    if len(close) > after:
        there = stretch[after:] == stretch[:-after]
        moves[:-after][there] = ((close[after:] - close[:-after]) / atr[:-after])[there]
    return moves


def _mean_by(slot: Column, values: Column) -> Column:
    """Return for each value the mean of all numbers in its slot."""
    slots, where = np.unique(slot, return_inverse=True)
    there = ~np.isnan(values)
    count = np.bincount(where[there], minlength=len(slots))
    total = np.bincount(where[there], values[there], minlength=len(slots))
    return np.asarray(np.divide(total, count, out=np.full(len(slots), np.nan), where=count > 0)[where])


def _clusters(stretch: Column | None, days: Column, span: int) -> Column:
    """Return cluster numbers: a symbol's day; for moves over nights, all symbols' days of a span."""
    if stretch is not None:
        return stretch
    _, day = np.unique(days, return_inverse=True)
    return np.asarray(day // span)
