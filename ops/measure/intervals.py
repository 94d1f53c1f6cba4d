"""The mean of price moves and its 95 % confidence interval. Pure.

Moves of one cluster depend on each other, for example the moves of one day. So the interval is wider than that of as
many independent moves.
"""

from typing import NamedTuple

import numpy as np

from ...contracts.ticks import Column

_LEAST_CLUSTERS = 5  # with fewer, no interval is possible
_Z = 1.959963984540054  # 95 % of a normal distribution are within


class Mean(NamedTuple):
    """A mean of `of` values. low, high: its 95 % interval, None if there are too few clusters."""

    of: int
    mean: float | None
    low: float | None
    high: float | None


def mean_of(values: Column, clusters: Column) -> Mean:
    """Return the mean of the values without the NaN, and its interval. clusters: the cluster number of each value.

    All moves of one cluster together count as one observation: the cluster-robust variance of a ratio
    (K.-Y. Liang and S. Zeger, Biometrika 73, 1986), with Student's t, with one degree of freedom less than clusters.
    """
    there = ~np.isnan(values)
    values, clusters = values[there], clusters[there]
    if not len(values):
        return Mean(0, None, None, None)
    mean = float(values.mean())
    _, where = np.unique(clusters, return_inverse=True)
    off = np.bincount(where, values - mean)
    count = len(off)
    if count < _LEAST_CLUSTERS:
        return Mean(len(values), mean, None, None)
    error = float(np.sqrt((off**2).sum() * count / (count - 1))) / len(values)
    reach = student(count - 1) * error
    return Mean(len(values), mean, mean - reach, mean + reach)


def student(freedom: int) -> float:
    """Return the two-sided 95 % bound of Student's t; accurate to 0.001 from 4 degrees of freedom on.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z, n = _Z, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / n**power for power, term in enumerate(terms, start=1))
