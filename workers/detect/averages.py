"""Averages over many windows at once. The value of a row does not depend on the other rows, bit for bit. Pure.

A recursive average is linear in its values: the weight of a value depends only on its age and on the number of values.
So the average is one weighted sum, which is computed for all windows at once.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ...contracts.ticks import Column

# (number of values, width) -> the weight of each column: (width,). The columns before the first value have weight 0.
WeightsOf = Callable[[int, int], Column]

_KEPT = 4096  # arrays of weights, 2 kB each: enough for eight averages


def plain_mean(values: Column, bars: int) -> Column:
    """Return the mean of the last `bars` values of each row, NaN if one of them is NaN. values: (n, width)."""
    if values.shape[1] < bars:
        return np.full(len(values), np.nan)
    # In contiguous memory numpy adds the values of each row in the same order, for any number of rows.
    return np.asarray(np.ascontiguousarray(values[:, -bars:]).sum(axis=1) / bars)


def recursive_mean(values: Column, counts: Column, bars: int, share: float) -> Column:
    """Return the recursive average of each row, NaN if the row has fewer than `bars` values.

    The average starts as the mean of the first `bars` values; each later value has the weight `share`. values: (n,
    width); each row has `counts` values at its right end, and 0 before them.
    """
    return weighted_sum(values, counts, lambda count, width: recursive_weights(count, width, bars, share))


def weighted_sum(values: Column, counts: Column, weights_of: WeightsOf) -> Column:
    """Return the sum of the values of each row, weighted by the number of its values. values: as in recursive_mean."""
    width = values.shape[1]
    if len(counts) and (counts == counts[0]).all():  # the usual case
        return _sums(values, np.broadcast_to(weights_of(int(counts[0]), width), values.shape))
    different, which = np.unique(counts, return_inverse=True)
    weights = np.array([weights_of(count, width) for count in different.tolist()]).reshape(-1, width)
    return _sums(values, weights[which])


def _sums(values: Column, weights: Column) -> Column:
    """Return the weighted sum of each row. einsum adds it in the same order for any number of rows; BLAS does not."""
    return np.asarray(np.einsum("ij,ij->i", values, weights))


@lru_cache(maxsize=_KEPT)
def recursive_weights(count: int, width: int, bars: int, share: float) -> Column:
    """Return the weight of each column in a recursive average, NaN if there are too few values."""
    if count < bars:
        return np.full(width, np.nan)
    age, later = np.arange(width)[::-1], count - bars  # later: the number of values after the start
    weights = np.where(age < later, share * (1 - share) ** np.minimum(age, later), (1 - share) ** later / bars)
    return np.where(age < count, weights, 0.0)
