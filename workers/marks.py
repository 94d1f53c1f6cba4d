"""Marks: which closed bars still wait for their detectors. They are saved with the checkpoint, so none is forgotten."""

from collections.abc import Sequence

import numpy as np

from ..contracts.ticks import Column
from ..contracts.timeframe import HIGHER

# How a bar came to be marked.
NEW, REVISED, HANGING = 1, 2, 3  # HANGING: a bar before it changed, so what was computed on it may have, too
# What it waits for.
PATTERNS, INDICATORS = 1, 2

# minute: the bar's start; timeframe: minutes. publish: what is found is told.
MARK_DTYPE = np.dtype(
    [
        ("symbol", "<i4"),
        ("timeframe", "<i2"),
        ("minute", "<i8"),
        ("kind", "u1"),
        ("stage", "u1"),
        ("publish", "?"),
    ]
)
NO_MARKS = np.empty(0, MARK_DTYPE)


def marks_of(
    symbols: Column, minutes: Column | int, kinds: Column | int, *, publish: Column | bool, timeframe: Column | int = 1
) -> Column:
    """Make marks that wait for patterns."""
    marks = np.empty(len(symbols), MARK_DTYPE)
    marks["symbol"], marks["minute"], marks["timeframe"] = symbols, minutes, timeframe
    marks["kind"], marks["publish"], marks["stage"] = kinds, publish, PATTERNS
    return marks


def joined(parts: Sequence[Column]) -> Column:
    """Join marks, sorted by symbol, timeframe and minute; of two for one bar the one with the stronger kind stays."""
    marks = np.concatenate([NO_MARKS, *parts])
    order = np.lexsort((marks["kind"], marks["stage"], marks["minute"], marks["timeframe"], marks["symbol"]))
    marks = marks[order]
    same = np.zeros(len(marks), bool)
    if len(marks):
        before, after = marks[:-1], marks[1:]
        same[1:] = (before["symbol"] == after["symbol"]) & (before["timeframe"] == after["timeframe"])
        same[1:] &= before["minute"] == after["minute"]
    return marks[~same]


def higher_marks(minute_marks: Column) -> Column:
    """Mark the bars of the higher timeframes that these 1-minute bars belong to."""
    parts = [
        marks_of(
            minute_marks["symbol"],
            minute_marks["minute"] // minutes * minutes,
            NEW,
            publish=minute_marks["publish"],
            timeframe=minutes,
        )
        for minutes in HIGHER
    ]
    return joined(parts)
