"""The last closed bars of each symbol, as detectors read them."""

from typing import NamedTuple

from ..contracts.ticks import Column

WINDOW = 250  # bars: Wilder's RSI started on as many differs from one over all history by less than 1e-6


class Windows(NamedTuple):
    """n windows, each the last `depth` bars up to one bar, oldest first: the last column is that bar.

    open, high, low, close, volume: (n, depth) float64, volume in shares; bars that are missing, at the left, are NaN.
    length: (n,) int64, how many bars are there.
    """

    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column
    length: Column


class Series(NamedTuple):
    """The last bars of one symbol up to one bar, at most WINDOW, oldest first: (k,) float64, contiguous.

    session_notional, session_volume: sums of price x size (dollars) and of shares from 09:30 New York up to this bar;
    NaN for a bar outside 09:30-16:00.
    """

    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column
    session_notional: float
    session_volume: float
