"""The bars that a backtest trades on: columns of many symbols, and the signals found on them. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column


class Market(NamedTuple):
    """K bars of S symbols, symbol after symbol, each oldest first.

    bounds: (S + 1,), the index of each symbol's first bar. time: (K,) int64, the start of each bar, minutes since 1970
    UTC. The others: (K,) float64, dollars, adjusted for splits. A bar's number is its index in these columns.
    """

    symbols: Sequence[str]
    bounds: Column
    time: Column
    open: Column
    high: Column
    low: Column
    close: Column

    @property
    def owner(self) -> Column:
        """Return each bar's symbol, as its index: (K,)."""
        return np.repeat(np.arange(len(self.symbols)), np.diff(self.bounds))

    @property
    def closes(self) -> "Closes":
        """Copy the columns that are still needed when the exits are found: 12 bytes a bar."""
        has_bars = np.diff(self.bounds) > 0
        first_open = np.full(len(self.symbols), np.nan)
        first_open[has_bars] = self.open[self.bounds[:-1][has_bars]]
        return Closes(self.symbols, self.bounds, self.time.astype(np.int32), self.close.copy(), first_open)


class Closes(NamedTuple):
    """The closes of a Market. time: (K,) int32. first_open: (S,), the open of each symbol's first bar; NaN: no bars."""

    symbols: Sequence[str]
    bounds: Column
    time: Column
    close: Column
    first_open: Column


class Signals(NamedTuple):
    """Patterns found on bars, n in all. bar: the bar's number. direction: 1 bullish, -1 bearish. pattern: its name."""

    bar: Column
    direction: Column
    confidence: Column
    pattern: Sequence[str]

    def __len__(self) -> int:
        return len(self.bar)


def one_a_bar(signals: Signals) -> Signals:
    """Return one signal for each bar: the one with the highest confidence, then the first name in the alphabet.

    If the most confident signals of a bar have both directions, the bar has no signal. A pattern without a direction is
    no signal.
    """
    pattern = np.asarray(signals.pattern, dtype=np.str_)
    order = np.lexsort((pattern, -signals.confidence, signals.bar))
    order = order[signals.direction[order] != 0]
    bar, direction, confidence = signals.bar[order], signals.direction[order], signals.confidence[order]
    first = np.flatnonzero(np.diff(bar, prepend=-1))
    group = np.cumsum(np.diff(bar, prepend=-1) != 0) - 1
    is_rival = (confidence == confidence[first][group]) & (direction != direction[first][group])
    is_torn = np.bincount(group, is_rival, len(first)) > 0
    chosen = order[first[~is_torn]]
    return Signals(signals.bar[chosen], signals.direction[chosen], signals.confidence[chosen], pattern[chosen].tolist())


def owners_of(bars: Column, bounds: Column) -> Column:
    """Return the symbol of some bars, as its index. bars: numbers of bars; bounds: as in Market."""
    owners: Column = np.searchsorted(bounds, bars, side="right") - 1
    return owners
