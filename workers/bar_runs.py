"""Runs of bars: no window crosses a long gap, a split, or another price unit between two bars. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..contracts.ticks import Column

MAX_GAP_MINUTES = 10 * 1440  # longer than any holiday: later bars do not continue the earlier ones
# Such a price change over a night is another unit, not a move: a split of 3 for 2 or more, in either direction.
NIGHT_MINUTES = 6 * 60
MAX_NIGHT_RATIO = 1 / 0.7


class Splits:
    """The splits of one partition's symbols. symbols: the partition's growing list."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols = symbols
        self.minutes: Mapping[str, tuple[int, ...]] = {}  # symbol -> the first minutes of days with another unit

    def lie_between(self, symbols: Column, before: Column, minutes: Column) -> Column:
        """Return a mask of the symbols (indices) with a split after the minute `before` and up to `minutes`."""
        found = np.zeros(len(symbols), bool)
        if self.minutes:
            for i, symbol in enumerate(symbols.tolist()):
                days = self.minutes.get(self._symbols[symbol], ())
                found[i] = any(before[i] < day <= minutes[i] for day in days)
        return found


NO_SPLITS = Splits(())


def runs_around(bars: Column, counts: Column, minutes: Column, splits: Splits = NO_SPLITS) -> tuple[Column, Column]:
    """Return where the run at a minute of each history, or after it, begins and ends in `bars`: (n,) each.

    No window crosses runs: there is a long gap or a split between them. bars: CLOSED_DTYPE, `counts` of each history,
    one after the other, each of another symbol and by minute. minutes: one for each history.
    """
    ends = np.cumsum(counts)
    owner = np.repeat(np.arange(len(counts)), counts)
    before = np.bincount(owner[bars["minute"] <= minutes[owner]], minlength=len(counts))
    at = ends - counts + np.maximum(before - 1, 0)
    cuts = np.append(np.flatnonzero(begin_runs(bars, splits)), len(bars))
    place = np.searchsorted(cuts, at, side="right")
    is_there = counts > 0
    begin = np.where(is_there, cuts[np.maximum(place - 1, 0)], ends)
    return begin, np.where(is_there, cuts[np.minimum(place, len(cuts) - 1)], ends)


def begin_runs(bars: Column, splits: Splits) -> Column:
    """Return a mask of the bars that begin a run of bars. bars: CLOSED_DTYPE, sorted by symbol, then minute."""
    is_first = np.diff(bars["symbol"], prepend=-1) != 0
    begins: Column = is_first | begin_runs_after(np.roll(bars["minute"], 1), np.roll(bars["close"], 1), bars, splits)
    return begins


def begin_runs_after(minutes: Column, closes: Column, bars: Column, splits: Splits) -> Column:
    """Return a mask of the bars that begin a run; minutes, closes: of the bar before each."""
    gap = bars["minute"] - minutes
    nights = np.flatnonzero(gap >= NIGHT_MINUTES)
    if not len(nights):
        return np.zeros(len(bars), bool)
    other_unit = (bars["open"] * MAX_NIGHT_RATIO < closes) | (bars["open"] > closes * MAX_NIGHT_RATIO)
    begin = np.asarray((gap > MAX_GAP_MINUTES) | (gap >= NIGHT_MINUTES) & other_unit)
    begin[nights] |= splits.lie_between(bars["symbol"][nights], minutes[nights], bars["minute"][nights])
    return begin
