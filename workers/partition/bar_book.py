"""The open bars of a partition as columns: group ticks to partial bars, merge these, find the closed ones. Pure.

Inside a bar the order is (tick time, arrival): open is the earliest trade, close the latest. Arrays of BAR_DTYPE that
come in must be in arrival order; so merging partial bars gives the same bar as grouping all of their ticks at once.
"""

from collections.abc import Sequence

import numpy as np

from ...contracts.bar import BAR_DTYPE, MINUTE_NS, NO_CLOSE_TS, NO_OPEN_TS, Bars
from ...contracts.ticks import (
    SETS_HIGH_LOW,
    SETS_OPEN_CLOSE,
    SETS_VOLUME,
    SHARE_MICRO,
    Codes,
    Column,
    Mask,
    Minutes,
    Ticks,
)

NO_BARS: Bars = np.empty(0, BAR_DTYPE)
_MAX_DENSE_CELLS = 1 << 16  # a uint16 key sorts by radix, 15 times faster than an int64


def bars_of(ticks: Ticks, symbol: Codes) -> Bars:
    """Group ticks into one partial bar for each (symbol, minute), sorted by symbol, then minute.

    symbol: (n,) of each tick.
    """
    if not len(ticks):
        return NO_BARS
    minute = ticks.ts // MINUTE_NS
    key = _compact_key(symbol, minute)
    order = np.argsort(key, kind="stable")
    sorted_key, ts = key[order], ticks.ts[order]
    new_bar = sorted_key[1:] != sorted_key[:-1]
    if not ((ts[1:] >= ts[:-1]) | new_bar).all():
        order = np.lexsort((ticks.ts, key))
        ts = ticks.ts[order]
    starts = np.concatenate(([0], np.flatnonzero(new_bar) + 1))
    ends = np.append(starts[1:], len(order)) - 1
    first, last = order[starts], order[ends]
    price, size = ticks.price[order], ticks.size[order]
    columns = {name: ticks.optional[name] for name in ("open", "high", "low", "vwap") if name in ticks.optional}
    bars = np.empty(len(starts), BAR_DTYPE)
    bars["symbol"], bars["minute"] = symbol[first], minute[first]
    bars["open"] = columns.get("open", ticks.price)[first]
    bars["close"] = ticks.price[last]
    bars["high"] = np.maximum.reduceat(columns["high"][order] if "high" in columns else price, starts)
    bars["low"] = np.minimum.reduceat(columns["low"][order] if "low" in columns else price, starts)
    bars["volume_micro"] = np.add.reduceat(np.rint(size * SHARE_MICRO), starts)
    bars["notional"] = np.add.reduceat((columns["vwap"][order] if "vwap" in columns else price) * size, starts)
    bars["trades"] = ends - starts + 1
    bars["open_ts"], bars["close_ts"] = ts[starts], ts[ends]
    if "flags" in ticks.optional:
        _heed_flags(bars, ticks.take(order), starts)
    return bars


def _heed_flags(bars: Bars, ticks: Ticks, starts: Column) -> None:
    """Compute again the bars with trades that may not set every field (flags).

    ticks: sorted by bar, time and arrival. starts: where each bar's ticks begin.
    """
    flags, optional, count = ticks.optional["flags"], ticks.optional, len(ticks)
    sets_ends, sets_extremes, sets_volume = (
        (flags & bit) != 0 for bit in (SETS_OPEN_CLOSE, SETS_HIGH_LOW, SETS_VOLUME)
    )
    place = np.arange(count)
    first = np.minimum.reduceat(np.where(sets_ends, place, count - 1), starts)
    last = np.maximum.reduceat(np.where(sets_ends, place, -1), starts)
    priced = last >= 0
    bars["open"] = np.where(priced, optional.get("open", ticks.price)[first], np.nan)
    bars["close"] = np.where(priced, ticks.price[last], np.nan)
    bars["open_ts"] = np.where(priced, ticks.ts[first], NO_OPEN_TS)
    bars["close_ts"] = np.where(priced, ticks.ts[last], NO_CLOSE_TS)
    high, low = optional.get("high", ticks.price), optional.get("low", ticks.price)
    bars["high"] = np.maximum.reduceat(np.where(sets_extremes, high, -np.inf), starts)
    bars["low"] = np.minimum.reduceat(np.where(sets_extremes, low, np.inf), starts)
    size = np.where(sets_volume, ticks.size, 0.0)
    bars["volume_micro"] = np.add.reduceat(np.rint(size * SHARE_MICRO), starts)
    bars["notional"] = np.add.reduceat(optional.get("vwap", ticks.price) * size, starts)


def _compact_key(symbol: Codes, minute: Minutes) -> Column:
    """Give each pair (symbol, minute) its own number, in the order of the pairs."""
    first = int(minute.min())
    span = int(minute.max()) - first + 1
    if (int(symbol.max()) + 1) * span <= _MAX_DENSE_CELLS:
        key: Column = (symbol.astype(np.int64) * span + (minute - first)).astype(np.uint16)
        return key
    minutes, dense = np.unique(minute, return_inverse=True)
    return np.asarray(symbol.astype(np.int64) * len(minutes) + dense)


def latest_of(ticks: Ticks, symbol: Codes) -> Bars:
    """Turn whole-minute aggregates into bars; the last one of a minute wins. trades: its own trade count."""
    if not len(ticks):
        return NO_BARS
    key = _compact_key(symbol, ticks.ts // MINUTE_NS)
    order = np.argsort(key, kind="stable")
    last = np.append(np.flatnonzero(key[order][1:] != key[order][:-1]), len(order) - 1)
    rows = order[last]  # by symbol, then minute, as bars are
    bars = bars_of(ticks.take(rows), symbol[rows])
    if "trade_count" in ticks.optional:
        bars["trades"] = ticks.optional["trade_count"][rows]
    return bars


def merge(*parts: Bars, whole: bool = False) -> Bars:
    """Merge partial bars, given in arrival order, into one for each (symbol, minute), sorted by symbol, then minute.

    whole: each row is a whole minute; the one that came last wins.
    """
    rows = np.concatenate(parts, dtype=BAR_DTYPE)  # without the dtype numpy compares all fields, which takes 30 us
    order = np.lexsort((rows["minute"], rows["symbol"]))
    bars = rows.take(order)
    same = (bars["symbol"][1:] == bars["symbol"][:-1]) & (bars["minute"][1:] == bars["minute"][:-1])
    if not same.any():
        return bars
    starts = np.concatenate(([0], np.flatnonzero(~same) + 1))
    ends = np.append(starts[1:], len(bars)) - 1
    merged = bars.take(ends if whole else starts)
    if whole:
        return merged
    opens = rows.take(np.lexsort((rows["open_ts"], rows["minute"], rows["symbol"])).take(starts))
    closes = rows.take(np.lexsort((rows["close_ts"], rows["minute"], rows["symbol"])).take(ends))
    merged["open"], merged["open_ts"] = opens["open"], opens["open_ts"]
    merged["close"], merged["close_ts"] = closes["close"], closes["close_ts"]
    merged["high"] = np.maximum.reduceat(bars["high"], starts)
    merged["low"] = np.minimum.reduceat(bars["low"], starts)
    for column in ("volume_micro", "notional", "trades"):
        merged[column] = np.add.reduceat(bars[column], starts)
    return merged


def empty_bars(keys: Sequence[tuple[int, int]]) -> Bars:
    """Return a bar without a trade for each (symbol, minute): merged with another it changes nothing."""
    bars = np.zeros(len(keys), BAR_DTYPE)
    bars["symbol"], bars["minute"] = np.array(keys, "<i8").T
    bars["open"] = bars["close"] = np.nan
    bars["high"], bars["low"] = -np.inf, np.inf
    bars["open_ts"], bars["close_ts"] = NO_OPEN_TS, NO_CLOSE_TS
    return bars


def closed_by_clock(bars: Bars, clock_ns: int, lateness_ns: int) -> Mask:
    """Mark the bars that ended at least lateness_ns before the live clock."""
    return np.asarray((bars["minute"] + 1) * MINUTE_NS + lateness_ns <= clock_ns)


def closed_by_next(bars: Bars) -> Mask:
    """Mark the bars whose symbol has a later bar: replayed bars close this way. They must be sorted as by `merge`."""
    closed = np.zeros(len(bars), bool)
    closed[:-1] = bars["symbol"][1:] == bars["symbol"][:-1]
    return closed
