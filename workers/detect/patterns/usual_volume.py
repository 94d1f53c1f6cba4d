"""The usual volume of a bar's minute: that of the same minute on the days before.

Volume depends on the hour: the opening minute trades many times as much as the minutes before the close. So a bar with
much volume compared with the bars before must also have it compared with the same minute. If there are no such days,
the bars before decide alone; but not at the open, where they belong to another day, and not at the close with its
auction.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kind import OtherDays


class UsualVolume(NamedTuple):
    """The volume of some windows' minutes on the days before, in shares.

    deviation: of a population. is_known: whether there are such days, or bars of the same day.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    is_known: NDArray[np.bool_]


def usual_volume(others: OtherDays) -> UsualVolume:
    """Return the mean and deviation over the days before; a mean of 0 if there are none."""
    volumes = np.ascontiguousarray(others.same_minute)
    days = (~np.isnan(volumes)).sum(axis=1)
    mean = np.nansum(volumes, axis=1) / np.maximum(days, 1)
    variance = np.nansum((volumes - mean[:, None]) ** 2, axis=1) / np.maximum(days, 1)
    return UsualVolume(mean, np.sqrt(variance), (days > 0) | ~others.is_edge)
