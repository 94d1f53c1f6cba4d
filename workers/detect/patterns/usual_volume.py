"""What a bar's volume is held against besides the bars before it: the same minute of the days before.

A market has its hours: the opening minute trades many times what the minutes before the close did, and says nothing by
that. So a bar with much volume against the bars before must have it against the same minute, too. Of a bar without any
such day, the bars before decide alone; but not at the opening, where they are of another day, and not at the close,
whose auction they had no part in.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kind import OtherDays


class UsualVolume(NamedTuple):
    """The volume of some windows' minute on the days before, in shares.

    deviation: of a population. is_known: whether there is anything to compare with, such a day or bars of the same day.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    is_known: NDArray[np.bool_]


def usual_volume(others: OtherDays) -> UsualVolume:
    """Return what the days before say; a mean of 0 where there is none."""
    volumes = np.ascontiguousarray(others.same_minute)
    days = (~np.isnan(volumes)).sum(axis=1)
    mean = np.nansum(volumes, axis=1) / np.maximum(days, 1)
    variance = np.nansum((volumes - mean[:, None]) ** 2, axis=1) / np.maximum(days, 1)
    return UsualVolume(mean, np.sqrt(variance), (days > 0) | ~others.is_edge)
