"""Cancels and corrections that came before their trades, and wait for them. Pure.

They are saved in the checkpoint, so that the next owner of the partition waits for the trades, too.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ...contracts.ticks import REPEATED, Column, Mask, Ticks
from .tick_check import Limits, RowArrivals, may_count
from .undo import CANCEL, UNDO_WAIT_MS, Undo, is_undo, with_corrections

_Name = tuple[str, int, int]  # names a trade: symbol, key and facility

MOST_EARLY = 1_000  # of a partition; a saved state grows by less than 100 bytes for each


class EarlyUndo(NamedTuple):
    """An undo that waits for its trade. ts: its own time, Unix ns; arrived_ms: Unix ms by Redis's clock."""

    feed: str
    producer: str
    undo: Undo
    ts: int
    arrived_ms: int


class Met(NamedTuple):
    """Ticks with their corrections carried out, which of them are cancelled, and the undos that still wait."""

    ticks: Ticks
    gone: Mask
    waiting: list[EarlyUndo]


def is_overdue(early: EarlyUndo, now_ms: int) -> bool:
    """Tell whether an undo has waited long enough; now_ms: by Redis's clock."""
    return now_ms > early.arrived_ms + UNDO_WAIT_MS


def meet(
    ticks: Ticks, arrivals: RowArrivals, arrived_ms: Column, *, feed: str, waiting: Sequence[EarlyUndo], limits: Limits
) -> Met:  # fmt: skip
    """Carry out the undos whose trades are among these ticks. arrived_ms: (n,) as `undo.arrived_ms` returns."""
    left = list(waiting)
    gone = np.zeros(len(ticks), bool)
    corrections: dict[int, Undo] = {}
    named = _by_name(feed, waiting)
    for row in _candidates(ticks, arrivals, feed, waiting, limits):
        early = _take(named, _names_of(ticks, row), int(arrived_ms[row]))
        if early is None:
            continue
        left.remove(early)
        if early.undo.undoes == CANCEL:
            gone[row] = True
        else:
            corrections[row] = early.undo
    return Met(with_corrections(ticks, corrections), gone, left)


def _by_name(feed: str, waiting: Sequence[EarlyUndo]) -> dict[_Name, deque[tuple[int, EarlyUndo]]]:
    """Return a feed's undos by the name of their trade, each with its place in the order."""
    named: dict[_Name, deque[tuple[int, EarlyUndo]]] = {}
    for place, one in enumerate(waiting):
        if one.feed == feed:
            name = (one.undo.symbol, one.undo.trade_key, one.undo.facility)
            named.setdefault(name, deque()).append((place, one))
    return named


def _names_of(ticks: Ticks, row: int) -> set[_Name]:
    """Return the names that an undo may use for a trade: with its facility, or without."""
    trade = (ticks.symbols[int(ticks.symbol_index[row])], int(ticks.optional["trade_key"][row]))
    facility = ticks.optional.get("facility")
    return {(*trade, 0), (*trade, 0 if facility is None else int(facility[row]))}


def _take(
    named: dict[_Name, deque[tuple[int, EarlyUndo]]], names: Iterable[_Name], arrived_ms: int
) -> EarlyUndo | None:
    """Take out the first undo of some names; first drop those that are overdue when the trade arrives."""
    queues = [named[name] for name in names if name in named]
    for queue in queues:
        while queue and is_overdue(queue[0][1], arrived_ms):
            queue.popleft()
    ready = [queue for queue in queues if queue]
    return min(ready, key=lambda queue: queue[0][0]).popleft()[1] if ready else None


def _candidates(
    ticks: Ticks, arrivals: RowArrivals, feed: str, waiting: Sequence[EarlyUndo], limits: Limits
) -> list[int]:
    """Return the rows with the key of a waiting undo that may change a bar: few, if any."""
    keys = np.array([early.undo.trade_key for early in waiting if early.feed == feed], np.int64)
    if "trade_key" not in ticks.optional or not len(keys):
        return []
    named = np.isin(ticks.optional["trade_key"], keys) & ~is_undo(ticks)
    if "flags" in ticks.optional:
        named &= ticks.optional["flags"] != REPEATED
    rows = np.flatnonzero(named & (ticks.size > 0))
    if not len(rows):
        return []
    good = may_count(ticks.take(rows), RowArrivals(arrivals.born_ns[rows], arrivals.arrived_ns[rows]), limits)
    return [int(row) for row in rows[good]]
