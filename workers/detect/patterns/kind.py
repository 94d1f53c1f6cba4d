"""A kind of pattern: a name, its defaults, and a function that finds it in many windows in one call.

Every pattern's module has a constant KIND (or KINDS, a sequence of them); `registry.py` collects them.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...windows import Windows

BULLISH = 1
BEARISH = -1
NEITHER = 0

Parameters = Mapping[str, float | str]


class Found(NamedTuple):
    """The detections on the last bar of each of n windows."""

    confidence: NDArray[np.float64]  # (n,), 0 if the pattern is not on the last bar, else in (0, 1]
    direction: NDArray[np.int8]  # (n,), BULLISH, BEARISH or NEITHER
    levels: NDArray[np.float64]  # (n, k), prices (neckline, support ...), NaN if not found or unused


class OtherDays(NamedTuple):
    """Volumes of other days, to compare the last bars of n windows with.

    same_minute: (n, days), shares of the same minute on days before, NaN if there was no bar. is_edge: (n,), whether it
    is the day's last bar, or some of the 20 bars before belong to a day before.
    """

    same_minute: NDArray[np.float64]
    is_edge: NDArray[np.bool_]

    def of_rows(self, rows: NDArray[np.intp]) -> "OtherDays":
        """Return the values of some windows."""
        return OtherDays(self.same_minute[rows], self.is_edge[rows])


def no_other_days(rows: int) -> OtherDays:
    """Return empty values for `rows` windows."""
    return OtherDays(np.empty((rows, 0)), np.zeros(rows, bool))


class PatternKind(NamedTuple):
    """One pattern as an application knows it; a row of pattern_definitions overrides the defaults.

    `find` is pure and looks at each row alone: the same window gives the same result, bit for bit, alone or among
    others. It finds nothing in a row that has less than `least_bars` bars, and raises ValueError for a parameter out of
    its bounds.
    """

    name: str  # as in pattern_definitions.name
    description: str  # as short_description
    depth: int  # columns of Windows that `find` needs, at most 250
    least_bars: int  # in shorter windows it finds nothing
    threshold: float  # default confidence_threshold
    enabled: bool  # default
    parameters: Parameters  # name -> default; a definition may set only these, and `find` gets all of them
    find: Callable[[Windows, Parameters], Found]
    confirm: Callable[[Windows, Parameters, OtherDays], Found] | None = (
        None  # of what was found: it leaves less, or all
    )
    reach: int = 0  # how many of these columns decide (the others only affect rounding); 0: all
    # ATR: two detections within a cool-down whose levels are at most so far apart are one event
    same_level: float = 0.25

    @property
    def decisive(self) -> int:
        """Return how many columns decide whether the pattern is on the last bar."""
        return self.reach or self.depth


def nothing_found(rows: int, levels: int = 1) -> Found:
    """Return an empty Found for `rows` windows, to be filled; shapes (n,), (n,), (n, levels)."""
    return Found(np.zeros(rows), np.zeros(rows, dtype=np.int8), np.full((rows, levels), np.nan))


def number(parameters: Parameters, name: str, low: float, high: float) -> float:
    """Return a parameter that must be in [low, high].

    Raises ValueError with the parameter's name if it is not a number or out of bounds.
    """
    value = parameters[name]
    try:
        given = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r} is not a number") from None
    if not low <= given <= high:
        raise ValueError(f"{name}: {given:g} is not between {low:g} and {high:g}")
    return given
