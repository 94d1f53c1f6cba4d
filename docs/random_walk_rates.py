"""Print how often each of our own patterns is found in random walks, as the table in docs/patterns.md.

    python docs/random_walk_rates.py

A random walk has no patterns: detections in it come from chance alone. Each bar has 8 trades. Volumes are log-normal
and independent of the price, so patterns that need volume are rarer here than in a market.
"""
# ruff: noqa: INP001, T201  # a command beside the documents, in no package

import numpy as np
from numpy.typing import NDArray
from tickstockpl.workers.detect.patterns import (
    head_shoulders,
    price_breakout,
    resistance_break,
    support_bounce,
    volume_spike,
)
from tickstockpl.workers.detect.patterns.kind import PatternKind
from tickstockpl.workers.windows import Windows

KINDS = [*head_shoulders.KINDS, volume_spike.KIND, price_breakout.KIND, support_bounce.KIND, resistance_break.KIND]
SEED = 30_001  # not a seed of the tests, nor one with which the parameters were chosen
BARS = 100_000  # in each walk
CHUNK = 20_000
TRADES = 8  # in each bar
VOLATILITIES = (0.0002, 0.002, 0.02)  # deviation of a bar's return: quiet minutes to lively days
VOLUME_DEVIATION = 0.5  # of the logarithm

Bars = list[NDArray[np.float64]]


def random_walk(rng: np.random.Generator, volatility: float, *, fat_tails: bool) -> Bars:
    """Return open, high, low, close and volume of a walk from $100; fat_tails: Student's t of 3 degrees of freedom."""
    shape = (BARS, TRADES)
    steps = rng.standard_t(3, shape) / np.sqrt(3) if fat_tails else rng.standard_normal(shape)
    price = 100 * np.exp(np.cumsum(steps.ravel() * volatility / np.sqrt(TRADES))).reshape(shape)
    volume = rng.lognormal(8, VOLUME_DEVIATION, BARS)
    return [price[:, 0], price.max(axis=1), price.min(axis=1), price[:, -1], volume]


def counts(kind: PatternKind, bars: Bars) -> NDArray[np.int64]:
    """Return on how many bars the pattern is found, and on how many at or above its threshold."""
    columns = [np.lib.stride_tricks.sliding_window_view(column, kind.depth) for column in bars]
    total = np.zeros(2, np.int64)
    for begin in range(0, len(columns[0]), CHUNK):
        opened, high, low, close, volume = (column[begin : begin + CHUNK] for column in columns)
        windows = Windows(opened, high, low, close, volume, np.full(len(close), kind.depth))
        confidence = kind.find(windows, kind.parameters).confidence
        total += [np.count_nonzero(confidence), np.count_nonzero(confidence >= kind.threshold)]
    return total


def main() -> None:
    """Print the table: of 1,000 bars, over all volatilities and for the worst of them."""
    rng = np.random.default_rng(SEED)
    found = np.zeros((2, len(VOLATILITIES), len(KINDS), 2), np.int64)
    for tails in (0, 1):
        for row, volatility in enumerate(VOLATILITIES):
            bars = random_walk(rng, volatility, fat_tails=bool(tails))
            found[tails, row] = [counts(kind, bars) for kind in KINDS]
    of_1000 = found * 1000 / BARS
    print("| pattern | found, Gaussian steps | found, fat tails | worst of the six walks | told at its threshold |")
    print("|---|---|---|---|---|")
    for k, kind in enumerate(KINDS):
        gaussian, fat = of_1000[:, :, k, 0].mean(axis=1)
        worst, told = of_1000[:, :, k, 0].max(), of_1000[:, :, k, 1].mean()
        print(f"| {kind.name} | {gaussian:.2f} | {fat:.2f} | {worst:.2f} | {told:.2f} (from {kind.threshold:.2f}) |")


if __name__ == "__main__":
    main()
