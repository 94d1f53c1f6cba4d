"""Count bars in another way than the workers: sort all ticks by symbol and time, then cut. Pure.

It merges no partial bars: what splits a bar in the workers (reads, commits, restores) has no effect here.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...contracts.bar import MINUTE_NS
from ...contracts.spellings.tick_values import is_too_small
from ...contracts.ticks import (
    MAX_TS_NS,
    MIN_TS_NS,
    REPEATED,
    SETS_HIGH_LOW,
    SETS_OPEN_CLOSE,
    SETS_VOLUME,
    SHARE_MICRO,
    Column,
    Ticks,
)
from ...db.staged_rows import TableShape

Key = tuple[str, int]  # symbol, minute since 1970

_PRICES = ("open", "high", "low", "vwap")
_COUNTED = np.dtype(
    [
        ("symbol", "<i4"),
        ("minute", "<i8"),
        *((name, "<f8") for name in ("open", "high", "low", "close", "volume_micro", "notional")),
        ("trades", "<i8"),
    ]
)


def may_touch_a_bar(ticks: Ticks, shape: TableShape) -> NDArray[np.bool_]:
    """Return a mask of the ticks with sizes, prices and times that the table can hold; a size of 0 is a quote."""
    good: NDArray[np.bool_] = (ticks.size > 0) & (ticks.size < shape.max_size) & ~is_too_small(ticks.size)
    if "flags" in ticks.optional:
        good &= (ticks.optional["flags"] != 0) & (ticks.optional["flags"] != REPEATED)
    good &= (ticks.ts >= MIN_TS_NS) & (ticks.ts < MAX_TS_NS)
    least = 0.5 * 10.0**-shape.price_decimals  # smaller prices are stored as 0
    for price in (ticks.price, *(ticks.optional[name] for name in _PRICES if name in ticks.optional)):
        good &= (price >= least) & (price < shape.max_price)
    return good


@dataclass(slots=True)
class Recount:
    """The bars of some ticks, sorted by symbol and minute. met: a mask of those that the table has."""

    symbols: list[str]
    bars: Column
    met: NDArray[np.bool_] = field(init=False)
    _codes: dict[str, int] = field(init=False)
    _keys: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.met = np.zeros(len(self.bars), np.bool_)
        self._codes = {symbol: code for code, symbol in enumerate(self.symbols)}
        self._keys = self.bars["symbol"].astype(np.int64) << 32 | self.bars["minute"]

    def find(self, symbol: str, minute: int) -> int | None:
        """Return the index of a bar."""
        code = self._codes.get(symbol)
        if code is None:
            return None
        key = code << 32 | minute
        place = int(np.searchsorted(self._keys, key))
        return place if place < len(self._keys) and self._keys[place] == key else None

    def key(self, place: int) -> Key:
        """Return the key of the bar at an index."""
        return self.symbols[self.bars["symbol"][place]], int(self.bars["minute"][place])

    def without(self, keys: AbstractSet[Key], *, before: int = 0) -> "Recount":
        """Leave out some bars, and all before a minute."""
        kept = self.bars["minute"] >= before
        for symbol, minute in keys:
            if (place := self.find(symbol, minute)) is not None:
                kept[place] = False
        return Recount(self.symbols, self.bars[kept])


def recount(ticks: Ticks) -> Recount:
    """Count the bars of ticks in the order of their arrival."""
    symbols = sorted(set(ticks.symbols))
    code_of = {symbol: code for code, symbol in enumerate(symbols)}
    codes = np.fromiter((code_of[symbol] for symbol in ticks.symbols), "<i4", len(ticks.symbols))
    code = codes[ticks.symbol_index]
    order = np.lexsort((ticks.ts, code))  # stable: of equal times, the first arrival comes first
    code, minute = code[order], ticks.ts[order] // MINUTE_NS
    starts, ends = _runs(code, minute)
    bars = np.empty(len(starts), _COUNTED)
    if not len(starts):
        return Recount(symbols, bars)
    price, size = ticks.price[order], ticks.size[order]
    told = {name: ticks.optional[name][order] if name in ticks.optional else price for name in _PRICES}
    bars["symbol"], bars["minute"] = code[starts], minute[starts]
    bars["open"], bars["close"] = told["open"][starts], price[ends]
    bars["high"], bars["low"] = np.maximum.reduceat(told["high"], starts), np.minimum.reduceat(told["low"], starts)
    bars["volume_micro"] = np.add.reduceat(np.rint(size * SHARE_MICRO), starts)
    bars["notional"] = np.add.reduceat(told["vwap"] * size, starts)
    bars["trades"] = ends - starts + 1
    if "trade_count" in ticks.optional:
        bars["trades"] = np.add.reduceat(ticks.optional["trade_count"][order], starts)
    if "flags" in ticks.optional:
        return Recount(symbols, _by_flags(bars, ticks.take(order), starts, ends))
    return Recount(symbols, bars)


def _by_flags(bars: Column, ticks: Ticks, starts: Column, ends: Column) -> Column:
    """Count the fields again that not every trade may set, bar by bar; a minute without a price is left out."""
    may_set = {bit: (ticks.optional["flags"] & bit) != 0 for bit in (SETS_OPEN_CLOSE, SETS_HIGH_LOW, SETS_VOLUME)}
    opens, highs, lows, vwaps = (ticks.optional.get(name, ticks.price) for name in _PRICES)
    kept = np.zeros(len(bars), np.bool_)
    for i, (start, end) in enumerate(zip(starts.tolist(), (ends + 1).tolist(), strict=True)):
        ends_of = start + np.flatnonzero(may_set[SETS_OPEN_CLOSE][start:end])
        if not len(ends_of):
            continue
        kept[i] = True
        extremes = start + np.flatnonzero(may_set[SETS_HIGH_LOW][start:end])
        volume = start + np.flatnonzero(may_set[SETS_VOLUME][start:end])
        first, last = opens[ends_of[0]], ticks.price[ends_of[-1]]
        bars["open"][i], bars["close"][i] = first, last
        bars["high"][i] = highs[extremes].max() if len(extremes) else max(first, last)
        bars["low"][i] = lows[extremes].min() if len(extremes) else min(first, last)
        bars["volume_micro"][i] = np.rint(ticks.size[volume] * SHARE_MICRO).sum()
        bars["notional"][i] = (vwaps[volume] * ticks.size[volume]).sum()
    return bars[kept]


def recount_whole_minutes(ticks: Ticks) -> Recount:
    """Count the bars of minute aggregates: the last arrival is the minute's bar."""
    minute = ticks.ts // MINUTE_NS
    order = np.lexsort((minute, ticks.symbol_index))
    _, ends = _runs(ticks.symbol_index[order], minute[order])
    return recount(ticks.take(np.sort(order[ends])))


def _runs(code: Column, minute: Column) -> tuple[Column, Column]:
    """Return the first and last index of each run of one (symbol, minute)."""
    if not len(code):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    cuts = np.flatnonzero((code[1:] != code[:-1]) | (minute[1:] != minute[:-1]))
    return np.concatenate(([0], cuts + 1)), np.append(cuts, len(code) - 1)
