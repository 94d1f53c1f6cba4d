"""What a kind of pattern is: a name, its defaults, and one function that finds it in many windows at once.

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
    """What was found on the last bar of each of n windows."""

    confidence: NDArray[np.float64]  # (n,), 0 where the pattern is not on the last bar, else in (0, 1]
    direction: NDArray[np.int8]  # (n,), BULLISH, BEARISH or NEITHER
    levels: NDArray[np.float64]  # (n, k), prices (neckline, support ...), NaN where not found or not used


class OtherDays(NamedTuple):
    """What the last bars of n windows are held against besides their windows.

    same_minute: (n, days), shares of the same minute on days before, NaN where there was no bar. is_edge: (n,),
    whether it is the day's last bar, or some of the 20 bars before are of a day before.
    """

    same_minute: NDArray[np.float64]
    is_edge: NDArray[np.bool_]

    def of_rows(self, rows: NDArray[np.intp]) -> "OtherDays":
        """Return what is of some of the windows."""
        return OtherDays(self.same_minute[rows], self.is_edge[rows])


def no_other_days(rows: int) -> OtherDays:
    """Return that nothing more is known of `rows` windows."""
    return OtherDays(np.empty((rows, 0)), np.zeros(rows, bool))


class PatternKind(NamedTuple):
    """One pattern as an application knows it; a row of pattern_definitions overrides the defaults.

    `find` is pure and looks at each row alone: the same window gives the same result, bit for bit, alone or among
    others. It finds nothing in a row that has less than `least_bars` bars, and raises ValueError for a parameter out of
    its bounds.
    """

    name: str  # as in pattern_definitions.name
    description: str  # short_description
    depth: int  # columns of Windows that `find` wants, at most 250
    least_bars: int  # a shorter window has nothing
    threshold: float  # default confidence_threshold
    enabled: bool  # default
    parameters: Parameters  # name -> default; a definition may name only these, and `find` is given all of them
    find: Callable[[Windows, Parameters], Found]
    confirm: Callable[[Windows, Parameters, OtherDays], Found] | None = (
        None  # of what was found: it leaves less, or all
    )
    reach: int = 0  # how many of these columns decide, where the others only make the rounding what it is; 0: all
    same_level: float = 0.25  # ATR: two finds within a cool-down whose levels are no farther apart are one event

    @property
    def decisive(self) -> int:
        """Return how many columns decide whether the pattern is on the last bar."""
        return self.reach or self.depth


def nothing_found(rows: int, levels: int = 1) -> Found:
    """Return a Found of `rows` windows without any pattern, to be filled in; shapes (n,), (n,), (n, levels)."""
    return Found(np.zeros(rows), np.zeros(rows, dtype=np.int8), np.full((rows, levels), np.nan))


def number(parameters: Parameters, name: str, low: float, high: float) -> float:
    """Return a parameter that must lie in [low, high].

    Raises ValueError, which names the parameter, where it is not a number or out of its bounds.
    """
    value = parameters[name]
    try:
        given = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r} is not a number") from None
    if not low <= given <= high:
        raise ValueError(f"{name}: {given:g} is not between {low:g} and {high:g}")
    return given
