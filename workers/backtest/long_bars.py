"""The bars of one timeframe over months, as arrays: each window is a view of them, not a copy. Pure."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...contracts.ticks import SHARE_MICRO, Column
from ..bar_runs import Splits, begin_runs
from ..detect.definition import PatternDefinition
from ..detect.detections import LEAST_DEPTH
from ..detect.patterns.kind import OtherDays
from ..detect.search import hits_of
from ..history import CLOSED_DTYPE
from ..sessions import Sessions, end_regular_hours, same_minutes_before
from ..windows import WINDOW, Windows

_ROWS_OF_A_BATCH = 16384  # the values computed for them fit into the processor's cache
_PAD = WINDOW - 1  # missing bars before each run: its first windows are short
_DAY_MINUTES = 1440

# (symbols (n,), minutes (n, k)) -> volume of each of these bars in shares, (n, k); NaN: no such bar, or minute -1.
VolumesAt = Callable[[Column, Column], Column]


class Knowledge(NamedTuple):
    """Facts about the symbols: their splits, sessions and volumes."""

    splits: Splits
    sessions: Sessions
    volumes_at: VolumesAt


class FoundBars(NamedTuple):
    """The bars on which a pattern was found. bars: indices. since: bars since the same event, 0 if it is new."""

    bars: Column
    since: Column
    confidence: Column
    direction: Column


def higher_bars(minutes: Column, timeframe: int) -> Column:
    """Build the bars of a longer timeframe from 1-minute bars (CLOSED_DTYPE, sorted by symbol, then minute)."""
    starts = minutes["minute"] // timeframe * timeframe
    is_first = np.ones(len(minutes), bool)
    is_first[1:] = (starts[1:] != starts[:-1]) | (minutes["symbol"][1:] != minutes["symbol"][:-1])
    first = np.flatnonzero(is_first)
    bars = np.empty(len(first), CLOSED_DTYPE)
    bars["symbol"], bars["minute"], bars["open"] = minutes["symbol"][first], starts[first], minutes["open"][first]
    bars["close"] = minutes["close"][np.append(first[1:], len(minutes)) - 1]
    for name, add in (("high", np.maximum), ("low", np.minimum), ("volume_micro", np.add), ("notional", np.add)):
        bars[name] = add.reduceat(minutes[name], first) if len(first) else 0.0
    return bars


class LongBars:
    """The bars of one timeframe and session, sorted by symbol, then minute. is_regular: only of the regular hours."""

    def __init__(self, bars: Column, timeframe: int, known: Knowledge, *, is_regular: bool) -> None:
        self.bars, self._timeframe, self._known, self._is_regular = bars, timeframe, known, is_regular
        begins = begin_runs(bars, known.splits)
        first = np.flatnonzero(begins)
        run = np.cumsum(begins) - 1
        here = np.arange(len(bars))
        self._place = here + _PAD * (run + 1)
        size = len(bars) + _PAD * len(first)
        self._bar_at, self._length = np.full(size, -1), np.zeros(size, np.int64)
        self._bar_at[self._place] = here
        self._length[self._place] = np.minimum(here - first[run] + 1, WINDOW)
        self._views = []
        for name in ("open", "high", "low", "close", "volume_micro"):
            values = np.full(size, np.nan)
            values[self._place] = bars[name] / SHARE_MICRO if name == "volume_micro" else bars[name]
            self._views.append(sliding_window_view(values, WINDOW) if size else np.empty((0, WINDOW)))

    def find(self, pattern: PatternDefinition, first: int) -> FoundBars:
        """Find a pattern on the bars that begin in the minute `first` or later."""
        found = [FoundBars(*(np.zeros(0, kind) for kind in (np.int64, np.int64, np.float64, np.int8)))]
        for begin in range(_PAD, len(self._length), _ROWS_OF_A_BATCH):
            windows = self._windows_from(begin, min(begin + _ROWS_OF_A_BATCH, len(self._length)))
            hits = hits_of(pattern, windows, _Others(self, begin))
            bars = self._bar_at[begin + hits.rows]
            some = FoundBars(bars, hits.since, hits.found.confidence[hits.rows], hits.found.direction[hits.rows])
            wanted = self.bars["minute"][bars] >= first
            found.append(FoundBars(*(column[wanted] for column in some)))
        return FoundBars(*map(np.concatenate, zip(*found, strict=True)))

    def _windows_from(self, begin: int, end: int) -> Windows:
        """Return the windows up to the places from `begin` to `end`; those between two runs have no bar."""
        opened, high, low, close, volume = (view[begin - _PAD : end - _PAD] for view in self._views)
        return Windows(opened, high, low, close, volume, self._length[begin:end])

    def windows_at(self, places: Column, depth: int) -> Windows:
        """Return the windows up to some places, copied."""
        opened, high, low, close, volume = (view[places - _PAD, -depth:] for view in self._views)
        return Windows(opened, high, low, close, volume, np.minimum(self._length[places], depth))

    def other_days(self, places: Column) -> OtherDays:
        """Return the same minute on other days for the bars at some places."""
        at, known = self._bar_at[places], self._known
        symbols, minutes = self.bars["symbol"][at].astype(np.int64), self.bars["minute"][at]
        before = same_minutes_before(minutes, self._timeframe)
        each = np.repeat(np.arange(len(at)), before.shape[1])
        is_split = known.splits.lie_between(symbols[each], before.ravel(), minutes[each]).reshape(before.shape)
        volumes = known.volumes_at(symbols, np.where(is_split, -1, before))
        if not self._is_regular:
            return OtherDays(volumes, np.zeros(len(at), bool))
        starts = self.bars["minute"][at - np.minimum(self._length[places], LEAST_DEPTH) + 1]
        is_edge = starts // _DAY_MINUTES < minutes // _DAY_MINUTES
        is_edge |= end_regular_hours(minutes, self._timeframe)
        return OtherDays(volumes, is_edge & ~known.sessions.are_always_open(symbols))


class _Others(NamedTuple):
    """Looks up what confirms the patterns on a batch of bars. begin: the index of the first of them."""

    bars: LongBars
    begin: int

    def other_days(self, rows: Column) -> OtherDays:
        """Return the same minute on other days for some rows."""
        return self.bars.other_days(self.begin + rows)

    def earlier(self, rows: Column, bars: Column, depth: int) -> tuple[Windows, OtherDays]:
        """Return the windows that end `bars` bars before some rows, and their other days."""
        places = self.begin + rows - bars
        return self.bars.windows_at(places, depth), self.bars.other_days(places)
