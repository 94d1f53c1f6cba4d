"""Daily, weekly or monthly bars of many symbols as columns, and the windows and series for detectors. Pure."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column
from ..windows import WINDOW, Windows

_FIRST_DAY = date(1970, 1, 1)


class Bars(NamedTuple):
    """The last bars of each symbol, symbol after symbol, oldest first.

    bounds: (symbols + 1,), the index of each symbol's first bar. day: (k,) int64, the bar's first day since 1970.
    Others: (k,) float64, prices in dollars, volume in shares.
    """

    symbols: Sequence[str]
    bounds: Column
    day: Column
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column


class Split(NamedTuple):
    """A split: from this day (since 1970) on, `ratio` new shares replace an old one."""

    symbol: str
    day: int
    ratio: float


class Ends(NamedTuple):
    """n bars to run detectors on.

    symbol: index of each bar's symbol; place: the index in Bars of the row after the bar.
    """

    symbol: Column
    place: Column

    def __len__(self) -> int:
        return len(self.place)

    def part(self, first: int, last: int) -> "Ends":
        """Return the ends from index `first` to `last`."""
        return Ends(self.symbol[first:last], self.place[first:last])

    def of_rows(self, rows: Column) -> "Ends":
        """Return the ends of some rows."""
        return Ends(self.symbol[rows], self.place[rows])


def adjusted(bars: Bars, timeframe: str, splits: Sequence[Split]) -> Bars:
    """Return bars in the newest bar's unit: prices before a split divided by its ratio, volumes multiplied by it.

    A week or month with a split inside is already in the unit of its last day.
    """
    index = {symbol: i for i, symbol in enumerate(bars.symbols)}
    factor = np.ones(len(bars.day))
    ends = _ends_of(timeframe, bars.day)
    for split in splits:
        first, last = bars.bounds[index[split.symbol] :][:2]
        factor[first:last][ends[first:last] <= split.day] *= split.ratio
    if (factor == 1.0).all():
        return bars
    prices = {name: getattr(bars, name) / factor for name in ("open", "high", "low", "close")}
    return bars._replace(**prices, volume=bars.volume * factor)


def _ends_of(timeframe: str, days: Column) -> Column:
    """Return the first day after each bar. days: the bars' first days."""
    if timeframe == "monthly":
        return (days.astype("M8[D]").astype("M8[M]") + 1).astype("M8[D]").astype(np.int64)
    return days + (7 if timeframe == "weekly" else 1)


def ends_on(bars: Bars, starts: Sequence[date]) -> Ends:
    """Return the bars that begin on these days, ordered by day, then symbol."""
    places, symbols = [], []
    owner = np.repeat(np.arange(len(bars.symbols)), np.diff(bars.bounds))
    for start in starts:
        here = np.flatnonzero(bars.day == (start - _FIRST_DAY).days)
        places.append(here + 1)
        symbols.append(owner[here])
    none = [np.zeros(0, np.int64)]
    return Ends(np.concatenate([*none, *symbols]), np.concatenate([*none, *places]))


def windows_of(bars: Bars, ends: Ends, depth: int) -> Windows:
    """Return the windows of `depth` bars up to each of these ends."""
    begin = bars.bounds[ends.symbol]
    at = ends.place[:, None] + np.arange(-depth, 0)
    is_there = at >= begin[:, None]
    at = np.maximum(at, 0)
    columns = (np.where(is_there, column[at], np.nan) for column in bars[3:])
    opened, high, low, close, volume = columns

    def wider(rows: Column) -> Windows:
        return windows_of(bars, ends.of_rows(rows), WINDOW)

    length = np.minimum(ends.place - begin, depth)
    return Windows(opened, high, low, close, volume, length, wider if depth < WINDOW else None)
