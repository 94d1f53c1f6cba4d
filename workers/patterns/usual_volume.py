"""What a bar's volume is held against besides the bars before it: the same minute of the days before.

A market has its hours: the opening minute trades many times what the minutes before the close did, and says nothing by
that. So a bar with much volume against the bars before must have it against the same minute, too. Of a bar without any
such day, the bars before decide alone; but not at the opening, where they are of another day.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..windows import Windows


class UsualVolume(NamedTuple):
    """The volume of some rows' minute on the days before, in shares. days: so many have a bar there."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]  # of a population
    days: NDArray[np.int64]


def usual_volume(windows: Windows, rows: NDArray[np.intp]) -> UsualVolume:
    """Return what is known of the days before; nothing where the windows do not say."""
    if windows.same_minute is None:
        return UsualVolume(np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows), np.int64))
    volumes = np.ascontiguousarray(windows.same_minute[rows])
    count = (~np.isnan(volumes)).sum(axis=1)
    mean = np.nansum(volumes, axis=1) / np.maximum(count, 1)
    variance = np.nansum((volumes - mean[:, None]) ** 2, axis=1) / np.maximum(count, 1)
    return UsualVolume(mean, np.sqrt(variance), count)


def may_be_unusual(windows: Windows, rows: NDArray[np.intp], usual: UsualVolume) -> NDArray[np.bool_]:
    """Tell for which rows there is something to compare with: days before, or bars before of the same day."""
    if windows.is_opening is None:
        return np.ones(len(rows), bool)
    return np.asarray((usual.days > 0) | ~windows.is_opening[rows])
