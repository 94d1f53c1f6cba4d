"""Cancels and corrections that came ahead of their trades, and wait for them. Pure.

They are part of a partition's saved state, so that a trade is met whoever holds the partition then.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..contracts.ticks import REPEATED, Column, Ticks
from .tick_check import Limits, RowArrivals, may_count
from .undo import CANCEL, UNDO_WAIT_MS, Undo, corrected, is_undo

MOST_EARLY = 1_000  # of a partition; a saved state grows by less than 100 bytes for each


class EarlyUndo(NamedTuple):
    """An undo that waits, and who said it, when. ts: its own time, Unix ns; arrived_ms: by Redis's clock."""

    feed: str
    producer: str
    undo: Undo
    ts: int
    arrived_ms: int


class Met(NamedTuple):
    """Some ticks with their corrections, which of them are cancelled, (n,) bool, and which undos wait still."""

    ticks: Ticks
    gone: Column
    waiting: list[EarlyUndo]


def is_overdue(early: EarlyUndo, now_ms: int) -> bool:
    """Tell whether an undo has waited long enough; now_ms: by Redis's clock."""
    return now_ms > early.arrived_ms + UNDO_WAIT_MS


def meet(
    ticks: Ticks, arrivals: RowArrivals, arrived_ms: Column, *, feed: str, waiting: Sequence[EarlyUndo], limits: Limits
) -> Met:  # fmt: skip
    """Carry out the undos whose trades are among some ticks of a feed. arrived_ms: (n,) as undo.arrived_ms says it."""
    left = list(waiting)
    gone = np.zeros(len(ticks), bool)
    for row in _candidates(ticks, arrivals, feed, waiting, limits):
        early = next((one for one in left if one.feed == feed and _is_of(one, ticks, row, int(arrived_ms[row]))), None)
        if early is None:
            continue
        left.remove(early)
        if early.undo.undoes == CANCEL:
            gone[row] = True
        else:
            ticks = corrected(ticks, row, early.undo)
    return Met(ticks, gone, left)


def _candidates(
    ticks: Ticks, arrivals: RowArrivals, feed: str, waiting: Sequence[EarlyUndo], limits: Limits
) -> list[int]:
    """Return the rows that have the key of a waiting undo, and will reach a bar: few, if any."""
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


def _is_of(early: EarlyUndo, ticks: Ticks, row: int, arrived_ms: int) -> bool:
    undo = early.undo
    facility = ticks.optional.get("facility")
    return (
        undo.trade_key == int(ticks.optional["trade_key"][row])
        and undo.symbol == ticks.symbols[int(ticks.symbol_index[row])]
        and undo.facility in (0, 0 if facility is None else int(facility[row]))
        and not is_overdue(early, arrived_ms)
    )
