"""Find one pattern in many windows, confirm it by other days, and compare it with the bars of its cool-down. Pure."""

from typing import NamedTuple, Protocol

import numpy as np

from ...contracts.ticks import Column
from ..windows import Windows
from .definition import PatternDefinition
from .patterns.cool_down import bars_since, found_before
from .patterns.kind import Found, OtherDays


class OtherBars(Protocol):
    """The bars outside some windows that confirm a pattern. rows: of these windows, ascending."""

    def other_days(self, rows: Column) -> OtherDays:
        """Return the volumes of other days for the last bars of some windows."""

    def earlier(self, rows: Column, bars: Column, depth: int) -> tuple[Windows, OtherDays]:
        """Return the windows, `depth` columns wide, that end `bars` bars before some windows, and their other days."""


class Hits(NamedTuple):
    """The windows in which a pattern was found. rows: their rows. since: bars since the same event; 0: it is new.

    found: the result of the search in all windows.
    """

    rows: Column
    since: Column
    found: Found


def least_of(pattern: PatternDefinition) -> float:
    """Return the least confidence that counts as found."""
    return max(pattern.threshold, float(np.nextafter(0, 1)))


def hits_of(pattern: PatternDefinition, windows: Windows, others: OtherBars | None = None) -> Hits:
    """Find a pattern on the last bars of some windows. others: None for daily bars, which need no confirmation.

    windows: must have the columns that the pattern and its cool-down need (`columns_for`).
    """
    kind, parameters = pattern.kind, pattern.parameters
    found = kind.find(windows.last(kind.decisive), parameters)
    rows = np.flatnonzero(found.confidence >= least_of(pattern))
    if kind.confirm is not None and others is not None and len(rows):
        again = kind.confirm(windows.last(kind.depth).of_rows(rows), parameters, others.other_days(rows))
        found.confidence[rows] = again.confidence
        rows = rows[again.confidence >= least_of(pattern)]
    before = found_before(windows, rows, kind, parameters, pattern.threshold, found)
    if others is not None:
        before = _confirmed(pattern, others, rows, before)
    return Hits(rows, bars_since(before), found)


def _confirmed(pattern: PatternDefinition, others: OtherBars, rows: Column, before: Column) -> Column:
    """Keep only the earlier findings that other days confirm. before: (rows, bars before), oldest first."""
    kind = pattern.kind
    if kind.confirm is None or not before.any():
        return before
    at, bars = np.nonzero(before)
    windows, days = others.earlier(rows[at], before.shape[1] - bars, kind.depth)
    confirmed = before.copy()
    confirmed[at, bars] = kind.confirm(windows, pattern.parameters, days).confidence >= least_of(pattern)
    return confirmed
