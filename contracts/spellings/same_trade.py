"""Count a trade that arrives twice only once: its symbol, exchange and ids identify it, never its content. Pure.

A trade's identity is (symbol, exchange, trade id, reporting facility), hashed to 64 bits: among n remembered trades two
have the same hash with a probability of n^2 / 2^65, which is 10^-7 for 2 million.
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ..ticks import OPTIONAL_COLUMNS, REPEATED, SETS_ALL, Column, Ticks
from .trade_key import is_unique

WINDOW_NS = 60_000_000_000  # of tick time: later, the same id is another trade
MAX_REMEMBERED = 2_000_000  # trades in each of the two halves of the memory: the busiest minute of the US market

_FEWEST_BITS = 12  # the smallest table has 2^12 slots
_FULL = 0.5  # share of used slots at which a table is doubled
_NEVER = -(1 << 62)  # more than a minute before any valid tick time

_Hashes = NDArray[np.uint64]
# Random odd numbers, and the steps of splitmix64's finalizer (Steele, Lea, Flood 2014).
_KEY, _FACILITY = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


class SameTrades:
    """Remembers the trades of a feed for a minute of tick time, and marks repeated ones as REPEATED.

    A trade is a repeat if the last one with its identity is within a minute of tick time, earlier or later. The memory
    has two halves; a new half begins after a minute of tick time, or when the current one is full. So every repeat
    within a minute is found, if fewer than `most` other trades came between. A slot takes 16 bytes, and 2 million
    trades need 2^22 slots: both halves together never exceed 128 MB. repeated: how many were marked.
    """

    def __init__(self, *, most: int = MAX_REMEMBERED) -> None:
        self.repeated = 0
        self._most = most
        self._hash_of: dict[str, int] = {}
        self._now, self._before = _Table(), _Table()
        self._begun_ns: int | None = None

    def mark(self, ticks: Ticks, *, may_count: Callable[[], Column] | None = None) -> Ticks:
        """Return the ticks with repeats marked; a batch without ids is unchanged.

        may_count: called only for batches with ids; returns a mask, (n,) bool, of the rows that may reach a bar. Other
        rows are not remembered.
        """
        keys = ticks.optional.get("trade_key")
        if keys is None or not len(ticks):
            return ticks
        named = is_unique(keys) & (ticks.size > 0)
        if "undoes" in ticks.optional:
            named &= ticks.optional["undoes"] == 0
        if may_count is not None:
            named &= may_count()
        if named.all():
            again = self._seen_before(self._hashes(ticks), ticks.ts)
        else:
            rows = np.flatnonzero(named)
            again = np.zeros(len(ticks), np.bool_)
            again[rows] = self._seen_before(self._hashes(ticks)[rows], ticks.ts[rows])
        if not again.any():
            return ticks
        self.repeated += int(again.sum())
        flags = ticks.optional.get("flags")
        flags = np.full(len(ticks), SETS_ALL, OPTIONAL_COLUMNS["flags"]) if flags is None else flags.copy()
        flags[again] = REPEATED
        return replace(ticks, optional={**ticks.optional, "flags": flags})

    def _hashes(self, ticks: Ticks) -> _Hashes:
        symbols = np.array([self._hash(symbol) for symbol in ticks.symbols], np.uint64)
        hashes = ticks.optional["trade_key"].astype(np.uint64)
        hashes *= _KEY
        hashes += symbols[ticks.symbol_index]
        if "facility" in ticks.optional:
            hashes += ticks.optional["facility"].astype(np.uint64) * _FACILITY
        hashes ^= hashes >> _SHIFTS[0]
        hashes *= _MIX_1
        hashes ^= hashes >> _SHIFTS[1]
        hashes *= _MIX_2
        hashes ^= hashes >> _SHIFTS[2]
        hashes[hashes == 0] = 1  # an empty slot
        return hashes

    def _hash(self, symbol: str) -> int:
        known = self._hash_of.get(symbol)
        if known is None:
            if len(self._hash_of) > self._most:  # symbols that any sender can invent
                self._hash_of.clear()
            digest = blake2b(symbol.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            known = self._hash_of[symbol] = int.from_bytes(digest)
        return known

    def _seen_before(self, hashes: _Hashes, ts: Column) -> NDArray[np.bool_]:
        """Return a mask of the rows that repeat an earlier one, and remember all rows."""
        again = np.zeros(len(hashes), np.bool_)
        if not len(hashes):
            return again
        self._turn_over(ts)
        rows = _sorted_rows(hashes)
        hashes, ts = hashes[rows], ts[rows]
        same = hashes[1:] == hashes[:-1]
        if not same.any():
            again[rows] = self._again(hashes, ts, ts)
            return again
        again[rows[1:]] = same & _are_close(ts[1:], ts[:-1])
        first, last = np.flatnonzero(np.append(True, ~same)), np.flatnonzero(np.append(~same, True))
        again[rows[first]] = self._again(hashes[first], ts[first], ts[last])
        return again

    def _again(self, hashes: _Hashes, first_ns: Column, last_ns: Column) -> NDArray[np.bool_]:
        """Return a mask of the hashes that are remembered; first_ns, last_ns: first and last time of each hash."""
        return _are_close(self._now.put(hashes, last_ns), first_ns) | _are_close(self._before.get(hashes), first_ns)

    def _turn_over(self, ts: Column) -> None:
        """Start a new half of the memory and drop the older one: after a minute, or when the current half is full."""
        begun_ns = int(ts.max()) if self._begun_ns is None else self._begun_ns
        if int(ts.min()) >= begun_ns + WINDOW_NS or self._now.used >= self._most:
            # Never earlier: after a late batch the next one must not start a new half again.
            begun_ns = max(begun_ns, int(ts.max()))
            self._before, self._now = self._now, self._before.emptied(_bits_for(self._now.used))
        self._begun_ns = begun_ns


def _sorted_rows(hashes: _Hashes) -> NDArray[np.intp]:
    """Return the row numbers sorted by hash, as the table's slots are; equal hashes keep their order.

    The row number is in the low bits during the sort: four times as fast as argsort.
    """
    low = np.uint64((1 << (len(hashes) - 1).bit_length()) - 1)
    packed = (hashes & ~low) | np.arange(len(hashes), dtype=np.uint64)
    packed.sort()
    return (packed & low).astype(np.intp)


def _bits_for(count: int) -> int:
    return max(_FEWEST_BITS, int(count / _FULL).bit_length())


def _are_close(one_ns: Column, other_ns: Column) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.abs(one_ns - other_ns) <= WINDOW_NS
    return close


class _Table:
    """Hashes and the last time of each, in slots probed in triangular steps, which reach all 2^bits slots.

    A batch takes few numpy calls, whatever its length. used: number of hashes. bits: the table has 2^bits slots.
    """

    def __init__(self, bits: int = _FEWEST_BITS) -> None:
        self.used = 0
        self.bits = bits
        self._hashes: _Hashes = np.zeros(1 << bits, np.uint64)
        self._ts = np.zeros(1 << bits, np.int64)

    def emptied(self, bits: int) -> "_Table":
        """Return an empty table with at least this many bits; reuse this one if it fits, because new memory is slow."""
        if not bits <= self.bits <= bits + 1:
            return _Table(bits)
        self.used = 0
        self._hashes.fill(0)
        return self

    def put(self, hashes: _Hashes, ts: Column) -> Column:
        """Add hashes (sorted, distinct) with their times; return the former time of each, else _NEVER."""
        self._make_room(len(hashes))
        had = np.full(len(hashes), _NEVER)
        rows, slots, steps = np.arange(len(hashes)), self._first_slots(hashes), 0
        while len(rows):
            wanted, times = (hashes[rows], ts[rows]) if steps else (hashes, ts)
            at = self._hashes[slots]
            free, left = at == 0, at != wanted
            if not left.all():
                known = np.flatnonzero(~left)
                had[rows[known]] = self._ts[slots[known]]
                self._ts[slots[known]] = times[known]
            if free.any():
                # If several hashes want one slot, the last gets it, with its time: numpy assigns in order.
                taken = np.flatnonzero(free)
                self._hashes[slots[taken]] = wanted[taken]
                self._ts[slots[taken]] = times[taken]
                left[taken] = self._hashes[slots[taken]] != wanted[taken]
                self.used += len(taken) - int(np.count_nonzero(left[taken]))
            others = np.flatnonzero(left)
            steps += 1
            rows, slots = rows[others], (slots[others] + steps) & (1 << self.bits) - 1
        return had

    def get(self, hashes: _Hashes) -> Column:
        """Return the time of each hash, _NEVER if absent."""
        had = np.full(len(hashes), _NEVER)
        rows, slots, steps = np.arange(len(hashes) if self.used else 0), self._first_slots(hashes), 0
        while len(rows):
            at = self._hashes[slots]
            known = at == (hashes[rows] if steps else hashes)
            if known.any():
                had[rows[known]] = self._ts[slots[known]]
            left = np.flatnonzero((at != 0) & ~known)
            steps += 1
            rows, slots = rows[left], (slots[left] + steps) & (1 << self.bits) - 1
        return had

    def _first_slots(self, hashes: _Hashes) -> NDArray[np.intp]:
        return (hashes >> np.uint64(64 - self.bits)).astype(np.intp)

    def _make_room(self, count: int) -> None:
        if _bits_for(self.used + count) > self.bits:
            bits = _bits_for(2 * self.used + count)  # seldom: all hashes move
            filled = np.flatnonzero(self._hashes)
            larger = _Table(bits)
            larger.put(self._hashes[filled], self._ts[filled])
            self.bits, self._hashes, self._ts = bits, larger._hashes, larger._ts
