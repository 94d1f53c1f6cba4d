"""Marks: the closed bars that still wait for detection. They are saved in the checkpoint.

Pure.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..contracts.ticks import Codes, Column, Mask, Minutes
from ..contracts.timeframe import HIGHER

# Why a bar is marked. AFFECTED: a bar before it changed, so its results may change as well. NEW_REDETECT: its patterns
# were found, then it or a bar before it changed, and its first indicators and alerts are still missing.
NEW_REDETECT, NEW, REVISED, AFFECTED = 0, 1, 2, 3
# The next stage of detection.
PATTERNS, INDICATORS = 1, 2

# minute: the bar's start; timeframe: minutes. publish: its detections are published.
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
Marks = NDArray[np.void]  # (n,) of MARK_DTYPE
NO_MARKS: Marks = np.empty(0, MARK_DTYPE)


def marks_of(
    symbols: Codes, minutes: Minutes | int, kinds: Column | int, *, publish: Mask | bool, timeframe: Column | int = 1
) -> Marks:
    """Make marks for the stage PATTERNS."""
    marks = np.empty(len(symbols), MARK_DTYPE)
    marks["symbol"], marks["minute"], marks["timeframe"] = symbols, minutes, timeframe
    marks["kind"], marks["publish"], marks["stage"] = kinds, publish, PATTERNS
    return marks


def joined(parts: Sequence[Marks]) -> Marks:
    """Join marks into one per bar, sorted by symbol, timeframe and minute.

    A joined mark has the earliest stage of its parts, so that nothing is left out. It has the strongest kind, so that a
    later change does not lose the first results of a new bar. It is published if one of its parts is.
    """
    marks = np.concatenate([NO_MARKS, *parts], dtype=MARK_DTYPE)
    marks = marks.take(np.lexsort((marks["minute"], marks["timeframe"], marks["symbol"])))
    before, after = marks[:-1], marks[1:]
    same = (before["symbol"] == after["symbol"]) & (before["timeframe"] == after["timeframe"])
    same &= before["minute"] == after["minute"]
    if not same.any():
        return marks
    first = np.flatnonzero(np.append(True, ~same))
    one = marks.take(first)
    one["stage"] = np.minimum.reduceat(marks["stage"], first)
    one["kind"] = np.minimum.reduceat(marks["kind"], first)
    one["publish"] = np.logical_or.reduceat(marks["publish"], first)
    had_patterns = np.logical_or.reduceat((marks["kind"] == NEW) & (marks["stage"] == INDICATORS), first)
    one["kind"][had_patterns & (one["stage"] == PATTERNS)] = NEW_REDETECT
    return one


def again_of(marks: Marks) -> Marks:
    """Return the marks of bars that may have indicator values already."""
    return marks.compress((marks["kind"] == REVISED) | (marks["kind"] == AFFECTED))


def waiting_for(marks: Marks, stage: int) -> Marks:
    """Return these marks with another stage."""
    marks = marks.copy()
    marks["stage"] = stage
    return marks


def higher_marks(minute_marks: Marks) -> Marks:
    """Mark the bars of the higher timeframes that contain these 1-minute bars."""
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
